"""What is in a file, for those who may see it: a bounded look, and the whole file to be downloaded."""

from __future__ import annotations

import base64
from datetime import datetime
from pathlib import PurePath

import streamlit as st

from opskit.database.session import Row
from opskit.errors import ForbiddenError, OpskitError
from opskit.files import preview as looking
from opskit.files.stored_file import kept
from opskit.queue import row_content
from opskit.web.dashboard import permission, readings, sign_in

DOWNLOAD_BYTES = 100 << 20
"""The largest file that the page hands out: it is in memory meanwhile."""


def refusal() -> str | None:
    """Why whoever looks at this page may not see what is in a file; None when they may."""
    if readings.settings().viewers_see_files and sign_in.role() is not None:
        return None
    try:
        permission.allow_seeing()
    except ForbiddenError:
        return "Only operators see what is in a file; OPSKIT_VIEWERS_SEE_FILES=1 shows it to others."
    return None


@st.cache_resource(ttl=60, show_spinner=False, max_entries=20)
def _preview(file_id: str, ended: datetime | None) -> looking.Preview:
    row = row_content.file(readings.database(), file_id)
    if row is None:
        return looking.Preview(kind="missing", why_not="the file is not there any more")
    return looking.preview(
        kept(
            readings.settings(),
            row,
            lambda: row_content.content(readings.database(), file_id, most_bytes=looking.WHOLE_BYTES + 1),
        )
    )


def preview(file: Row) -> looking.Preview:
    """The beginning of a file, read once a minute for all who look."""
    return _preview(file["id"], file["processing_completed_at"])


def picture(found: looking.Preview) -> str:
    """A picture as the browser draws it: by its bytes alone, from nowhere else."""
    data = base64.b64encode(found.picture).decode()
    how = 'alt="The picture in the file" style="max-width: 100%; max-height: 480px"'
    return f'<img {how} src="data:{found.mime};base64,{data}">'


def download(file: Row) -> None:
    """The button that hands out the whole file."""
    refused = refusal()
    size = file["file_size"] or 0
    if size > DOWNLOAD_BYTES:
        refused = f"The page hands out files up to {DOWNLOAD_BYTES >> 20} MB."
    name = PurePath(file["original_filename"] or f"file-{file['id']}").name

    def whole() -> bytes:
        if reason := refusal():
            raise OpskitError(reason)
        row = row_content.file(readings.database(), file["id"])
        if row is None:
            raise OpskitError("the file is not there any more")
        with kept(
            readings.settings(), row, lambda: row_content.content(readings.database(), file["id"])
        ).open() as stream:
            data = stream.read(DOWNLOAD_BYTES + 1)
        if len(data) > DOWNLOAD_BYTES:
            raise OpskitError(f"the page hands out files up to {DOWNLOAD_BYTES >> 20} MB")
        return data

    st.download_button(
        "Download", whole, name, "application/octet-stream", key="download_file", on_click="ignore",
        icon=":material/download:", disabled=refused is not None, help=refused,
    )  # fmt: skip
