"""History: who did what, one row an act; the events behind it, the row as it was before, and the way back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import streamlit as st

from opskit.database.session import Row
from opskit.support import wording
from opskit.web.dashboard import banners, columns, links, markdown, permission, readings, selection, sources, times
from opskit.web.dashboard.dialogs.undo import ask_undo

MOST_ACTS = 200
MOST = 1000
MOST_MEMBERS = 200
KINDS = {
    "": "Acts of people",
    "acts": "All acts",
    "events": "Events",
    "attempt": "Attempts",
    "boot": "Starts",
    "stop": "Stops",
    "breaker": "Breaker",
}
ACTS = ("", "acts")


def page() -> None:
    """What was done, or the events of a kind."""
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
    if kind in ACTS:
        acts(everyone=kind == "acts")
    else:
        events("" if kind == "events" else str(kind))


def acts(*, everyone: bool) -> None:
    """One row an act, however many files it changed; the chosen one unfolds below."""
    found = readings.read("acts", limit=MOST_ACTS)
    banners.as_of(found)
    if not banners.healthy([found]):
        return
    rows = [row for row in found.rows() if everyone or not row["by_node"]]
    if not rows:
        st.caption("Nobody has done anything yet.")
        return
    chosen = selection.table(
        "act",
        [
            {
                "When": row["at"],
                "Who": row["actor"] or "",
                "What": what_was_done(row),
                "Files": readings.shown(row["files"] or ""),
                "Why": readings.shown(row["reason"] or ""),
                "Undo": row["undo"] or "",
            }
            for row in rows
        ],
        [str(row["act"]) for row in rows],
        single=True,
        column_config={
            "When": columns.time_column(),
            "What": st.column_config.TextColumn(width="medium"),
            "Files": st.column_config.TextColumn(width="large"),
            "Why": st.column_config.TextColumn(width="medium"),
            "Undo": st.column_config.TextColumn(width="small", help="What would undo it, where that is safe"),
        },
        height=columns.table_height(rows),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        newest = f"The newest {MOST_ACTS:,} acts. " if len(found.rows()) == MOST_ACTS else ""
        st.caption(f"{newest}Tick an act to see its files and to undo it.", width="content")
        sources.menu(found)
    act = next((row for row in rows if str(row["act"]) in chosen), None)
    if act is not None:
        unfolded(act)


def what_was_done(act: Mapping[str, Any]) -> str:
    """An act in words: "requeued 200 files", "paused all nodes"."""
    files = wording.count(act["file_count"], "file")
    who = (act["server_ids"] or "").replace("*", "all nodes")
    about = {
        "requeue": f"requeued {files}",
        "cancel": f"cancelled {files}",
        "expedite": f"gave {files} a head start",
        "cleanup": f"cleaned up {wording.count(act['file_count'], 'claim')}",
        "pause": f"paused {who}",
        "resume": f"resumed {who}",
        "state": f"{(act['changed'] or '').partition(' ')[2]}: {who}",
        "adopt": "adopted rows from before",
        "migrate": "migrated the table",
        "forget": f"forgot {who}",
    }
    return readings.shown(about.get(act["kind"], act["kind"])) or ""


def unfolded(act: Row) -> None:
    """The act in full: what changed, its events, and the button that undoes it."""
    members = readings.read("act", act=act["act"])
    if not banners.healthy([members]):
        return
    rows = members.rows()
    left = sum(row["undo"] is not None for row in rows)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(
            markdown.escaped(f"{act['actor'] or 'somebody'} {what_was_done(act)}"), anchor=False, width="content"
        )
        sources.menu(members)
        st.space("stretch")
        label = "Resume…" if act["kind"] == "pause" else f"Requeue {wording.count(left, 'file')}…"
        undone = act["undo"] and permission.button(
            f"Undo: {label}", icon=":material/undo:", key="undo", primary=True, disabled=not left
        )
    if undone:
        ask_undo(act["act"])
    changed = (act["changed"] or "").replace("->", "→")
    facts = [changed, f"since {times.moment(act['at'])}" if act["event_count"] > 1 else ""]
    if act["kind"] in ("cleanup", "cancel", "pause") and not left:
        facts.append("nothing of it is left to undo")
    st.caption(markdown.escaped(" · ".join(filter(None, facts))))
    names = {row["id"]: row["original_filename"] for row in named(rows)}
    shown = rows[:MOST_MEMBERS]
    chosen = selection.table(
        "event",
        [
            {
                "File": readings.shown(names.get(row["file_id"]) or row["file_id"] or ""),
                "Server": (row["server_id"] or "").replace("*", "all"),
                "Was": row["outcome"] or "",
                "Became": row["next_status"] or "",
                "Attempt": row["attempt"],
                "When": row["at"],
                "Event": str(row["id"]),
            }
            for row in shown
        ],
        [str(row["id"]) for row in shown],
        single=True,
        column_config={"When": columns.time_column(), "File": st.column_config.TextColumn(width="large")},
        height=columns.table_height(shown),
    )
    if len(rows) > MOST_MEMBERS:
        st.caption(f"The last {MOST_MEMBERS:,} of {len(rows):,}.")
    for event_id in chosen:
        in_full(int(event_id), names)


def named(rows: list[Row]) -> list[Row]:
    """The names of an act's files, as many as are shown."""
    ids = sorted({row["file_id"] for row in rows[:MOST_MEMBERS] if row["file_id"]})
    return readings.read("filenames", ids=tuple(ids)).rows() if ids else []


