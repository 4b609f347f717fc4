"""Where a panel's numbers come from: its SQL; the same numbers in a notebook, over HTTP, in the shell and as a file."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from opskit import stats
from opskit.database import queries
from opskit.doctor.finding import command
from opskit.settings import Settings
from opskit.web.dashboard import downloads, fleets, markdown, readings, sign_in, times

_RENAMED = {"limit": "row_limit", "lane": "of_lane"}


@dataclass(frozen=True, slots=True)
class Source:
    """The other doors to one statistic of `catalog.STATISTICS`.

    Attributes:
        sql: The files of `sql/`; the last one gives the rows.
        python: What a notebook calls with an open database `db`; its arguments are added.
        path: Its place under /api/processing; "" when HTTP has none.
        verb: What `opskit` is told; "" when the shell has none.
        given: Values that the SQL is always given beside the panel's own.
        renamed: Values whose variable is called otherwise in the SQL.
    """

    sql: tuple[str, ...]
    python: str
    path: str = ""
    verb: str = ""
    given: Mapping[str, str] | None = None
    renamed: Mapping[str, str] | None = None


SOURCES: dict[str, Source] = {
    one.name: Source(one.files, f"stats.{one.name}", one.path or one.words, f"stats {one.words} --json")
    for one in stats.STATISTICS.values()
} | {
    "evidence": Source(("evidence",), "stats.evidence"),
    "claims": Source(
        ("look", "stale"), "stats.stale", "stale?every=true", "cleanup --dry-run --json", given={"every": "true"}
    ),
    "doctor": Source((), "doctor.examine", "doctor", "doctor --json"),
    "act": Source(("act",), 'db.run("act"'),
    "event": Source(("event",), 'db.run("event"'),
    "failed_files": Source(("failed_files",), 'db.run("failed_files"', renamed=_RENAMED),
    "failure_trend": Source(("failure_trend",), 'db.run("failure_trend"', renamed=_RENAMED),
    "node_said": Source(("node_said",), 'db.run("node_said"'),
    "file": Source(("file",), 'db.run("file"', renamed={"file_id": "id"}),
}


def heading(title: str, *readings: readings.Reading) -> None:
    """A panel's title, with the menu that says where its numbers come from."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(title, anchor=False, width="content")
        menu(*readings)


def menu(*readings: readings.Reading) -> None:
    """The menu of a panel. It is filled only when it is opened: a panel that ticks pays nothing for it."""
    label = " and ".join(reading.name.replace("_", " ") for reading in readings)
    with st.popover(
        "", icon=":material/data_object:", type="tertiary", key=f"source {label}", on_change="rerun",
        help=f"Where these numbers come from: {label}",
    ) as opened:  # fmt: skip
        if opened.open:
            for reading in readings:
                doors(reading)


def doors(reading: readings.Reading) -> None:
    """Every door to one reading."""
    source, settings = source_of(reading), readings.settings()
    st.markdown(
        f"**{markdown.escaped(reading.name.replace('_', ' '))}**, as of {times.moment(reading.taken_at)}, "
        f"{settings.env}, table `{settings.files}`"
    )
    if (fleet := fleets.current()) != fleets.OWN:
        st.caption(f"`DATABASE_URL` stands for the database of **{fleet}** here.")
    tabs = {
        "SQL": (sql_text(source), "sql"),
        "psql": (psql_line(source, reading, settings), "bash"),
        "Notebook": (notebook_cell(source, reading), "python"),
        "HTTP": (curl_line(source, reading), "bash"),
        "Shell": (shell_line(source, reading, settings), "bash"),
    }
    tabs = {name: content for name, content in tabs.items() if content[0]}
    for tab, (text, language) in zip(st.tabs(list(tabs)), tabs.values(), strict=True):
        tab.code(text, language=language, wrap_lines=language == "bash", height=320 if text.count("\n") > 14 else None)
    frame = downloads.as_frame(reading)
    with st.container(horizontal=True):
        _download("CSV", f"{reading.name}.csv", "text/csv", lambda: downloads.csv(frame))
        if tabs.get("Notebook"):
            _download(
                "Notebook", f"{reading.name}.ipynb", "application/x-ipynb+json",
                lambda: notebook_file(source, reading, settings),
            )  # fmt: skip
        _download(
            "Parquet", f"{reading.name}.parquet", "application/vnd.apache.parquet", lambda: downloads.parquet(frame)
        )


def source_of(reading: readings.Reading) -> Source:
    """The other doors to a reading; its SQL may depend on what it was asked for."""
    source, one = SOURCES[reading.name], stats.STATISTICS.get(reading.name.replace("_", "-"))
    return source if one is None else dataclasses.replace(source, sql=one.files_for(dict(reading.values)))


