"""Files: filter and search them, read one file's story, queue it again."""

from __future__ import annotations

from typing import Any

import streamlit as st

from opskit.queue.error_identity import last_line
from opskit.queue.states import FileState
from opskit.stats.listings import SEARCH_ROWS
from opskit.support import wording
from opskit.support.logs import masked
from opskit.web.dashboard import actions, banners, columns, dialog, markdown, readings, sources

STATES: dict[str, str] = {"": "all states", **{state: str(state) for state in FileState}, "none": "no status yet"}
PAGE_ROWS = 200
MOST_ROWS = 5000


def listing() -> None:
    """The filters, the files they let through, and the one that is chosen."""
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
        "Name contains, or id", key="search", bind="query-params", placeholder="any part of a name; Enter searches"
    )
    with upload_column:
        if dialog.button("Upload…", icon=":material/upload:", key="upload_files"):
            actions.upload()
    asked = (status, server, search)
    if st.session_state.get("asked") != asked:
        st.session_state.update(asked=asked, most=PAGE_ROWS)
    most = st.session_state["most"]
    found = readings.read("files", status=status, server_id=server, search=search.strip(), limit=most + 1)
    banners.as_of(found)
    if not banners.healthy([found]):
        return
    rows = found.rows()
    more = len(rows) > most
    rows = rows[:most]
    searched = ""
    if search.strip() and sum(row["file_count"] for row in spread) > SEARCH_ROWS:
        searched = f" Searched: the newest {SEARCH_ROWS:,} of each state, and every file's id."
    if not rows:
        st.info(f"No file meets this.{searched}")
        return
    order = "newest upload first" if status == "none" else "newest event first"
    with st.container(horizontal=True, vertical_alignment="center"):
        everything = f"All {wording.count(len(rows), 'file')}, {order}."
        found_what = f"The first {most:,}, {order}; there are more." if more else everything
        st.caption(found_what + searched, width="content")
        sources.menu(found)
    chosen = table(rows)
    if more and most < MOST_ROWS:
        st.button("Show more", key="more", on_click=lambda: st.session_state.update(most=min(most * 2, MOST_ROWS)))
    elif more:
        st.caption(f"No more than {MOST_ROWS:,} are shown; narrow the filter.")
    if len(chosen) > 1:
        several(chosen)
    one = chosen[0]["id"] if len(chosen) == 1 else st.query_params.get("file")
    if one and len(chosen) < 2:
        story(one)


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The files as a table; answers those that are ticked."""
    ticked = st.dataframe(
        [
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
        ],
        column_config={
            "State": columns.state_column(columns.BADGES),
            "Last event": columns.time_column(),
            "Size": st.column_config.NumberColumn(format="bytes"),
        },
        hide_index=True,
        height=columns.table_height(rows),
        # A new list is a new table: a tick never moves to another file.
        key="files " + str(hash(tuple(row["id"] for row in rows))),
        on_select="rerun",
        selection_mode="multi-row",
    )
    return [rows[place] for place in ticked.selection.rows if place < len(rows)]


def several(chosen: list[dict[str, Any]]) -> None:
    """What can be done with several files at once."""
    ended = [row for row in chosen if row["processing_status"] in ("failed", "completed")]
    label = f"Requeue {wording.count(len(ended), 'file')}…"
    if dialog.button(label, icon=":material/replay:", key="requeue_several", disabled=not ended):
        actions.requeue([row["id"] for row in ended], [row["original_filename"] or row["id"] for row in ended])


def story(file_id: str) -> None:
    """One file: as it stands now, and every attempt at it."""
    now, events = readings.read("file", file_id=file_id), readings.read("events", file_id=file_id, limit=200)
    if not banners.healthy([now, events]):
        return
    rows = now.rows()
    st.divider()
    if not rows:
        st.info(f"There is no file with the id {markdown.escaped(file_id)}.")
        return
    file = rows[0]
    state = file["processing_status"] or "no status yet"
    sources.heading(markdown.escaped(file["original_filename"] or file["id"]), now, events)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(state, color=columns.BADGES.get(state, "gray"))
        st.caption(
            f"id `{file['id']}` · {wording.count(file['processing_attempt'] or 0, 'attempt')} · "
            f"{markdown.escaped(file['processing_server_id'] or 'no server')} · "
            f"{markdown.escaped(masked(file['storage_path'] or 'no path'))}"
            + (" · **deleted**" if file["deleted"] else "")
        )
        ended = state in ("failed", "completed") and not file["deleted"]
        if ended and dialog.button("Requeue…", icon=":material/replay:", key="requeue_one"):
            actions.requeue([file["id"]], [file["original_filename"] or file["id"]])
    if file["processing_errors"]:
        st.code(last_line(file["processing_errors"]), language=None, wrap_lines=True)
        readings.in_full(file["processing_errors"], "The error in full, with its traceback")
    if file["processing_result"] is not None:
        st.json(file["processing_result"], expanded=1)
    st.dataframe(
        timeline(file, events.rows()), column_config={"When": columns.time_column()}, hide_index=True, placeholder=""
    )
    st.page_link("views/files.py", label="Link to this file", query_params={"file": file_id}, icon=":material/link:")


def timeline(file: dict[str, Any], events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Everything that happened to a file, oldest first; what the row itself still holds comes last."""
    lines = [
        {
            "When": event["at"],
            "What": markdown.what_happened(event),
            "Attempt": event["attempt"],
            "Server": event["server_id"] or "",
            "Ran for": _between(event["started_at"], event["at"]) if event["kind"] == "attempt" else "",
            "Why": readings.why(event),
            "By": event["actor"] or "",
        }
        for event in reversed(events)
    ]
    state, begun = file["processing_status"], file["processing_started_at"]
    if state in ("queued", "processing", "completed"):
        what, when = {
            "queued": ("queued, to be claimed from then", file["processing_queued_at"]),
            "processing": ("in processing since", begun),
            "completed": ("completed", file["processing_completed_at"]),
        }[state]
        lines.append(
            {
                "When": when,
                "What": what,
                "Attempt": file["processing_attempt"],
                "Server": file["processing_server_id"] or "",
                "Ran for": _between(begun, when) if state == "completed" else "",
                "Why": "",
                "By": "",
            }
        )
    return lines


def _between(start: Any, end: Any) -> str:
    return wording.span((end - start).total_seconds()) if start and end else ""


listing()
