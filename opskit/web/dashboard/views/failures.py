"""Failures: what goes wrong, grouped by error and by when; the files behind a group; queue a whole group again."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import streamlit as st

from opskit.database.session import Row
from opskit.queue.error_lines import last_line
from opskit.support import wording
from opskit.web.dashboard import (
    banners,
    columns,
    fleets,
    lane_filter,
    links,
    markdown,
    permission,
    readings,
    selection,
    sources,
    times,
)
from opskit.web.dashboard.dialogs.requeue import ask_requeue, ask_requeue_group

WITHIN = {"": "all", "3600": "1 h", "86400": "24 h", "604800": "7 d"}
MOST_FILES = 200
NEW_SECONDS = 86400
HOURS = 24
LEAST_EVIDENCE = 5
MOST_SHARE = 0.8
"""A node, or a lane, that has so much of a group's files is named as what they have in common."""
MOST_SHARES = 5
CLAIMING = ("live", "quarantined", "silent")


def groups() -> None:
    """The groups, and the one that is chosen. It does not tick: nothing moves under the pointer."""
    lane = lane_filter.chosen()
    failures, trend = readings.read("failures", **lane_filter.asked(lane)), readings.read("failure_trend", lane=lane)
    banners.as_of(failures)
    if not banners.healthy([failures]):
        return
    rows = failures.rows()
    if not rows:
        of_lane = f" of lane {markdown.escaped(lane)}" if lane else ""
        st.success(f"No failed file{of_lane}.", icon=":material/check_circle:")
        return
    total = sum(row["file_count"] for row in rows)
    counted = failures.counted_at
    as_of = f" Counted as of {times.moment(counted)}." if counted and _late(failures) else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"{wording.count(total, 'failed file')} in {wording.count(len(rows), 'group')}; "
            f"numbers, ids, paths and quoted values are taken out.{as_of}",
            width="content",
        )
        sources.menu(failures, trend)
    group = choose(rows, by_the_hour(trend))
    if group is None:
        st.caption("Tick a group to read it in full, to see its files and to queue them again.")
        return
    st.code(group["message"], language=None, wrap_lines=True)
    if group["place"]:
        st.caption(f"Raised at {markdown.escaped(group['place'])}.")
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"Requeue {wording.count(group['file_count'], 'file')}…"
        if permission.button(label, icon=":material/replay:", key="requeue_group", primary=True):
            ask_requeue_group(group["error"], group["file_count"], lane)
        st.page_link(
            "views/files.py",
            label="All failed files",
            query_params=fleets.asked(state="failed", **lane_filter.asked(lane)),
            icon=":material/list:",
        )
    members(group, lane)


def _late(failures: readings.Reading) -> bool:
    """Whether they were counted some time before they were read."""
    counted = failures.counted_at
    return counted is not None and (failures.taken_at - counted).total_seconds() > 1


def by_the_hour(trend: readings.Reading) -> dict[str, list[int]]:
    """The files of each group that failed in each hour of the last day, the oldest hour first."""
    counts: dict[str, list[int]] = {}
    for row in trend.rows():
        counts.setdefault(row["error"], [0] * HOURS)[HOURS - 1 - row["hours_ago"]] = row["file_count"]
    return counts


def choose(rows: list[Row], trend: dict[str, list[int]]) -> Row | None:
    """The groups as a table; returns the one that is ticked, which the address names."""
    ticked = selection.table(
        "group",
        [
            {
                "Error": readings.shown(row["message"]),
                "New": "new" if is_new(row) else "",
                "By the hour": trend.get(row["error"], [0] * HOURS),
                "1 h": row["last_hour"],
                "24 h": row["last_day"],
                "7 d": row["last_week"],
                "All": row["file_count"],
                "Since": row["earliest"],
                "Latest": row["latest"],
                "Place": readings.shown(row["place"]),
                "For example": row["example"],
            }
            for row in rows
        ],
        [row["error"] for row in rows],
        single=True,
        unticks=("tick",),
        column_config={
            "Error": st.column_config.TextColumn(width="large"),
            "By the hour": st.column_config.BarChartColumn(help="Failed in each hour of the last day", y_min=0),
            "Latest": columns.time_column(),
            "Since": columns.time_column(),
        },
        height="content",
    )
    return next((row for row in rows if row["error"] in ticked), None)


