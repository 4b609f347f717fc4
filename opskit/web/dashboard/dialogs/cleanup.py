"""Ask before stale claims and orphans are ended: what a cleanup would end, with the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from opskit import queue
from opskit.database import Database
from opskit.database.session import Row
from opskit.queue import reaper
from opskit.support import wording
from opskit.web.dashboard import readings
from opskit.web.dashboard.dialogs import meanwhile
from opskit.web.dashboard.dialogs.asking import Result, ask

VERDICTS = {
    "stale": "stale: no known node holds it",
    "hung": "hung: two looks saw no progress",
    "dead": "dead: its node's lease ran out, seen twice",
    "rebooted": "its node has started again since",
    "silent": "silent: lease ran out, second look needed",
    "stuck": "stuck: no progress, second look needed",
}


def ask_cleanup(chosen: Sequence[Row] | None = None) -> None:
    """Show what a cleanup would end, with the evidence; ask, then end exactly that.

    Args:
        chosen: The claims that an operator has approved, as `reaper.preview` answers them. Defaults to all it finds.
    """
    found: list[Row] = []
    looked: list[bool] = []

    def show() -> str:
        # Opening counts as the first of the two looks; drawing it again must not.
        found[:] = queue.preview(readings.database(), look=not looked) if chosen is None else chosen
        looked.append(True)
        if not found:
            st.success("No stale processing locks found: every claim has a live node that makes progress.")
            return ""
        fail = sum(row["would_become"] == "failed" for row in found)
        unsure = sum(row["verdict"] in ("silent", "stuck") for row in found)
        st.markdown(
            f"**{wording.count(len(found), 'claim')}** to end: {fail} would fail, "
            f"{len(found) - fail} would go back to the queue. "
            + (f"To be confirmed by a second look, two seconds from now: {unsure}. " if unsure else "")
            + "Each is judged anew; one that has moved on is left alone."
        )
        evidence(found)
        return f"End {wording.count(len(found), 'claim')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.cleanup(db, claims=[row["claim"] for row in found], actor=actor, reason=reason)
        return _cleaned(done, found, meanwhile.enders(db, found, done.skipped))

    ask("Clean up stale processing locks", show, act)


def _cleaned(done: reaper.Cleanup, found: Sequence[Row], why: Mapping[str, str]) -> Result:
    failed = tuple(str(row["id"]) for row in done.ended if row["outcome"] == "failed")
    sentence = (
        f"{len(done.ended)} ended, {len(done.pending)} pending a second look, "
        f"{len(done.skipped)} skipped because they moved."
    )
    if done.pending:
        sentence += " Clean up again in two seconds for the pending ones."
    became = {row["claim"]: (row["outcome"], row["reason"]) for row in (*done.ended, *done.pending)}
    lines = [
        {
            "File": readings.shown(row["original_filename"] or row["id"]),
            "Server": row["processing_server_id"] or "",
            "Became": became.get(row["claim"], ("skipped", ""))[0],
            "Why": became[row["claim"]][1] if row["claim"] in became else why.get(row["claim"], ""),
        }
        for row in found
    ]
    return Result(sentence, fine=bool(became), requeue=failed, lines=tuple(lines))


def evidence(found: Sequence[dict[str, Any]]) -> None:
    """Every claim in question, and why."""
    st.dataframe(
        [
            {
                "File": readings.shown(row["original_filename"]),
                "Server": row["processing_server_id"],
                "Verdict": VERDICTS.get(row["verdict"], row["verdict"]),
                "Becomes": row["would_become"],
                "Held for": wording.span((row["minutes_processing"] or 0) * 60),
                "No progress for": wording.span((row["minutes_without_progress"] or 0) * 60),
                "Last heartbeat": "none known"
                if row["seconds_since_heartbeat"] is None
                else wording.span(row["seconds_since_heartbeat"]) + " ago",
                "Bad attempts": row["processing_failures"],
            }
            for row in found
        ],
        hide_index=True,
    )
