"""Suggestions for a search: what may follow, by what is typed so far; a press adds it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from opskit.queue.states import FileState
from opskit.web.dashboard import markdown

MOST = 8
SINCE = ("1h", "24h", "7d")


def offered(text: str, servers: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The words that may follow.

    Args:
        text: What is typed so far.
        servers: The nodes that have files.
        columns: The application's columns that may be named.

    Returns:
        Whole words, at most eight: with a value where the name is typed, else the names that are not used yet.
    """
    words = text.split()
    last = words[-1] if words and not text.endswith(" ") else ""
    values = {"state": tuple(FileState), "node": tuple(name for name in servers if " " not in name), "since": SINCE}
    name, colon, begun = last.partition(":")
    if colon and name in values:
        return [f"{name}:{value}" for value in values[name] if value.startswith(begun) and value != begun][:MOST]
    used = {word.partition(":")[0] for word in words if ":" in word}
    names = [one for one in (*values, *columns) if one not in used]
    fitting = [one for one in names if last and one.startswith(last)] or names
    return [f"{one}:" for one in fitting][:MOST]


def added(text: str, word: str) -> str:
    """The search with a suggestion in it: what was begun is finished, else it comes last."""
    words = text.split()
    if words and not text.endswith(" ") and word.startswith(words[-1]):
        words.pop()
    return " ".join([*words, word])


def buttons(field: str, servers: Sequence[str], columns: Sequence[str]) -> None:
    """Draw the suggestions below a field, whose key is *field*."""
    text = st.session_state.get(field) or ""
    words = offered(text, servers, columns)
    if not words:
        return

    def press() -> None:
        if word := st.session_state.get("suggested"):
            st.session_state[field] = added(text, word)
            st.session_state["suggested"] = None

    st.pills(
        "Add to the search", words, format_func=markdown.label, key="suggested", on_change=press,
        label_visibility="collapsed",
    )  # fmt: skip
