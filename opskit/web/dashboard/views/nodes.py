"""Nodes: who is there, what each does and how far it is; pause, resume and drain them."""

from __future__ import annotations

import streamlit as st

from opskit.support import wording
from opskit.web.dashboard import actions, banners, columns, dialog, readings, sources


def steer() -> None:
    """One node, chosen by name, and what can be done with it; above everything that ticks."""
    known = {row["server_id"]: row["state"] for row in readings.read("nodes").rows()}
    running = [name for name, state in known.items() if state != "stopped"]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Node",
            running,
            index=None,
            placeholder="Choose a node to steer" if running else "No node is running",
            format_func=lambda name: f"{name} ({known.get(name, 'gone')})",
            key="node",
            width=380,
        )
        if dialog.button("Pause…", icon=":material/pause:", key="pause", disabled=not chosen):
            actions.pause(str(chosen))
        if dialog.button("Resume…", icon=":material/play_arrow:", key="resume", disabled=not chosen):
            actions.resume(str(chosen))
        if dialog.button("Drain…", icon=":material/logout:", key="drain", disabled=not chosen):
            actions.drain(str(chosen))


def table() -> None:
    """The nodes, those that are gone behind a switch."""
    nodes = readings.read("nodes")
    banners.as_of(nodes)
    if not banners.healthy([nodes]):
        return
    rows = nodes.rows()
    stopped = sum(row["state"] == "stopped" for row in rows)
    states = [
        f"{sum(row['state'] == state for row in rows)} {state}" for state in columns.NODE_BADGES if state != "stopped"
    ]
    with st.container(horizontal=True, vertical_alignment="center"):
        sentence = " · ".join(part for part in states if not part.startswith("0 ")) or "No node is running."
        st.markdown(sentence, width="content")
        sources.menu(nodes)
    if not rows:
        st.caption("No node has registered yet. Start one: `opskit up`, or `python -m opskit.worker`.")
        return
    everyone = stopped and st.toggle(f"Show stopped ({stopped})", key="stopped")
    shown = [row for row in rows if everyone or row["state"] != "stopped"]
    if shown:
        st.dataframe(
            [
                {
                    "Node": row["server_id"],
                    "State": [row["state"]],
                    "File": readings.shown(row["original_filename"] or ""),
                    "Progress": columns.progress(row),
                    "For": wording.span(row["minutes_processing"] * 60)
                    if row["minutes_processing"] is not None
                    else "",
                    "Last heartbeat": f"{wording.span(row['seconds_since_heartbeat'])} ago",
                    "Started": row["started_at"],
                    "Host": row["host"],
                    "Process": str(row["pid"]),
                    "Version": row["version"],
                }
                for row in shown
            ],
            column_config={
                "Progress": columns.progress_column(),
                "Started": columns.time_column(),
                "State": columns.state_column(columns.NODE_BADGES),
            },
            hide_index=True,
            height="content",
            placeholder="",
        )
    st.caption(
        "silent: a heartbeat is overdue · dead: its lease has run out without a good-bye · "
        "draining: finishes its file and stops · quarantined: failed what other nodes then "
        "completed; tries one file now and then, and is back when it completes one"
    )


steer()
banners.live(table)
