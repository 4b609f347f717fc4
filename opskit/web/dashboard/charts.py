"""Charts in the page's own letters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from opskit.support import wording
from opskit.support.visible import directions_shown

if TYPE_CHECKING:
    import plotly.graph_objects as go

LONGEST_LABEL = 26


def dressed(chart: go.Figure) -> str:
    """Give a figure the page's letters; answers its title, which on a phone stands beside it."""
    title = str(chart.layout.title.text)
    chart.update_layout(title=None, margin_t=10)
    inked(chart)
    return title


def inked(chart: go.Figure) -> None:
    """Give a figure the page's letters and its ink."""
    # A figure's grey is readable on any ground; of the page's ground the browser tells which it is.
    ink = "#c9ced8" if st.context.theme.type == "dark" else "#4a5160"
    chart.update_layout(font={"family": '"Source Sans", sans-serif', "color": ink})


def spread(counts: Mapping[str, Mapping[str, int]], colors: Mapping[str, str]) -> None:
    """Lying bars, one a name, stacked by state; a long name loses its middle, and is whole where one points at it.

    Args:
        counts: Files of each name by state, from top to bottom.
        colors: Each state's colour, in the order of the stack.
    """
    names = {name: directions_shown(name) for name in counts}
    apart = wording.told_apart(names.values(), LONGEST_LABEL)
    label = f"({json.dumps(apart)})[datum.label]" if any(short != name for name, short in apart.items()) else ""
    st.vega_lite_chart(
        _stacked(counts, names, list(colors)),
        {
            "mark": "bar",
            "height": spread_height(len(counts)),
            "encoding": {
                "y": {
                    "field": "server", "type": "nominal", "title": "", "sort": None,
                    "axis": {"labelLimit": 0, **({"labelExpr": label} if label else {})},
                },
                "x": {
                    "field": "files", "type": "quantitative", "title": "",
                    "axis": {"format": ",d", "tickCount": 5, "tickMinStep": 1, "labelFlush": False},
                },
                "color": {
                    "field": "state", "type": "nominal", "title": "",
                    "scale": {"domain": list(colors), "range": list(colors.values())}, "legend": {"orient": "bottom"},
                },
                "order": {"field": "place"},
                "tooltip": [
                    {"field": "server", "title": "server"}, {"field": "state", "title": "state"},
                    {"field": "files", "title": "files", "format": ",d"},
                ],
            },
        },
    )  # fmt: skip


def spread_height(names: int) -> int:
    """How high the bars of so many names are [px]."""
    return max(160, 60 + 34 * names)


def place(height: int) -> None:
    """The place of a chart that is drawn once the page stands, as high as that [px]: nothing below it moves."""
    st.html(f'<div style="height: {height}px"></div>')


def _stacked(
    counts: Mapping[str, Mapping[str, int]], names: Mapping[str, str], states: Sequence[str]
) -> list[dict[str, object]]:
    return [
        {"server": names[name], "state": state, "files": by_state[state], "place": place}
        for name, by_state in counts.items()
        for place, state in enumerate(states)
    ]
