"""A node: how it stands, its lane in the timeline, its files and what happened to it."""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from opskit.database.session import Row
from opskit.queue.error_lines import last_line
from opskit.stats import figures
from opskit.support import wording
from opskit.web.dashboard import (
    banners,
    charts,
    columns,
    file_content,
    fleets,
    links,
    markdown,
    permission,
    readings,
    rows,
    sources,
    times,
)
from opskit.web.dashboard.dialogs.nodes import ask_drain, ask_forget, ask_pause, ask_resume

HOUR = 3600.0
MOST_ROWS = 2000
MOST_FILES = 50
GONE = ("dead", "stopped")


def page() -> None:
    """The node that the address names."""
    name = st.query_params.get("id", "")
    nodes, work = readings.read("nodes"), readings.read("node_work")
    banners.as_of(nodes)
    if not banners.healthy([nodes, work]):
        return
    row = next((row for row in nodes.rows() if row["server_id"] == name), None)
    if row is None:
        st.info(f"There is no node {markdown.escaped(name)}." if name else "The address names no node.")
        st.page_link("views/nodes.py", label="All nodes", icon=":material/dns:")
        return
    head(row, nodes, work)
    lane(name)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        log(name)
        files(name)
    with right:
        history(name)


def head(row: Row, nodes: readings.Reading, work: readings.Reading) -> None:
    """Its name and state, what can be done with it, and the facts."""
    name, gone = row["server_id"], row["state"] in GONE
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(markdown.escaped(name), anchor=False, width="content")
        st.badge(row["state"], color=columns.NODE_BADGES.get(row["state"], "gray"))  # type: ignore[arg-type]  # all are among the colours
        st.space("stretch")
        pause = permission.button("Pause…", icon=":material/pause:", key="pause", disabled=gone)
        resume = permission.button("Resume…", icon=":material/play_arrow:", key="resume", disabled=gone)
        drain = permission.button("Drain…", icon=":material/logout:", key="drain", disabled=gone)
        forget = permission.button("Forget…", icon=":material/delete:", key="forget", disabled=not gone)
        sources.menu(nodes, work)
    for pressed, action in (
        (pause, ask_pause), (resume, ask_resume), (drain, ask_drain), (forget, ask_forget)
    ):  # fmt: skip
        if pressed:
            action([name])
    done = next((one for one in work.rows() if one["server_id"] == name), None)
    facts = [f"on {row['host']}, process {row['pid']}, version {row['version']}"]
    facts.append(f"since {times.local(row['started_at']):%Y-%m-%d %H:%M:%S} {times.zone()}")
    if row["memory_bytes"] is not None and not gone:
        facts.append(f"memory {row['memory_bytes'] / 1e6:,.0f} MB")
    if row["lanes"]:
        facts.append(f"takes lanes {row['lanes']}")
    facts.append(f"heartbeat {wording.span(row['seconds_since_heartbeat'])} ago")
    if done:
        facts.append(f"in 1 h {done['completed']:,} done, {done['failed']:,} failed{beside(work.rows())}")
    st.caption(markdown.escaped(" · ".join(facts)))
    if row["file_id"]:
        with st.container(horizontal=True, vertical_alignment="center"):
            links.file(row["file_id"], row["original_filename"])
            st.caption(f"for {wording.span((row['minutes_processing'] or 0) * 60)}", width="content")
            if (share := columns.progress(row)) is not None:
                st.progress(share / 100, text=f"{share:.0f} %")
    if done and done["last_error"]:
        st.code(last_line(done["last_error"]), language=None, wrap_lines=True)


def beside(work: list[Row]) -> str:
    """What the nodes that have ended a file in this hour did on average; nothing where there is one alone."""
    busy = [row for row in work if row["completed"] + row["failed"]]
    if len(busy) < 2:
        return ""
    done, failed = (sum(row[key] for row in busy) / len(busy) for key in ("completed", "failed"))
    return f"; the fleet's mean {done:,.0f} done, {failed:,.1f} failed a node"


def lane(name: str) -> None:
    """What it did in the last hour, as its lane of the timeline."""
    found = readings.read("timeline", since_seconds=HOUR, until_seconds=0.0, limit=MOST_ROWS)
    if found.frame is None or isinstance(found.frame, list):
        return
    mine = found.frame[found.frame["server_id"].isin([name, "*"])]
    chart = figures.timeline(
        mine, begins=found.taken_at - timedelta(seconds=HOUR), ends=found.taken_at, zone=times.zone()
    )
    charts.dressed(chart)
    st.plotly_chart(chart, key="lane", theme=None, config={"displaylogo": False})


def files(name: str) -> None:
    """The files that it worked on last."""
    found = readings.read("files", server_id=name, limit=MOST_FILES)
    sources.heading("Files", found)
    if not banners.healthy([found]):
        return
    known = found.rows()
    if not known:
        st.caption("None yet.")
        return
    lines = [
        {
            "File": readings.shown(row["original_filename"]),
            "State": [row["processing_status"]],
            "Last event": row["last_at"],
            "Error": readings.shown(last_line(row["processing_errors"])),
            "Id": row["id"],
        }
        for row in known
    ]
    rows.cards("node-files", lines, [rows.address("file", id=row["id"]) for row in known]).dataframe(
        lines,
        column_config={"State": columns.state_column(columns.BADGES), "Last event": columns.time_column()},
        hide_index=True,
        placeholder="",
        height=columns.table_height(known),
    )
    st.page_link(
        "views/files.py", label="All its files", query_params=fleets.asked(server=name), icon=":material/list:"
    )


def history(name: str) -> None:
    """What happened to it, the newest first."""
    found = readings.read("events", server_id=name, limit=MOST_FILES)
    sources.heading("History", found)
    if not banners.healthy([found]):
        return
    known = found.rows()
    if not known:
        st.caption("Nothing yet.")
        return
    lines = [
        {
            "When": row["at"],
            "What": markdown.what_happened(row),
            "File": row["file_id"] or "",
            "Why": readings.why(row),
            "By": row["actor"] or "",
        }
        for row in known
    ]
    files_of = [rows.address("file", id=row["file_id"]) if row["file_id"] else "" for row in known]
    rows.cards("node-history", lines, files_of).dataframe(
        lines,
        column_config={"When": columns.time_column()},
        hide_index=True,
        placeholder="",
        height=columns.table_height(known),
    )


def log(name: str) -> None:
    """What its attempts have said, for those who may see it, once they ask; it goes on while the node works."""
    with st.expander("What its attempts said", icon=":material/terminal:", key="log", on_change="rerun") as opened:
        if refused := file_content.refusal():
            st.caption(refused)
        elif opened.open:
            banners.live(lambda: said(name))


def said(name: str) -> None:
    """The end of what each of its newest attempts has said, the newest first, with the way to its file."""
    found = readings.read("node_said", server_id=name, row_limit=20)
    attempts = found.rows()
    if found.error is not None or not attempts:
        st.caption("They have said nothing that is kept." if found.error is None else "The log cannot be read now.")
        return
    for row in attempts:
        with st.container(horizontal=True, vertical_alignment="center"):
            links.file(row["file_id"], row["original_filename"])
            st.caption(f"attempt {row['attempt']} · {times.moment(row['at'])}", width="content")
        st.code(readings.shown(row["text"]), language=None, wrap_lines=True)


page()
