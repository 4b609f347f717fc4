"""What is ticked in a table: kept by name, in the address as well, whatever becomes of the rows' order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from opskit.web.dashboard import rows

MOST = 200
"""So many ticked rows stand in the address."""


def table(
    name: str,
    lines: Sequence[Mapping[str, Any]],
    ids: Sequence[str],
    *,
    single: bool = False,
    page: str = "",
    unticks: Sequence[str] = (),
    **how: Any,
) -> list[str]:
    """A table whose rows can be ticked; returns the names of those that are.

    Args:
        name: Its parameter in the address.
        lines: What it shows; on a phone as cards.
        ids: The name of each row.
        single: One row at a time. Defaults to several.
        page: The page that a card leads to, as `?id=`. Defaults to this page with the card's row chosen.
        unticks: Tables whose ticks end with a tick here.
        how: As `st.dataframe` takes it.
    """
    wanted = set(st.query_params.get_all(name))
    chosen = [id for id in ids if id in wanted]
    # A new list is a new table: a tick never moves to another row. So is one whose ticks the address has changed, as
    # Back does: a table shows only the ticks that it was made with, and those of the mouse.
    last, turn = st.session_state.get(f"{name} last"), int(st.session_state.get(f"{name} turn", 0))
    turn += last is not None and last != chosen
    st.session_state[f"{name} last"], st.session_state[f"{name} turn"] = chosen, turn
    key = f"{name} {hash(tuple(ids))} {turn}"

    def ticked() -> None:
        # Those that this list does not show stay as they were: a filter is no untick.
        places = st.session_state[key].selection.rows
        others = [] if single else [id for id in st.query_params.get_all(name) if id not in ids]
        mine = {ids[place] for place in places if place < len(ids)}
        now = [*others, *(id for id in ids if id in mine)][:MOST]
        st.session_state[f"{name} ticked"] = True
        st.session_state[f"{name} last"] = [id for id in ids if id in now]
        st.query_params[name] = now
        for other in unticks:
            st.query_params.pop(other, None)

    addresses = [rows.address(page, id=one) if page else rows.address("", **{name: one}) for one in ids]
    rows.cards(name, lines, addresses).dataframe(
        lines,
        key=key,
        on_select=ticked,
        selection_mode="single-row" if single else "multi-row",
        selection_default={"selection": {"rows": [place for place, id in enumerate(ids) if id in wanted]}},
        hide_index=True,
        placeholder="",
        **how,
    )
    return chosen


def changed(name: str) -> bool:
    """Whether a tick was just made or taken away: a part that renews itself then has the whole page drawn."""
    return bool(st.session_state.pop(f"{name} ticked", False))
