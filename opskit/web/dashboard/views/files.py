"""Files: filter and search them, open one, queue several again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from opskit.errors import DatabaseError
from opskit.queue import searching
from opskit.queue.error_lines import last_line
from opskit.queue.states import FileState
from opskit.stats.list_rows import SEARCH_ROWS
from opskit.support import wording
from opskit.web.dashboard import (
    banners,
    columns,
    fleets,
    lane_filter,
    links,
    permission,
    readings,
    selection,
    sources,
    suggestions,
)
from opskit.web.dashboard.dialogs.cancel import ask_cancel
from opskit.web.dashboard.dialogs.expedite import ask_expedite
from opskit.web.dashboard.dialogs.requeue import ask_requeue
from opskit.web.dashboard.dialogs.upload import ask_upload

STATES: dict[str, str] = {"": "all states", **{state: str(state) for state in FileState}, "none": "no status yet"}
TOOK_TOO_LONG = "57014"
HINT = "any part of a name, an id, {}state:failed node:… since:24h"
HELP = (
    "Enter searches the whole table. `state:failed`, `node:prod-07` and `since:24h` narrow it; so does "
    "`column:value` for the columns that OPSKIT_SHOW_COLUMNS names."
)
ACTS: dict[str, tuple[str, tuple[str, ...], Callable[[Sequence[str], Sequence[str], str], None]]] = {
    "Requeue": (":material/replay:", ("failed", "completed"), ask_requeue),
    "Expedite": (":material/fast_forward:", ("queued",), ask_expedite),
    "Cancel": (":material/cancel:", ("queued", "processing"), ask_cancel),
}
"""What can be done with several files: icon, the states that it is for, and the dialog that asks."""
PAGE_ROWS = 200
MOST_ROWS = 5000
MORE = f"The filter finds more than {wording.count(MOST_ROWS, 'file')}: these are the first. Narrow the filter."


def listing() -> None:
    """The filters, the files they let through, and what can be done with those that are ticked."""
    if known := st.query_params.get("file"):  # an address of before this page was given to each file
        st.switch_page("views/file.py", query_params=fleets.asked(id=known))
    spread = readings.read("distribution").rows()
    servers = sorted({row["processing_server_id"] for row in spread} - {None})
    status_column, server_column, name_column, upload_column = st.columns([2, 2, 4, 1], vertical_alignment="bottom")
    status = status_column.selectbox(
        "State", list(STATES), format_func=lambda state: STATES[state], key="state", bind="query-params"
    )
    server = server_column.selectbox(
        "Server", ["", *servers], format_func=lambda name: name or "all servers", key="server", bind="query-params"
    )
    search = name_column.text_input(
        "Search",
        key="search",
        bind="query-params",
        placeholder=HINT.format(example()),
        help=HELP,
    )
    suggestions.buttons("search", servers, readings.settings().shown_columns or ())
    lane = lane_filter.chosen()
    with upload_column:
        if permission.button("Upload…", icon=":material/upload:", key="upload_files"):
            ask_upload()
    asked = (status, server, search, lane)
    if st.session_state.get("asked") != asked:
        st.session_state.update(asked=asked, most=PAGE_ROWS)
    most = st.session_state["most"]
    found, everywhere = looked_for(search.strip(), status, server, lane, most + 1)
    banners.as_of(found)
    if not banners.healthy([found]):
        return
    rows = found.rows()
    more = len(rows) > most
    rows = rows[:most]
    searched = ""
    if search.strip() and status != "none":
        total = sum(row["file_count"] for row in spread)
        newest = f" Searched: the newest {SEARCH_ROWS:,}, and every file's id; all {total:,} take too long."
        searched = f" Searched: all {wording.count(total, 'file')}." if everywhere else newest
    if not rows:
        st.info(f"No file meets this.{searched}{taken_as_name(search)}")
        return
    order = "newest upload first" if status == "none" else "newest event first"
    order = "best match first" if search.strip() and everywhere else order
    with st.container(horizontal=True, vertical_alignment="center"):
        everything = f"All {wording.count(len(rows), 'file')}, {order}."
        found_what = f"The first {most:,}, {order}; there are more." if more else everything
        st.caption(found_what + searched, width="content")
        if found.name in sources.SOURCES:
            sources.menu(found)
    chosen = table(rows)
    if more and most < MOST_ROWS:
        st.button("Show more", key="more", on_click=lambda: st.session_state.update(most=min(most * 2, MOST_ROWS)))
    elif more:
        st.caption(f"No more than {MOST_ROWS:,} are shown; narrow the filter.")
    if chosen:
        several(chosen)
    elif any(asked):
        beyond = (lambda: looked_for(search.strip(), status, server, lane, MOST_ROWS + 1)[0].rows()) if more else None
        several(rows, of_filter=True, beyond=beyond)


def looked_for(search: str, status: str, server: str, lane: str, limit: int) -> tuple[readings.Reading, bool]:
    """The newest files; what a search finds in the whole table, or among the newest where that takes too long.

    The files of a lane are looked for among the newest.

    Returns:
        The files, and whether the whole table was searched.
    """
    if search and status != "none" and not lane:
        found = readings.read("found_files", text=search, status=status, server_id=server, limit=limit)
        if not (isinstance(found.error, DatabaseError) and found.error.sqlstate == TOOK_TOO_LONG):
            return found, True
    asked = {"lane": lane} if lane else {}
    return readings.read("files", status=status, server_id=server, search=search, limit=limit, **asked), False


def taken_as_name(search: str) -> str:
    """That a search has a column in it which it may not look into."""
    columns = readings.settings().shown_columns
    names = [] if columns is None else searching.not_understood(search, columns)
    if not names:
        return ""
    words = ", ".join(f"`{name}:`" for name in names)
    return f" {words} was taken as a part of the name: OPSKIT_SHOW_COLUMNS names the columns that are searched."


def example() -> str:
    """A word of a search by a column of the application's, where a setting names one."""
    names = readings.settings().shown_columns
    return f"{names[0]}:… " if names else ""


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The files as a table; answers those that are ticked."""
    lines = [
        {
            "File": readings.shown(row["original_filename"]),
            "State": [row["processing_status"]] if row["processing_status"] else [],
            "Server": row["processing_server_id"] or "",
            "Last event": row["last_at"],
            "Size": row["file_size"],
            "Attempts": row["processing_attempt"],
            "Error": readings.shown(last_line(row["processing_errors"])),
            "Id": row["id"],
        }
        for row in rows
    ]
    ticked = selection.table(
        "tick",
        lines,
        [row["id"] for row in rows],
        page="file",
        column_config={
            "State": columns.state_column(columns.BADGES),
            "Last event": columns.time_column(),
            "Size": st.column_config.NumberColumn(format="bytes"),
        },
        height=columns.table_height(rows),
    )
    return [row for row in rows if row["id"] in ticked]


def several(
    rows: list[dict[str, Any]],
    *,
    of_filter: bool = False,
    beyond: Callable[[], list[dict[str, Any]]] | None = None,
) -> None:
    """What can be done with the files that are ticked, or with all that the filter finds.

    Args:
        rows: The files that are ticked; where none is, those that are shown.
        of_filter: They are not ticked, but found.
        beyond: Reads all that are found where more are than are shown, at most one more than `MOST_ROWS`.
    """

    def of(states: tuple[str, ...], among: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in among if row["processing_status"] in states]

    pressed: tuple[str, tuple[str, ...], Callable[[Sequence[str], Sequence[str], str], None]] | None = None
    with st.container(horizontal=True, vertical_alignment="center"):
        for verb, (icon, states, act) in ACTS.items():
            meant = of(states, rows)
            files = wording.count(len(meant), "file")
            label = f"{verb} all found ({', '.join(states)})…" if of_filter else f"{verb} {files}…"
            key = f"{verb.lower()}_found" if of_filter else f"{verb.lower()}_several"
            if permission.button(label, icon=icon, key=key, disabled=not meant and beyond is None):
                pressed = (verb, states, act)
        if not of_filter:
            links.files(rows)
    if pressed is None:
        return
    verb, states, act = pressed
    every = beyond() if beyond else rows
    meant = of(states, every[:MOST_ROWS])
    if meant:
        act([row["id"] for row in meant], [row["original_filename"] or row["id"] for row in meant],
            MORE if len(every) > MOST_ROWS else "")  # fmt: skip
    else:
        st.info(f"Of the files found none is {' or '.join(states)}: there is nothing to {verb.lower()}.")


listing()