def is_new(row: Row) -> bool:
    """Whether no file that is failed still has failed like that before the last 24 hours."""
    earliest = row["earliest"]
    return earliest is not None and (datetime.now(UTC) - earliest).total_seconds() < NEW_SECONDS


def whose(rows: list[Row]) -> str:
    """Whether the files are at fault or a node, by the shares of nodes and lanes in a group's newest failures."""
    by_node = Counter(row["processing_server_id"] or "no server" for row in rows)
    by_lane = Counter(row["lane"] for row in rows if row["lane"] is not None)
    fleet = sum(row["state"] in CLAIMING for row in readings.read("nodes").rows())
    (first, most), *_ = by_node.most_common(1)
    if len(rows) < LEAST_EVIDENCE or fleet < 2:
        verdict = ""
    elif most >= MOST_SHARE * len(rows):
        run = wording.count(fleet, "node runs", "nodes run")
        verdict = f"**It may be the node**: {markdown.escaped(first)} has {most} of {len(rows)}; {run}."
    else:
        lane = next((name for name, count in by_lane.items() if count >= MOST_SHARE * len(rows)), None)
        of_lane = f" of lane {markdown.escaped(lane)}" if lane is not None else ""
        verdict = f"**It is the files**{of_lane}: they failed on {wording.count(len(by_node), 'node')}."
    lanes = f" By lane: {shares(by_lane)}." if by_lane else ""
    return f"{verdict} By node: {shares(by_node)}.{lanes}".strip()


def shares(counts: Counter[str]) -> str:
    """The largest parts, each with its count, and how many others there are."""
    largest = sorted(counts.items(), key=lambda part: (-part[1], part[0]))[:MOST_SHARES]
    told = [f"{markdown.escaped(name)} {count:,}" for name, count in largest]
    others = len(counts) - len(told)
    return ", ".join([*told, f"{wording.count(others, 'other')}"] if others else told)


def members(group: Row, lane: str) -> None:
    """The files of a group, from the time that is chosen; a tick leads to a file's story."""
    counts = {"": group["file_count"], "3600": group["last_hour"], "86400": group["last_day"]}
    counts["604800"] = group["last_week"]
    asked = st.query_params.get("within", "")
    within = st.segmented_control(
        "Failed within",
        list(WITHIN),
        format_func=lambda seconds: f"{WITHIN[seconds]} ({counts[seconds]:,})",
        default=asked if asked in WITHIN else "",
        required=True,
        key="within",
        on_change=_remember,
    )
    found = readings.read("failed_files", error=group["error"], since_seconds=within or "", lane=lane, limit=MOST_FILES)
    if not banners.healthy([found]):
        return
    rows = found.rows()
    if not rows:
        st.caption("None in this time.")
        return
    st.markdown(whose(rows))
    name = rows[0]["original_filename"] or rows[0]["id"]
    readings.in_full(rows[0]["processing_errors"], f"The traceback of {name}")
    with st.container(horizontal=True, vertical_alignment="center"):
        newest = f"The newest {MOST_FILES:,} of them." if len(rows) == MOST_FILES else ""
        st.caption(f"{newest} Tick files to read their story or to queue just these again.".strip(), width="content")
        sources.menu(found)
    lines = [
        {
            "File": readings.shown(row["original_filename"]),
            "Failed": row["processing_completed_at"],
            "Server": row["processing_server_id"] or "",
            **({"Lane": readings.shown(row["lane"])} if row["lane"] is not None else {}),
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
        column_config={"Failed": columns.time_column(), "Error": st.column_config.TextColumn(width="large")},
        height=columns.table_height(rows),
    )
    chosen = [row for row in rows if row["id"] in ticked]
    if chosen:
        lead_on(chosen)


def _remember() -> None:
    """By its seconds: the labels hold counts, which change."""
    st.query_params["within"] = st.session_state["within"] or ""


def lead_on(chosen: list[Row]) -> None:
    """From chosen files: to their stories, and back to the queue."""
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"Requeue {wording.count(len(chosen), 'ticked file')}…"
        if permission.button(label, icon=":material/replay:", key="requeue_members"):
            ask_requeue([row["id"] for row in chosen], [row["original_filename"] or row["id"] for row in chosen])
        links.files(chosen)


groups()
