"""What objects look like in a notebook: small pieces of HTML in which everything that is data is escaped."""

from __future__ import annotations

import contextlib
import html
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from opskit.support.visible import directions_shown

_NUMBERS = {
    "queued": "queued [files]",
    "processing": "processing [files]",
    "completed": "completed [files]",
    "failed": "failed [files]",
    "waiting_files": "without a status [files]",
    "stale_files": "stale [files]",
    "orphaned_files": "orphaned [files]",
    "active_servers": "live nodes",
    "claiming_nodes": "claiming nodes",
    "quarantined_nodes": "nodes in quarantine",
    "oldest_queued_seconds": "oldest queued [s]",
    "as_of": "as of [UTC]",
}
_FILES = (
    "file_count", "total_files", "queued", "processing", "completed", "failed", "waiting_files", "stale_files",
    "orphaned_files", "last_hour", "last_day", "last_week",
)  # fmt: skip
_UNITS = dict.fromkeys(_FILES, "files") | {
    "active_servers": "nodes",
    "claiming_nodes": "nodes",
    "quarantined_nodes": "nodes",
    "file_size": "bytes",
    "as_of": "UTC",
    "at": "UTC",
    "bucket_start": "UTC",
    "latest": "UTC",
}
_CLAIM = {
    "original_filename": "file",
    "server_id": "server",
    "started_at": "started [UTC]",
    "verdict": "verdict",
    "outcome": "outcome",
    "reason": "reason",
}


def database(*, env: str, table: str, url: str, home: str, state: str, numbers: Mapping[str, Any] | None) -> str:
    """An open database: which one, which environment, and the numbers of the moment.

    Args:
        env: The environment, shown first: whoever acts must see where.
        table: Name of the files table.
        url: Without its password.
        home: Folder of the embedded server and of uploads.
        state: In words: migrated, or what is in the way.
        numbers: What sql/concurrency.sql answers. None where there is no answer.
    """
    facts = {"environment": f"<b>{_text(env)}</b>", "table": _text(table), "database": f"<code>{_text(url)}</code>"}
    facts |= {"home": f"<code>{_text(home)}</code>", "state": _text(state)}
    for name, label in _NUMBERS.items():
        if numbers is not None and numbers.get(name) is not None:
            facts[label] = _text(numbers[name])
    rows = "".join(f"<tr><th>{_text(name)}</th><td>{value}</td></tr>" for name, value in facts.items())
    return f"<table><caption>opskit database</caption><tbody>{rows}</tbody></table>"


def cleanup(
    message: str, *, ended: Sequence[Mapping[str, Any]], pending: Sequence[Mapping[str, Any]], skipped: Sequence[str]
) -> str:
    """What a cleanup did: its sentence, the claims ended, and those that need a second look."""
    parts = [f"<p><b>{_text(message)}</b></p>", _claims("ended", ended), _claims("need a second look", pending)]
    if skipped:
        parts.append(f"<p>{len(skipped)} skipped: they moved on</p>")
    return "".join(parts)


def record(caption: str, facts: Mapping[str, Any]) -> str:
    """One record: a row for each of its facts."""
    rows = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items())
    return f"<table><caption>{_text(caption)}</caption><tbody>{rows}</tbody></table>"


def sentences(first: str, *more: str) -> str:
    """What was done, in one sentence, and what there is to say beside it."""
    return "".join([f"<p><b>{_text(first)}</b></p>", *(f"<p>{_text(line)}</p>" for line in more)])


def findings(rows: Sequence[Mapping[str, str]]) -> str:
    """What the doctor found: each with its commands, one a line, ready to be copied."""
    if not rows:
        return "<p>all is well</p>"
    body = "".join(
        f"<tr><th>{_text(row['level'])}</th><td>{_text(row['what'])}</td><td>{_text(row['why'])}</td>"
        f"<td><pre>{_text(row['mend'])}</pre></td></tr>"
        for row in rows
    )
    head = "".join(f"<th>{name}</th>" for name in ("level", "what", "why", "mend"))
    return f"<table><caption>doctor</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def with_units(frame: Any) -> Any:
    """A frame of the statistics for people: units behind the columns' names, at most three decimals."""
    frame = frame.round(dict.fromkeys(frame.select_dtypes(["Float64", "float64"]).columns, 3))
    labels = {name: f"{name} [{unit}]" for name in map(str, frame.columns) if (unit := _unit(name))}
    return frame.rename(columns=labels)


def _unit(column: str) -> str:
    if column in _UNITS:
        return _UNITS[column]
    if column.endswith("_at"):
        return "UTC"
    if column.startswith("minutes_"):
        return "min"
    return "s" if column.endswith("_seconds") or column.startswith("seconds_") else ""


def _claims(caption: str, rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{_text(label)}</th>" for label in _CLAIM.values())
    body = "".join(_row(row.get(name) for name in _CLAIM) for row in rows)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(values: Iterable[Any]) -> str:
    return "<tr>" + "".join(f"<td>{_text(value)}</td>" for value in values) + "</tr>"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, int):
        return f"{value:,d}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return html.escape(directions_shown(str(value)))


DELAY_SECONDS = 1.0
"""A call that takes no longer shows no bar [s]."""


@contextlib.contextmanager
def notebook_bar(
    what: str, unit: str, *, total: int | None = None, say: Callable[..., None] | None = None
) -> Iterator[Callable[[int], None]]:
    """A function to be called with how much is done: the caller's own, else a bar of tqdm in a notebook, else nothing.

    Args:
        what: What is being done, in a word.
        unit: Of what, in the plural.
        total: How many there are. Defaults to not known.
        say: The caller's own, called with (done), or with (done, total) where the total is known.
    """
    if say is not None:
        yield lambda done: say(done) if total is None else say(done, total)
        return
    tqdm = _tqdm() if _in_notebook() else None
    if tqdm is None:
        yield lambda _: None
        return
    # On stdout: what stands on stderr is shown in red, as an alarm.
    with tqdm(desc=what, unit=f" {unit}", total=total, delay=DELAY_SECONDS, leave=False, file=sys.stdout) as bar:
        yield lambda done: bar.update(done - bar.n)


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and "IPKernelApp" in shell.config


def _tqdm() -> Any:
    try:
        with warnings.catch_warnings():
            # Without ipywidgets it is a line of text; tqdm would rather complain.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm
