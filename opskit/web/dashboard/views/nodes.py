"""Nodes: who is there, what each does, how it fares beside the others; pause, resume, drain and forget them."""

from __future__ import annotations

import streamlit as st

from opskit.database.session import Row
from opskit.queue.error_lines import last_line
from opskit.support import wording
from opskit.web.dashboard import banners, columns, links, permission, readings, selection, sources
from opskit.web.dashboard.dialogs.nodes import ask_drain, ask_forget, ask_pause, ask_resume

GONE = ("dead", "stopped")


def steer() -> None:
    """What can be done with the nodes that are ticked; above everything that ticks by itself."""
    known = {row["server_id"]: row["state"] for row in readings.read("nodes").rows()}
    chosen = [name for name in dict.fromkeys(st.query_params.get_all("node")) if name in known]
    here = [name for name in chosen if known[name] not in GONE]
    gone = [name for name in chosen if known[name] in GONE]
    with st.container(horizontal=True, vertical_alignment="center", key="steer"):
        count = f" {len(here)}" if len(here) > 1 else ""
        pause = permission.button(f"Pause{count}…", icon=":material/pause:", key="pause", disabled=not here)
        resume = permission.button(f"Resume{count}…", icon=":material/play_arrow:", key="resume", disabled=not here)
        drain = permission.button(f"Drain{count}…", icon=":material/logout:", key="drain", disabled=not here)
        count = f" {len(gone)}" if len(gone) > 1 else ""
        forget = permission.button(f"Forget{count}…", icon=":material/delete:", key="forget", disabled=not gone)
        if len(chosen) == 1:
            links.node(chosen[0])
        elif not chosen:
            st.caption("Tick nodes to steer them.", width="content")
    for pressed, action, whom in (
        (pause, ask_pause, here), (resume, ask_resume, here), (drain, ask_drain, here),
        (forget, ask_forget, gone),
    ):  # fmt: skip
        if pressed:
            action(whom)


def table() -> None:
    """The nodes, those that are gone behind a switch."""
    nodes, work = readings.read("nodes"), readings.read("node_work")
    banners.as_of(nodes, work)
    if not banners.healthy([nodes, work]):
        return
    rows = nodes.rows()
    done = {row["server_id"]: row for row in work.rows()}
    stopped = sum(row["state"] == "stopped" for row in rows)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(summary(rows, list(done.values())), width="content")
        sources.menu(nodes, work)
    if not rows:
        st.caption("No node has registered yet. Start one: `opskit up`, or `python -m opskit.worker`.")
        return
    everyone = stopped and st.toggle(f"Show stopped ({stopped})", key="stopped", bind="query-params")
    shown = [row for row in rows if everyone or row["state"] != "stopped"]
    if shown:
        selection.table(
            "node",
            lines(shown, done),
            [row["server_id"] for row in shown],
            page="node",
            column_config={
                "Progress": columns.progress_column(),
                "Bad 1 h": st.column_config.NumberColumn(help="Attempts of the last hour that ended badly"),
                "Started": columns.time_column(),
                "State": columns.state_column(columns.NODE_BADGES),
                "Last error": st.column_config.TextColumn(width="medium"),
            },
            height="content",
        )
        if selection.changed("node"):
            st.rerun()
    st.caption(
        "silent: a heartbeat is overdue · dead: its lease has run out without a good-bye · "
        "draining: finishes its file and stops · quarantined: failed what other nodes then "
        "completed; tries one file now and then, and is back when it completes one"
    )


def summary(rows: list[Row], work: list[Row]) -> str:
    """How many are in which state, and what the fleet has done in an hour."""
    states = [
        f"{sum(row['state'] == state for row in rows)} {state}" for state in columns.NODE_BADGES if state != "stopped"
    ]
    here = " · ".join(part for part in states if not part.startswith("0 ")) or "No node is running."
    completed, failed = (sum(row[key] for row in work) for key in ("completed", "failed"))
    if not completed + failed:
        return here
    busy = sum(bool(row["completed"] + row["failed"]) for row in work)
    mean = f"; the fleet's mean {completed / busy:,.0f} done, {failed / busy:,.2g} failed a node"
    each = mean if busy > 1 else ""
    return f"{here} — in 1 h {completed:,} done, {failed:,} failed ({_share(failed, completed + failed)}){each}"


def lines(rows: list[Row], done: dict[str, Row]) -> list[dict[str, object]]:
    """The lines of the table; lanes and memory are told only where there are any."""
    keys = {"Lane": "lane", "Takes lanes": "lanes", "Memory [MB]": "memory_bytes"}
    empty = {name for name, key in keys.items() if not any(row[key] for row in rows)}
    found = [line(row, done.get(row["server_id"])) for row in rows]
    return [{name: value for name, value in one.items() if name not in empty} for one in found]


def line(row: Row, work: Row | None) -> dict[str, object]:
    """A node as a line of the table."""
    minutes = row["minutes_processing"]
    completed, failed = (work["completed"], work["failed"]) if work else (0, 0)
    return {
        "Node": row["server_id"],
        "State": [row["state"]],
        "File": readings.shown(row["original_filename"] or ""),
        "Lane": readings.shown(row["lane"] or ""),
        "Progress": columns.progress(row),
        "For": wording.span(minutes * 60) if minutes is not None else "",
        "Done 1 h": completed,
        "Failed 1 h": f"{failed:,} ({_share(failed, completed + failed)})" if failed else "",
        "Bad 1 h": work["bad_attempts"] if work else 0,
        "Last error": readings.shown(last_line(work["last_error"])) if work and work["last_error"] else "",
        "Heartbeat": f"{wording.span(row['seconds_since_heartbeat'])} ago",
        "Memory [MB]": megabytes(row["memory_bytes"]) if row["state"] not in GONE else None,
        "Takes lanes": readings.shown(row["lanes"] or ""),
        "Version": row["version"],
        "Host": row["host"],
        "Process": str(row["pid"]),
        "Started": row["started_at"],
    }


def megabytes(size: int | None) -> int | None:
    """Memory in whole megabytes; None where it is not known."""
    return None if size is None else round(size / 1e6)


def _share(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0
    return f"{share:.0f} %" if share >= 10 or not share else f"{share:.2g} %"


steer()
banners.live(table)
