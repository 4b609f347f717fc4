"""Notebook output: small pieces of HTML in which all data is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
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


_STATES = {"queued": "#808080", "processing": "#0072B2", "completed": "#009E73", "failed": "#D55E00"}
"""As the charts colour them."""
_WEB = ("http://", "https://")
_ALARMS = ("stale_files", "orphaned_files", "quarantined_nodes")
_BOX = "display:inline-block;text-align:left;border:1px solid rgba(128,128,128,.5)"
_CARD = f"{_BOX};border-radius:6px;padding:.6em .9em"
_CHIP = f"{_BOX};border-radius:1em;padding:0 .6em;margin:.15em .3em 0 0"
# JupyterLab sets tables to the right and breaks code anywhere.
_LEFT = 'style="text-align:left;vertical-align:top"'
_WIDE = 'style="text-align:left;vertical-align:top;min-width:16em"'
_AS_IT_IS = 'style="text-align:left;white-space:pre-wrap;word-break:normal;margin:0"'


def database(
    *,
    env: str,
    table: str,
    url: str,
    home: str,
    state: str,
    numbers: Mapping[str, Any] | None,
    actor: str = "",
    server_id: str = "",
    page: str = "",
) -> str:
    """An open database as a card: which one, which environment, and the numbers of the moment.

    Args:
        env: The environment, shown first and in colour: whoever acts must see where.
        table: Name of the files table.
        url: Without its password.
        home: Folder of the embedded server and of uploads.
        state: In words: migrated, or what is in the way.
        numbers: What sql/concurrency.sql answers. None where there is no answer.
        actor: Who acts through it.
        server_id: Of this process.
        page: Address of the page; "" where it is not known.
    """
    color = "#D55E00;color:#fff" if env == "production" else "rgba(128,128,128,.25)"
    badge = f'<b style="background:{color};border-radius:4px;padding:.1em .5em">{_text(env)}</b>'
    where = _link(page, table) if page.startswith(_WEB) else _text(table)
    parts = [f"<div>{badge} {where} <code>{_text(url)}</code></div>", f"<div>{_text(state)}</div>"]
    if numbers is not None:
        chips = [
            _chip(f"{_text(numbers[name])} {name}", _STATES[name]) for name in _STATES if numbers.get(name) is not None
        ]
        chips += [
            _chip(f"{_text(numbers[name])} {label.partition(' [')[0]}", "#D55E00" if name in _ALARMS else "")
            for name, label in _NUMBERS.items()
            if name not in _STATES and numbers.get(name) and name not in ("as_of", "oldest_queued_seconds")
        ]
        if numbers.get("oldest_queued_seconds") is not None:
            chips.append(_chip(f"oldest queued {_text(numbers['oldest_queued_seconds'])} s"))
        parts.append(f"<div>{''.join(chips)}</div>")
    facts = {"acting as": actor, "this process": server_id, "home": home, "as of": _as_of(numbers)}
    small = " · ".join(f"{name} {_text(value)}" for name, value in facts.items() if value)
    parts.append(f'<div style="opacity:.75;font-size:.9em">{small}</div>')
    return f'<div style="{_CARD}" title="opskit database">{"".join(parts)}</div>'


def _as_of(numbers: Mapping[str, Any] | None) -> str:
    moment = numbers.get("as_of") if numbers else None
    return f"{_text(moment)} UTC" if moment else ""


def _chip(text: str, color: str = "") -> str:
    dot = f'<span style="color:{color}">●</span> ' if color else ""
    return f'<span style="{_CHIP}">{dot}{text}</span>'


def _link(address: str, text: str) -> str:
    return f'<a href="{_text(address)}" target="_blank" rel="noopener">{_text(text)}</a>'


def frame(
    columns: Mapping[str, bool],
    rows: Sequence[Sequence[Any]],
    *,
    hidden: int,
    most_letters: int,
    below: Sequence[str] = (),
    page: str = "",
) -> str:
    """A table of a statistic: text to the left, numbers to the right, times without microseconds.

    Args:
        columns: Their names, and whether they are numbers.
        rows: Their values, in the order of the columns.
        hidden: Rows left out between the first half and the second.
        most_letters: Longest text shown whole.
        below: Sentences that stand below it.
        page: Address of the same view on the page; "" where it is not known.
    """
    sides = ["right" if number else "left" for number in columns.values()]
    head = "".join(
        f'<th style="text-align:{side}">{_text(name)}</th>' for side, name in zip(sides, columns, strict=True)
    )
    lines = []
    for number, row in enumerate(rows):
        if hidden and number == len(rows) // 2:
            lines.append(f'<tr><td colspan="{len(sides)}" style="text-align:left">… {hidden:,d} more …</td></tr>')
        cells = (
            f'<td style="text-align:{side};white-space:{"nowrap" if isinstance(value, datetime) else "pre-wrap"}">'
            f"{_text(_shown(value, most_letters))}</td>"
            for side, value in zip(sides, row, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>" if rows else ""
    return "".join([table, *(f"<p>{_text(line)}</p>" for line in below), _on_page(page)])


def _shown(value: Any, most_letters: int) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and len(value) > most_letters:
        return value[: most_letters - 1] + "…"
    return value


def cleanup(
    message: str, *, ended: Sequence[Mapping[str, Any]], pending: Sequence[Mapping[str, Any]], skipped: Sequence[str]
) -> str:
    """What a cleanup did: its sentence, the claims ended, and those that need a second look."""
    parts = [f"<p><b>{_text(message)}</b></p>", _claims("ended", ended), _claims("need a second look", pending)]
    if skipped:
        parts.append(f"<p>{len(skipped)} skipped: they moved on</p>")
    return "".join(parts)


_PREVIEW = {
    "id": "id", "original_filename": "file", "processing_server_id": "server", "minutes_processing": "processing [min]",
    "minutes_without_progress": "without progress [min]", "verdict": "verdict", "would_become": "would become",
}  # fmt: skip
_MOST_ROWS = 60


def preview(message: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """What a cleanup would do: its sentence, and the claims."""
    return sentences(message) + _rows(_PREVIEW, rows)


def requeued(message: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """What a requeue did: its sentence, and the files."""
    return sentences(message) + _rows(
        {"id": "id", "original_filename": "file", "server_id": "server", "was": "was"}, rows
    )


def _rows(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    """The given columns of the first rows; what is left out is said."""
    numbers = {label: name.startswith("minutes_") for name, label in columns.items()}
    shown = [[row.get(name) for name in columns] for row in rows[:_MOST_ROWS]]
    more = [f"and {len(rows) - _MOST_ROWS:,d} more"] if len(rows) > _MOST_ROWS else []
    return frame(numbers, shown, hidden=0, most_letters=200, below=more) if rows else ""


def record(caption: str, facts: Mapping[str, Any]) -> str:
    """One record: a row for each of its facts."""
    rows = "".join(
        f"<tr><th {_LEFT}>{_text(name)}</th><td {_LEFT}>{_text(value)}</td></tr>" for name, value in facts.items()
    )
    return f"<table><caption>{_text(caption)}</caption><tbody>{rows}</tbody></table>"


def sentences(first: str, *more: str) -> str:
    """What was done, in one sentence, and what there is to say beside it."""
    return "".join([f"<p><b>{_text(first)}</b></p>", *(f"<p>{_text(line)}</p>" for line in more)])


def finding(facts: Mapping[str, str], *, runbook: str, page: str) -> str:
    """One thing that the doctor found, with the ways on.

    Args:
        facts: level, what, why, mend, condition.
        runbook: Address of its runbook on the page; "" where it is not known.
        page: Address of the doctor's page; "" where it is not known.
    """
    told = {name: _text(facts[name]) for name in ("what", "why")}
    told["mend"] = f"<pre {_AS_IT_IS}>{_text(facts['mend'])}</pre>"
    told["runbook"] = _runbook(facts["condition"], runbook)
    rows = "".join(f"<tr><th {_LEFT}>{name}</th><td {_LEFT}>{text}</td></tr>" for name, text in told.items())
    caption = f"<caption>{_text(facts['level'])}</caption>"
    return f"<table>{caption}<tbody>{rows}</tbody></table>{_on_page(page)}"


def findings(rows: Sequence[Mapping[str, str]], *, page: str = "") -> str:
    """What the doctor found: each with its commands, one a line, ready to be copied, and with its runbook."""
    if not rows:
        return "<p>all is well</p>"
    body = "".join(
        f"<tr><th {_LEFT}>{_text(row['level'])}</th><td {_WIDE}>{_text(row['what'])}<br>{_text(row['why'])}</td>"
        f"<td {_LEFT}><pre {_AS_IT_IS}>{_text(row['mend'])}</pre>{_runbook(row['condition'], row['runbook'])}</td></tr>"
        for row in rows
    )
    head = "".join(f"<th {_LEFT}>{name}</th>" for name in ("level", "what and why", "mend, and its runbook"))
    table = f"<table><caption>doctor</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return table + _on_page(page)


def _runbook(condition: str, address: str) -> str:
    """The way to a runbook: on the page, or the command that prints it."""
    if address.startswith(_WEB):
        return _link(address, condition)
    return f"<code>opskit doctor --explain {_text(condition)}</code>"


def _on_page(page: str) -> str:
    return f"<p>{_link(page, 'the same on the page')}</p>" if page.startswith(_WEB) else ""


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
    head = "".join(f"<th {_LEFT}>{_text(label)}</th>" for label in _CLAIM.values())
    body = "".join(_row(row.get(name) for name in _CLAIM) for row in rows)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(values: Iterable[Any]) -> str:
    return "<tr>" + "".join(f"<td {_LEFT}>{_text(value)}</td>" for value in values) + "</tr>"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, int):
        return f"{value:,d}"
    if isinstance(value, float):
        return f"{value:,.1f}" if value == 0 or abs(value) >= 1 else f"{value:.2g}"
    return html.escape(directions_shown(str(value)))
