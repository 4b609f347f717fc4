"""Ask how much of a head start files get."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from opskit import queue
from opskit.database import Database
from opskit.support import wording
from opskit.web.dashboard.dialogs.asking import Result, ask
from opskit.web.dashboard.dialogs.file_names import first


def ask_expedite(ids: Sequence[str], names: Sequence[str] = (), note: str = "") -> None:
    """Ask for how long a head start, then give it to given files."""
    hours: list[float] = []

    def show() -> str:
        st.markdown(
            f"**{wording.count(len(ids), 'file')}** would take a place in the queue as if so much older, and overtake "
            "what came within that time. Nothing starves; waits are told without it."
        )
        first(names, note)
        hours[:] = [st.number_input("Head start [hours]", min_value=0.0, max_value=8784.0, value=1.0, key="head_start")]
        return f"Expedite {wording.count(len(ids), 'file')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.expedite(db, ids, ahead_seconds=hours[0] * 3600, actor=actor, reason=reason)
        left = f", {len(ids) - len(done)} skipped because they are not queued" if len(done) < len(ids) else ""
        return Result(f"{wording.count(len(done), 'file')} moved ahead{left}.", fine=bool(done))

    ask(f"Expedite {wording.count(len(ids), 'file')}?", show, act)
