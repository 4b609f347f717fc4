"""The ways from one page to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from opskit.web.dashboard import fleets, markdown

MOST = 5
"""So many files get a link each."""


def file(file_id: str, name: str | None) -> None:
    """The way to a file's own page."""
    label = markdown.escaped(name or file_id)
    st.page_link("views/file.py", label=label, query_params=fleets.asked(id=file_id), icon=":material/draft:")


def files(rows: Sequence[Mapping[str, Any]]) -> None:
    """The ways to some files' pages."""
    for row in rows[:MOST]:
        file(row["id"], row["original_filename"])


def node(server_id: str) -> None:
    """The way to a node's own page."""
    label = markdown.escaped(server_id)
    st.page_link("views/node.py", label=label, query_params=fleets.asked(id=server_id), icon=":material/dns:")
