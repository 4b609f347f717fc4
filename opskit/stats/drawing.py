"""What the figures share: colours, bars from left to right, names of others made safe.

Every state has its trace in every figure, also without bars, so that colours and legend never change.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd

from opskit.queue.states import FileState
from opskit.stats.picture import INK, Figure
from opskit.support import wording
from opskit.support.visible import directions_shown

STATE_COLORS: dict[str, str] = {
    FileState.QUEUED: "#808080",
    FileState.PROCESSING: "#0072B2",
    FileState.COMPLETED: "#009E73",
    FileState.FAILED: "#D55E00",
}
"""Colour of each state: Okabe and Ito's palette for the colour-blind, each 3:1 or better on white and on black."""
_GRID = "rgba(128, 128, 128, 0.25)"
_CLEAR = "rgba(0, 0, 0, 0)"
_BAR, _FRAME = 30, 150  # px


def safe(text: str) -> str:
    """Text of others for a figure: never markup, and no mark that turns the reading direction round."""
    return html.escape(directions_shown(text), quote=False)


def horizontal_bars(bars: list[Any], title: str, names: Sequence[str], unit: str, *, nothing: str) -> Figure:
    """A figure of lying bars with *names* from top to bottom."""
    apart = wording.told_apart(names)
    figure = empty_figure(bars, title, _FRAME + _BAR * max(len(names), 2), "" if names else nothing)
    figure.update_xaxes(title={"text": unit}, rangemode="tozero", tickformat=",d")
    figure.update_yaxes(
        autorange="reversed",
        showgrid=False,
        zeroline=False,
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=[safe(apart[name]) for name in names],
    )
    return figure


def empty_figure(bars: list[Any], title: str, height: int, nothing: str) -> Figure:
    """A figure of bars with axes and title; *nothing* stands in it when there are none."""
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID, "automargin": True}
    figure = Figure(
        data=bars,
        layout={
            "template": "none",
            "title": {"text": title, "x": 0, "xref": "container", "pad": {"l": 10}},
            "barmode": "stack",
            "height": height,
            "margin": {"l": 10, "r": 10, "t": 60, "b": 40},
            "paper_bgcolor": _CLEAR,
            "plot_bgcolor": _CLEAR,
            "font": {"color": INK},
            "modebar": {"bgcolor": _CLEAR, "color": INK, "activecolor": STATE_COLORS["processing"]},
            "legend": {
                "orientation": "h",
                "yanchor": "bottom",
                "y": 1.0,
                "xanchor": "right",
                "x": 1.0,
                "traceorder": "normal",
            },
            "xaxis": axis,
            "yaxis": axis,
            "uirevision": title,  # zoom and hidden states outlive a tick
        },
    )
    if nothing and not any(len(bar.x or ()) for bar in bars):
        figure.add_annotation(text=nothing, showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)
        figure.update_layout(xaxis_visible=False, yaxis_visible=False)
    return figure


def rows_of(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """The rows of some columns, with None for what is missing."""
    values = frame[list(columns)].itertuples(index=False, name=None)
    return [tuple(None if pd.isna(value) else value for value in row) for row in values]
