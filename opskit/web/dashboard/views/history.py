"""History: who did what, how attempts ended, and the row as it was before somebody changed it."""

from __future__ import annotations

import json
from datetime import datetime

import streamlit as st

from opskit.database.session import Row
from opskit.queue.states import EventKind
from opskit.web.dashboard import banners, columns, links, markdown, readings, sources, times

MOST = 1000
MOST_OF_A_KIND = 200
KINDS = {
    "": "Everything",
    "operators": "Operators",
    "attempt": "Attempts",
    "boot": "Starts",
    "stop": "Stops",
    "breaker": "Breaker",
}
OPERATORS = tuple(kind for kind in EventKind if kind.is_by_operators)


def table() -> None:
    """The newest events that the chosen kind lets through."""
    kind = st.pills(
        "Kind",
        list(KINDS),
        format_func=lambda name: KINDS[name],
        default="",
        required=True,
        key="kind",
        bind="query-params",
        label_visibility="collapsed",
    )
    taken = operators() if kind == "operators" else [readings.read("events", kind=kind, limit=MOST)]
    banners.as_of(*taken)
    if not banners.healthy(taken):
        return
    rows = [row for reading in taken for row in reading.rows()]
    if kind == "operators":
        rows = by_people(rows)
    elif len(rows) == MOST:
        st.caption(f"The newest {MOST:,} events.")
    if not rows:
        st.caption("Nothing yet.")
        return
    rows = sorted(rows, key=lambda row: row["id"], reverse=True)
    ticked = st.dataframe(
        [
            {
                "When": row["at"],
                "Who": row["actor"] or "",
                "What": markdown.what_happened(row),
                "Server": (row["server_id"] or "").replace("*", "all"),
                "File": row["file_id"] or "",
                "Attempt": row["attempt"],
                "Why": readings.why(row),
            }
            for row in rows
        ],
        column_config={"When": columns.time_column(), "Why": st.column_config.TextColumn(width="large")},
        hide_index=True,
        placeholder="",
        height=columns.table_height(rows),
        # A new list is a new table: a tick never moves to another event.
        key="events " + str(hash(tuple(row["id"] for row in rows))),
        on_select="rerun",
        selection_mode="single-row",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Tick an event to read it in full, with the row as it was before.", width="content")
        sources.menu(taken[0])
    for place in ticked.selection.rows:
        if place < len(rows):
            in_full(rows[place]["id"])


def in_full(event_id: int) -> None:
    """One event with everything that was written down, and the row as it was before."""
    found = readings.read("event", event_id=event_id)
    if not banners.healthy([found]):
        return
    for event in found.rows():
        before = event.pop("details") or {}
        sources.heading(f"Event {event['id']}: {markdown.escaped(markdown.what_happened(event))}", found)
        left, right = st.columns(2, gap="medium")
        with left:
            st.caption("What was written down")
            st.table({"": {name: _shown(value) for name, value in event.items() if value is not None}})
        with right:
            was_row = "processing_status" in before
            st.caption("The row as it was before" if was_row else "Further details")
            if before:
                st.table({"": {name: _shown(value) for name, value in before.items() if value is not None}})
            else:
                st.markdown("Nothing more was written down.")
        if event["file_id"]:
            links.file(event["file_id"], None)


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return f"{times.local(value):%Y-%m-%d %H:%M:%S} {times.zone()}"
    return markdown.escaped(json.dumps(value, default=str) if isinstance(value, (dict, list)) else value)


def operators() -> list[readings.Reading]:
    """What people do, each kind by itself: a busy night of attempts must not push it out of sight."""
    kinds = [readings.read("events", kind=kind, limit=MOST_OF_A_KIND) for kind in OPERATORS]
    return [*kinds, readings.read("events", kind="attempt", limit=MOST)]


def by_people(rows: list[Row]) -> list[Row]:
    """Leave out what nodes did by themselves: a cleanup by an operator is the end of an attempt, too."""
    servers = {row["server_id"] for row in readings.read("nodes").rows()} | {row["server_id"] for row in rows}
    st.caption(f"The newest {MOST_OF_A_KIND} of each kind, and the cleanups among the newest {MOST:,} attempts.")
    return [row for row in rows if row["kind"] != "attempt" or row["actor"] not in servers]


table()
