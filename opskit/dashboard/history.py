"""History: who did what, and how attempts ended."""

from __future__ import annotations

import streamlit as st

from opskit.dashboard import shared

MOST = 1000
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
    asked = "" if kind == "operators" else kind
    events = shared.read("events", kind=asked, limit=MOST)
    shared.as_of(events)
    if not shared.healthy([events]):
        return
    rows = events.rows()
    full = len(rows) == MOST
    if kind == "operators":
        rows = [row for row in rows if row["kind"] in OPERATORS]
    if not rows:
        st.caption(f"Nothing of this kind among the newest {MOST:,} events." if full else "Nothing yet.")
        return
    st.caption(f"Among the newest {MOST:,} events." if full else f"All {shared.count(len(rows), 'event')}.")
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
            for row in rows
        ],
        column_config={"When": shared.time_column(), "Why": st.column_config.TextColumn(width="large")},
        hide_index=True,
        placeholder="",
        height=620,
    )


table()
