"""The files that a dialog asks about, by name."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from opskit.web.dashboard import markdown


def first(names: Sequence[str], note: str = "") -> None:
    """The first of the files that are meant, how many more there are, and what else is to be said of them."""
    for name in names[:20]:
        st.markdown(f"- {markdown.escaped(name)}")
    if len(names) > 20:
        st.caption(f"and {len(names) - 20:,} more")
    if note:
        st.warning(note)
