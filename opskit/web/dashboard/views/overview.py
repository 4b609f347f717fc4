"""Overview: what needs an operator now, and the numbers of the moment."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from opskit.database.session import Row
from opskit.queue.states import FileState
from opskit.stats.drawing import STATE_COLORS
from opskit.support import wording
from opskit.web.dashboard import (
    banners,
    charts,
    columns,
    lane_filter,
    markdown,
    needs,
    permission,
    readings,
    rows,
    sources,
    times,
    trends,
)
from opskit.web.dashboard.dialogs.cleanup import ask_cleanup
from opskit.web.dashboard.dialogs.nodes import ask_pause, ask_resume

SERVERS_DRAWN = 12
OUTLOOK_COLORS: dict[str, Literal["gray", "green", "orange", "red"]] = {
    "emptying": "green",
    "growing": "orange",
    "standing": "red",
}
HERE_NOW = ("live", "paused", "draining", "quarantined", "silent")


def buttons() -> None:
    """The actions, above everything that ticks: a click below a ticking chart was once lost."""
    with st.container(horizontal=True):
        if permission.button("Clean up…", icon=":material/mop:", key="cleanup", primary=True, why="Shows what first"):
            ask_cleanup()
        if permission.button("Pause all…", icon=":material/pause:", key="pause_all"):
            ask_pause()
        if permission.button("Resume all…", icon=":material/play_arrow:", key="resume_all"):
            ask_resume()


def attention() -> None:
    """What needs a person now. It ticks by itself, above the charts: its buttons must not wait for these."""
    numbers, throughput = readings.read("concurrency"), day()
    if numbers.frame is not None and throughput.frame is not None:
        examined = readings.read_seldom("doctor")
        needs.box(numbers.rows()[0], None if examined.frame is None else examined.rows(), _last_day(throughput))


def day() -> readings.Reading:
    """What has ended in the last day, by the hour."""
    return readings.read("throughput", since_seconds=86400, bucket_seconds=3600)


def moment() -> None:
    """The numbers of this moment."""
    numbers, pauses = readings.read("concurrency"), readings.read("pauses")
    throughput, forecast = day(), readings.read("forecast")
    taken = (numbers, pauses, throughput, forecast)
    banners.as_of(*taken)
    if not banners.healthy(taken):
        return
    now = numbers.rows()[0]
    sources.heading("Now", numbers, forecast, pauses)
    metrics(now, _last_day(throughput), forecast.rows()[0])
    counted(now)


def boards() -> None:
    """Who works on what, how the files are spread, what takes longest; what is wrong with the numbers stands above."""
    lane = st.session_state.get("lane") or ""
    nodes, longest = readings.read("nodes"), readings.read("longest_running")
    distribution = readings.read("distribution", **lane_filter.asked(lane))
    if any(reading.frame is None for reading in (nodes, distribution, longest)):
        return
    workers(nodes)
    spread(distribution, lane)
    lane_filter.board(lane)
    oldest(longest)


def metrics(now: Row, last_day: dict[str, int], ahead: Row) -> None:
    """The headline numbers."""
    with st.grid(9 if now["waiting_files"] else 8, min_column_width=110, gap="small"):
        st.metric(
            "Oldest queued",
            wording.span(now["oldest_queued_seconds"]) if now["queued"] else "none",
            border=True,
            height="stretch",
        )
        told = wording.outlook(ahead["verdict"], ahead["empty_in_seconds"])
        # A tile is narrow, and would cut the words that matter.
        words = {"growing": "grows", "steady": "steady", "unknown": "too early"}.get(ahead["verdict"], told)
        st.metric(
            "Queued",
            f"{now['queued']:,}",
            words if now["queued"] else None,
            delta_color=OUTLOOK_COLORS.get(ahead["verdict"], "gray"),
            delta_arrow="off",
            border=True,
            height="stretch",
        )
        st.metric(
            "Ended, last minute",
            f"{ahead['ended_minute']:,}",
            f"{ahead['came_minute']:,} came" if ahead["came_minute"] else None,
            delta_color="gray",
            delta_arrow="off",
            border=True,
            height="stretch",
        )
        st.metric("Processing", f"{now['processing']:,}", border=True, height="stretch")
        for state, color in (("completed", "green"), ("failed", "red")):
            st.metric(
                state.capitalize(),
                "…" if now[state] is None else f"{now[state]:,}",
                f"{last_day[state]:,} in 24 h" if last_day[state] else None,
                delta_color=color,  # type: ignore[arg-type]  # both are among the colours allowed
                delta_arrow="off",
                border=True,
                height="stretch",
            )
        st.metric(
            "Nodes claiming", f"{now['claiming_nodes']:,} of {now['active_servers']:,}", border=True, height="stretch"
        )
        st.metric(
            "Stale + orphaned",
            f"{now['stale_files']:,} + {now['orphaned_files']:,}",
            border=True,
            height="stretch",
        )
        if now["waiting_files"]:
            st.metric("No status yet", f"{now['waiting_files']:,}", border=True, height="stretch")


def counted(now: Row) -> None:
    """When what takes long to count was counted: as of then it is exact."""
    if now["counted_at"] is None:
        st.caption("What has ended is still being counted.")
    elif (now["as_of"] - now["counted_at"]).total_seconds() > 1:
        st.caption(f"What has ended and what has no status: counted as of {times.moment(now['counted_at'])}.")


def _last_day(throughput: readings.Reading) -> dict[str, int]:
    hours = throughput.rows()
    return {
        state: sum(row["file_count"] for row in hours if row["processing_status"] == state)
        for state in ("completed", "failed")
    }


def spread(distribution: readings.Reading, lane: str) -> None:
    """How many files each server has in each state: plot, and table for the exact numbers."""
    of_lane = f" of lane {markdown.escaped(lane)}" if lane else ""
    sources.heading(f"Files per server and state{of_lane}", distribution)
    by_server: dict[str, dict[str, int]] = {}
    for row in distribution.rows():
        server = row["processing_server_id"] or ("(queue)" if row["processing_status"] == "queued" else "(no server)")
        by_server.setdefault(server, dict.fromkeys(FileState, 0))[row["processing_status"]] += row["file_count"]
    if not by_server:
        st.caption("No files yet.")
        return
    ranked = sorted(by_server, key=lambda server: (-by_server[server]["processing"], -sum(by_server[server].values())))
    drawn = {server: by_server[server] for server in sorted(ranked[:SERVERS_DRAWN])}
    if rest := ranked[SERVERS_DRAWN:]:
        other = wording.count(len(rest), "other")
        drawn[other] = {state: sum(by_server[server][state] for server in rest) for state in FileState}
    states = [state for state in FileState if any(counts[state] for counts in drawn.values())]
    plot, table = st.tabs(["Plot", "Table"])
    with plot:
        if banners.standing():
            charts.spread(drawn, {state: STATE_COLORS[state] for state in states})
        else:
            charts.place(charts.spread_height(len(drawn)))
    with table:
        rows.table(
            [{"Server": _server(name), **by_server[name], "all": sum(by_server[name].values())} for name in ranked]
        )


def _server(name: str) -> rows.Name:
    return rows.Name(name) if name.startswith("(") else rows.node(name)


def workers(nodes: readings.Reading) -> None:
    """The nodes that are here, each with the file in hand and how far it is."""
    sources.heading("Nodes", nodes)
    here = [row for row in nodes.rows() if row["state"] in HERE_NOW]
    if not here:
        st.caption("No node is alive. Start one: `opskit up`, or `python -m opskit.worker`.")
        return
    rows.table(
        [
            {
                "Node": _server(row["server_id"]),
                "State": rows.State(row["state"], columns.NODE_BADGES[row["state"]]),
                "File": _file(row["file_id"], row["original_filename"]),
                "Progress": rows.Share(columns.progress(row)),
                "For": wording.span(row["minutes_processing"] * 60) if row["minutes_processing"] is not None else "",
            }
            for row in here
        ]
    )


def oldest(longest: readings.Reading) -> None:
    """The claims held for longest."""
    sources.heading("Longest running", longest)
    claims = longest.rows()
    if not claims:
        st.caption("Nothing is being processed.")
        return
    rows.table(
        [
            {
                "File": rows.Name(row["original_filename"] or "(no name)"),
                "Server": _server(row["processing_server_id"] or "(no server)"),
                "For": wording.span((row["minutes_processing"] or 0) * 60),
            }
            for row in claims
        ]
    )


def _file(file_id: str | None, name: str | None) -> rows.Name | None:
    return rows.file(file_id, name) if file_id else None


buttons()
needs.wanted()
banners.live(attention)
banners.live(moment)
left, right = st.columns([3, 2], gap="medium")
with left:
    lane_filter.chosen()
    banners.live(boards, charts_later=True)
with right:
    trends.live()
