"""The files that a dialog asks about, by name."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from opskit.web.dashboard import markdown


def first(names: Sequence[str]) -> None:
    """The first of the files that are meant, and how many more there are."""
    for name in names[:20]:
        st.markdown(f"- {markdown.escaped(name)}")
    if len(names) > 20:
        st.caption(f"and {len(names) - 20:,} more")
