"""Ask before files are cancelled."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from opskit import queue
from opskit.database import Database
from opskit.support import wording
from opskit.web.dashboard import readings
from opskit.web.dashboard.dialogs.asking import Result, ask
from opskit.web.dashboard.dialogs.file_names import first


def ask_cancel(ids: Sequence[str], names: Sequence[str] = (), note: str = "") -> None:
    """Ask, then cancel given files."""

    def show() -> str:
        st.markdown(
            f"**{wording.count(len(ids), 'file')}** would fail at once, and nothing tries them again by itself. "
            "The processor of a running one is killed. A file that has ended by then is left alone."
        )
        first(names, note)
        return f"Cancel {wording.count(len(ids), 'file')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.cancel(db, ids, actor=actor, reason=reason)
        skipped = f", {len(done.skipped)} skipped because they moved" if done.skipped else ""
        lines = [
            {
                "File": readings.shown(row["original_filename"] or row["id"]),
                "Became": row["outcome"],
                "Why": row["reason"] or "",
            }
            for row in (*done.ended, *done.asked, *done.kept)
        ]
        return Result(f"{done.message}{skipped}.", fine=bool(done.ended or done.asked), lines=tuple(lines))

    ask(f"Cancel {wording.count(len(ids), 'file')}?", show, act)
