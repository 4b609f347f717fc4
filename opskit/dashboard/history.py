"""History: who did what, and how attempts ended."""

from __future__ import annotations

import streamlit as st

from opskit.dashboard import shared
from opskit.database import Row

MOST = 1000
MOST_OF_A_KIND = 200
KINDS = {
    "": "Everything",
    "operators": "Operators",
    "attempt": "Attempts",
    "boot": "Starts",
    "stop": "Stops",
}
OPERATORS = ("requeue", "pause", "resume", "state", "adopt", "migrate")


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
    readings = operators() if kind == "operators" else [shared.read("events", kind=kind, limit=MOST)]
    shared.as_of(*readings)
    if not shared.healthy(readings):
        return
    rows = [row for reading in readings for row in reading.rows()]
    if kind == "operators":
        rows = by_people(rows)
    elif len(rows) == MOST:
        st.caption(f"The newest {MOST:,} events.")
    if not rows:
        st.caption("Nothing yet.")
        return
    st.dataframe(
        [
            {
                "When": row["at"],
                "Who": row["actor"] or "",
                "What": shared.what_happened(row),
                "Server": (row["server_id"] or "").replace("*", "all"),
                "File": row["file_id"] or "",
                "Attempt": row["attempt"],
                "Why": row["reason"] or "",
            }
            for row in sorted(rows, key=lambda row: row["id"], reverse=True)
        ],
        column_config={"When": shared.time_column(), "Why": st.column_config.TextColumn(width="large")},
        hide_index=True,
        placeholder="",
        height=620,
    )


def operators() -> list[shared.Reading]:
    """What people do, each kind by itself: a busy night of attempts must not push it out of sight."""
    kinds = [shared.read("events", kind=kind, limit=MOST_OF_A_KIND) for kind in OPERATORS]
    return [*kinds, shared.read("events", kind="attempt", limit=MOST)]


def by_people(rows: list[Row]) -> list[Row]:
    """Leave out what nodes did by themselves: a cleanup by an operator is the end of an attempt, too."""
    servers = {row["server_id"] for row in shared.read("nodes").rows()} | {row["server_id"] for row in rows}
    st.caption(f"The newest {MOST_OF_A_KIND} of each kind, and the cleanups among the newest {MOST:,} attempts.")
    return [row for row in rows if row["kind"] != "attempt" or row["actor"] not in servers]


table()