def _download(label: str, name: str, mime: str, make: Callable[[], bytes]) -> None:
    # Made when it is asked for, and no rerun: the menu stays open.
    st.download_button(label, make, name, mime, key=f"download {name}", on_click="ignore", icon=":material/download:")


def sql_text(source: Source) -> str:
    """The SQL as it stands in its files."""
    return "\n".join(queries.text(name) for name in source.sql).rstrip()


def psql_line(source: Source, reading: readings.Reading, settings: Settings) -> str:
    """What gives the same rows in psql."""
    if not source.sql:
        return ""
    name = source.sql[-1]
    used = queries.statement(name).values
    values = {**(source.given or {})}
    for key, value in reading.values:
        values[(source.renamed or _RENAMED).get(key, key)] = _text(value)
    if "stale_after_seconds" in used and settings.stale_after_seconds != Settings.stale_after_seconds:
        values["stale_after_seconds"] = f"{settings.stale_after_seconds:g}"
    if settings.table != Settings.table:
        values["table"] = settings.table
    given = [f"-v {shlex.quote(f'{key}={value}')}" for key, value in values.items() if key in used | {"table"}]
    return " ".join(['psql "$DATABASE_URL"', f"-v env={settings.env}", *given, f"-f sql/{name}.sql"])


def notebook_cell(source: Source, reading: readings.Reading) -> str:
    """What gives the same rows in a notebook."""
    if source.python == "doctor.examine":
        return "import opskit\nfrom opskit import doctor\n\ndb = opskit.connect()\ndoctor.examine(db)"
    if source.python.startswith("db."):
        names = source.renamed or {}
        values = [f"{names.get(key, key)}={value!r}" for key, value in reading.values]
        return f"import opskit\n\ndb = opskit.connect()\n{', '.join([source.python, *values])})"
    values = ["every=True"] if reading.name == "claims" else []
    values += [f"{key}={value!r}" for key, value in _unusual(source, reading).items()]
    call = f"{source.python}({', '.join(['db', *values])})"
    return f"import opskit\nfrom opskit import stats\n\ndb = opskit.connect()\n{call}"


def notebook_file(source: Source, reading: readings.Reading, settings: Settings) -> bytes:
    """The same as a notebook: opened where DATABASE_URL leads to this database, it runs as it is."""
    where = [f"env={settings.env!r}"] + ([f"table={settings.table!r}"] if settings.table != Settings.table else [])
    code = notebook_cell(source, reading).replace("opskit.connect()", f"opskit.connect({', '.join(where)})")
    connected, _, call = code.rpartition("\n")
    when = f"{reading.taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    title = f"# {reading.name.replace('_', ' ').capitalize()}\n\nAs the page showed it at {when}."
    cells = [
        {"cell_type": "markdown", "id": "0", "metadata": {}, "source": title},
        *(
            {"cell_type": "code", "id": f"{n}", "metadata": {}, "source": text, "outputs": [], "execution_count": None}
            for n, text in enumerate((connected, call), start=1)
        ),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, ensure_ascii=False, indent=1).encode()


def curl_line(source: Source, reading: readings.Reading) -> str:
    """What gives the same rows over HTTP."""
    # The API serves the page's own fleet alone.
    if not source.path or fleets.current() != fleets.OWN:
        return ""
    values = {_camel(key): _text(value) for key, value in _unusual(source, reading).items()}
    query = f"?{urlencode(values)}" if values else ""
    token = ' -H "Authorization: Bearer $OPSKIT_API_TOKEN"' if sign_in.roles() else ""
    return f"curl -s {shlex.quote(f'{origin()}/api/processing/{source.path}{query}')}{token}"


def shell_line(source: Source, reading: readings.Reading, settings: Settings) -> str:
    """What gives the same rows in the shell; nothing where its verb takes no such values."""
    if not source.verb or _unusual(source, reading):
        return ""
    return command(settings, source.verb)


def origin() -> str:
    """How the browser reached this page."""
    host = st.context.headers.get("Host") or f"{readings.settings().host}:{readings.settings().port}"
    return f"{'https' if (st.context.url or '').startswith('https:') else 'http'}://{host}"


def _unusual(source: Source, reading: readings.Reading) -> dict[str, Any]:
    """The values that differ from what the statistic takes by itself."""
    function = getattr(stats, source.python.removeprefix("stats."), None)
    if function is None or reading.name == "claims":
        return {}
    usual = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    return {key: value for key, value in reading.values if usual.get(key) != value}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