def events(kind: str) -> None:
    """The newest events of a kind, each by itself."""
    found = readings.read("events", kind=kind, limit=MOST)
    banners.as_of(found)
    if not banners.healthy([found]):
        return
    rows = found.rows()
    if not rows:
        st.caption("Nothing yet.")
        return
    if len(rows) == MOST:
        st.caption(f"The newest {MOST:,} events.")
    names = {row["id"]: row["original_filename"] for row in named(rows)}
    chosen = selection.table(
        "event",
        [
            {
                "When": row["at"],
                "Who": row["actor"] or "",
                "What": markdown.what_happened(row),
                "Server": (row["server_id"] or "").replace("*", "all"),
                "File": readings.shown(names.get(row["file_id"]) or row["file_id"] or ""),
                "Attempt": row["attempt"],
                "Why": readings.why(row),
            }
            for row in rows
        ],
        [str(row["id"]) for row in rows],
        single=True,
        column_config={"When": columns.time_column(), "Why": st.column_config.TextColumn(width="large")},
        height=columns.table_height(rows),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Tick an event to read it in full, with the row as it was before.", width="content")
        sources.menu(found)
    for event_id in chosen:
        in_full(int(event_id), names)


def in_full(event_id: int, names: Mapping[str, str | None]) -> None:
    """One event with everything that was written down, and the row as it was before."""
    found = readings.read("event", event_id=event_id)
    if not banners.healthy([found]):
        return
    for read in found.rows():
        event = dict(read)
        before = event.pop("details") or {}
        sources.heading(f"Event {event['id']}: {markdown.escaped(markdown.what_happened(event))}", found)
        left, right = st.columns(2, gap="medium")
        with left:
            st.caption("What was written down")
            facts(event)
        with right:
            st.caption("The row as it was before" if "processing_status" in before else "Further details")
            if before:
                facts(before)
            else:
                st.markdown("Nothing more was written down.")
        if event["file_id"]:
            links.file(event["file_id"], names.get(event["file_id"]))


def facts(values: Mapping[str, object]) -> None:
    """Names and values as two columns without a heading."""
    st.table(
        [{"Name": name, "Value": _shown(value)} for name, value in values.items() if value is not None],
        border="horizontal",
        hide_index=True,
        hide_header=True,
    )


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return f"{times.local(value):%Y-%m-%d %H:%M:%S} {times.zone()}"
    return markdown.escaped(json.dumps(value, default=str) if isinstance(value, (dict, list)) else value)


page()
