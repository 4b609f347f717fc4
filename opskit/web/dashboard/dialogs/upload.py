"""Ask for files from the operator's own machine, to be queued."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from opskit import queue
from opskit.database import Database
from opskit.support import wording
from opskit.web.dashboard import uploads
from opskit.web.dashboard.dialogs.asking import Result, ask
from opskit.web.dashboard.permission import allow

UPLOAD_BYTES = 1 << 30
"""Most bytes of one file; Streamlit's own limit (server.maxUploadSize) is the same."""


def ask_upload() -> None:
    """Ask for files of the operator's own machine, then queue them."""
    chosen: list[UploadedFile] = []

    def show() -> str:
        allow()  # a dialog that was opened an hour ago is no right
        uploads.allow_here()
        chosen[:] = st.file_uploader("Files", accept_multiple_files=True, key="upload")
        return f"Queue {wording.count(len(chosen), 'file')}" if chosen else ""

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.upload(db, [(file.name, file) for file in chosen], limit_bytes=UPLOAD_BYTES)
        uploads.refuse_here()
        queued = sum(file["id"] is not None for file in done)
        known = (
            f", {len(done) - queued} left out because the same bytes are there already" if queued < len(done) else ""
        )
        return Result(f"{wording.count(queued, 'file')} queued{known}.")

    ask("Upload files", show, act, recorded=False)
