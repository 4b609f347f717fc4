"""Ask before an act is undone."""

from __future__ import annotations

import streamlit as st

from opskit import queue
from opskit.database import Database
from opskit.support import wording
from opskit.web.dashboard import markdown, readings
from opskit.web.dashboard.dialogs.asking import Result, ask
from opskit.web.dashboard.dialogs.file_names import first


def ask_undo(act: int) -> None:
    """Ask, then undo an act: exactly what stands so still, counted anew when it is confirmed."""

    def show() -> str:
        would = queue.preview_undo(readings.database(), act)
        st.markdown(markdown.escaped(readings.capital(would.message)) + ".")
        first([row["original_filename"] or row["id"] for row in would.files])
        if not would:
            return ""
        return "Resume" if would.how == "resume" else f"Requeue {wording.count(len(would.files), 'file')}"

    def act_(db: Database, actor: str, reason: str) -> Result:
        done = queue.undo(db, act, actor=actor, reason=reason)
        return Result(f"{readings.capital(done.message)}.", fine=bool(done))

    ask("Undo this act?", show, act_)
