"""Ask before failed files are queued again: given ones, or all of one error."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from opskit import queue
from opskit.database import Database
from opskit.support import wording
from opskit.web.dashboard import markdown
from opskit.web.dashboard.dialogs import meanwhile
from opskit.web.dashboard.dialogs.asking import Result, ask
from opskit.web.dashboard.dialogs.file_names import first


def ask_requeue(ids: Sequence[str], names: Sequence[str] = (), note: str = "") -> None:
    """Ask, then queue given files again."""

    def show() -> str:
        st.markdown(
            f"**{wording.count(len(ids), 'file')}** would go back to the queue with a fresh retry budget. "
            "A file that is running or queued by then is left alone."
        )
        first(names, note)
        return f"Requeue {wording.count(len(ids), 'file')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.requeue(db, ids, actor=actor, reason=reason)
        return _requeued(len(done), len(ids) - len(done))

    ask(f"Requeue {wording.count(len(ids), 'file')}?", show, act)


def ask_requeue_group(error: str, file_count: int, lane: str = "") -> None:
    """Ask, then queue every failed file of one error again; of one lane alone where it is named."""
    of_lane = f" of lane {markdown.escaped(lane)}" if lane else ""

    def show() -> str:
        st.markdown(
            f"**{wording.count(file_count, 'failed file')}** with this error{of_lane} would go back to the queue:"
        )
        st.code(error, language=None, wrap_lines=True)
        return f"Requeue {wording.count(file_count, 'file')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.requeue(db, failed=True, error=error, lane=lane, actor=actor, reason=reason)
        return _requeued(len(done)) if done else Result(f"0 files requeued: {meanwhile.last_requeue(db)}.", fine=False)

    ask(f"Requeue {wording.count(file_count, 'file')}?", show, act)


def _requeued(done: int, skipped: int = 0) -> Result:
    left = f", {skipped} skipped because they moved" if skipped else ""
    return Result(f"{wording.count(done, 'file')} requeued{left}.", fine=done > 0 or not skipped)
