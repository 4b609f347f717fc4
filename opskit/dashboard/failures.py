"""Failures: what goes wrong, grouped by error and by when; queue a whole group again."""

from __future__ import annotations

import streamlit as st

from opskit.dashboard import actions, shared


def groups() -> None:
    """The groups, and the one that is chosen. It does not tick: nothing moves under the pointer."""
    failures = shared.read("failures")
    shared.as_of(failures)
    if not shared.healthy([failures]):
        return
    rows = failures.rows()
    if not rows:
        st.success("No failed file.", icon=":material/check_circle:")
        return
    total = sum(row["file_count"] for row in rows)
    st.caption(
        f"{shared.count(total, 'failed file')} in {shared.count(len(rows), 'group')}; numbers and ids are taken out."
    )
    ticked = st.dataframe(
        [
            {
                "Error": row["error"],
                "1 h": row["last_hour"],
                "24 h": row["last_day"],
                "7 d": row["last_week"],
                "All": row["file_count"],
                "Latest": row["latest"],
                "For example": row["example"],
            }
            for row in rows
        ],
        column_config={"Error": st.column_config.TextColumn(width="large"), "Latest": shared.time_column()},
        hide_index=True,
        height="content",
        # A new list is a new table: a tick never moves to another group.
        key="failures " + str(hash(tuple(row["error"] for row in rows))),
        on_select="rerun",
        selection_mode="single-row",
    )
    chosen = [rows[place] for place in ticked.selection.rows if place < len(rows)]
    if not chosen:
        st.caption("Tick a group to read it in full and to queue its files again.")
        return
    group = chosen[0]
    st.code(group["error"], language=None, wrap_lines=True)
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"Requeue {shared.count(group['file_count'], 'file')}…"
        if actions.button(label, icon=":material/replay:", key="requeue_group", primary=True):
            actions.requeue_group(group["error"], group["file_count"])
        st.page_link("files.py", label="All failed files", query_params={"state": "failed"}, icon=":material/list:")


groups()
