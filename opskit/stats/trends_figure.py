"""The trends: ended a minute, failed in per cent, waits and runs, three charts over one axis of time with its marks."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go

from opskit.stats.drawing import STATE_COLORS, rows_of, safe
from opskit.stats.picture import INK
from opskit.support import wording

_CLEAR, _GRID, _EARLIER = "rgba(0, 0, 0, 0)", "rgba(128, 128, 128, 0.25)", "#9aa3b2"
_WAIT, _RUN = "#CC79A7", STATE_COLORS["processing"]
_MARKS = {"pause": "❚❚", "resume": "▶", "cleanup": "✂", "deploy": "▲", "requeue": "↻", "cancel": "✕", "breaker": "⚡"}
HEIGHT = 380
"""How high the three charts are together [px]."""
_DOMAINS = ([0.62, 1.0], [0.37, 0.55], [0.0, 0.3])


def trends(
    frame: pd.DataFrame, marks: pd.DataFrame, *, bucket_seconds: float, zone: str = "UTC", earlier: str = "yesterday"
) -> go.Figure:
    """Three charts over one axis of time; what may have changed them as lines from top to bottom.

    Args:
        frame: As `stats.trends` answers it.
        marks: As `stats.marks` answers it.
        bucket_seconds: Length of a stretch, as it was asked for [s].
        zone: Time zone of the axis, such as Europe/Berlin. Defaults to UTC.
        earlier: What `ended_before` was counted of, for the legend.
    """
    where: tzinfo = UTC if zone == "UTC" else ZoneInfo(zone)
    rows = rows_of(
        frame, "bucket_start", "ended", "failed", "ended_before", "wait_p50_seconds", "wait_p95_seconds",
        "run_p50_seconds", "run_p95_seconds",
    )  # fmt: skip
    # Plotly knows no zones: naive times of the viewer's zone.
    starts = [row[0].astimezone(where).replace(tzinfo=None) for row in rows]
    minute = 60 / bucket_seconds
    share = [100 * row[2] / row[1] if row[1] else None for row in rows]
    bar: dict[str, Any] = {"x": starts, "offset": 0, "width": [bucket_seconds * 900] * len(rows), "yaxis": "y"}
    traces = [
        go.Bar(
            name="completed", y=[(row[1] - row[2]) * minute for row in rows], marker_color=STATE_COLORS["completed"],
            hovertemplate="%{y:,.3~g} a minute completed<extra></extra>", **bar,
        ),
        go.Bar(
            name="failed", y=[row[2] * minute for row in rows], marker_color=STATE_COLORS["failed"],
            hovertemplate="%{y:,.3~g} a minute failed<extra></extra>", **bar,
        ),
        _line(earlier, starts, [row[3] * minute for row in rows], _EARLIER, "y", "%{y:,.3~g} a minute " + earlier),
        _line("failed, %", starts, share, STATE_COLORS["failed"], "y2", "%{y:.3~g} % failed", mode="lines+markers"),
        _line("wait p50", starts, [row[4] for row in rows], _WAIT, "y3", "%{y:,.3~g} s wait p50"),
        _line("wait p95", starts, [row[5] for row in rows], _WAIT, "y3", "%{y:,.3~g} s wait p95", dash="dot"),
        _line("run p50", starts, [row[6] for row in rows], _RUN, "y3", "%{y:,.3~g} s run p50"),
        _line("run p95", starts, [row[7] for row in rows], _RUN, "y3", "%{y:,.3~g} s run p95", dash="dot"),
    ]  # fmt: skip
    # A mark from before the first file would be a line alone in an empty chart.
    first_file = next((row[0] for row in rows if row[1] or row[3]), None)
    told = rows_of(marks, "at", "kind", "server_id", "what", "file_count", "actor", "reason")
    told = [row for row in told if first_file is not None and row[0] >= first_file]
    moments = [row[0].astimezone(where).replace(tzinfo=None) for row in told]
    traces.append(
        go.Scatter(
            name="marks",
            mode="text",
            x=moments,
            y=[1.0] * len(told),
            yaxis="y4",
            showlegend=False,
            text=[_MARKS.get(row[1], "◆") for row in told],
            textfont={"size": 12, "color": INK},
            textposition="bottom center",
            hovertext=[safe(in_words(*row[1:])) for row in told],
            hoverinfo="text+x",
        )
    )
    figure = go.Figure(data=traces)
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID, "rangemode": "tozero", "nticks": 4}
    first, last, middle = _DOMAINS[0], _DOMAINS[2], _DOMAINS[1]
    figure.update_layout(
        template="none", height=HEIGHT, barmode="stack", hovermode="x unified", paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR, font={"color": INK}, margin={"l": 62, "r": 10, "t": 10, "b": 30},
        legend={"orientation": "h", "yanchor": "top", "y": -0.1, "x": 0, "traceorder": "normal"},
        xaxis={
            "type": "date", "anchor": "y3", "gridcolor": _GRID, "linecolor": _GRID,
            **({"range": [starts[0], starts[-1] + pd.Timedelta(seconds=bucket_seconds)]} if starts else {}),
        },
        yaxis=axis | {"domain": first, "title": {"text": "a minute"}},
        yaxis2=axis | {"domain": middle, "title": {"text": "failed, %"}},
        yaxis3=axis | {"domain": last, "title": {"text": "s"}},
        yaxis4={"domain": [0.0, 1.0], "range": [0.0, 1.02], "overlaying": "y", "visible": False, "fixedrange": True},
        shapes=[
            {"type": "line", "x0": at, "x1": at, "xref": "x", "yref": "paper", "y0": 0, "y1": 1,
             "line": {"color": _EARLIER, "width": 1, "dash": "dot"}}
            for at in moments
        ],
        uirevision="trends",
    )  # fmt: skip
    return figure


def in_words(
    kind: str, server_id: str | None, what: str | None, file_count: int | None, actor: str | None, reason: str | None
) -> str:
    """A mark in words."""
    whom = "" if server_id is None else " all nodes" if server_id == "*" else f" {server_id}"
    if kind == "deploy":
        return f"version {what} started, first on{whom}"
    done = {
        "cleanup": "cleaned up",
        "requeue": "requeued",
        "cancel": "cancelled",
        "pause": "paused",
        "resume": "resumed",
    }
    said = f"{done.get(kind, kind)}{whom}" + (f" ({what})" if what and kind not in done else "")
    if file_count is not None:
        said = f"{wording.count(file_count, 'file')} {done.get(kind, kind)}"
    return said + (f" by {actor}" if actor else "") + (f": {reason}" if reason else "")


def _line(
    name: str,
    x: list[Any],
    y: list[Any],
    color: str,
    axis: str,
    hover: str,
    *,
    dash: str = "solid",
    mode: str = "lines",
) -> go.Scatter:
    # A line needs two points beside each other: one that is alone is a dot.
    size: int | list[int] = 3
    around = [None, *y, None]
    alone = [around[place] is None and around[place + 2] is None for place in range(len(y))]
    if mode == "lines" and any(dot and value is not None for dot, value in zip(alone, y, strict=True)):
        mode, size = "lines+markers", [6 if dot else 0 for dot in alone]
    return go.Scatter(
        name=name, mode=mode, x=x, y=y, yaxis=axis, line={"color": color, "width": 1.6, "dash": dash},
        marker={"size": size}, hovertemplate=hover + "<extra></extra>",
    )  # fmt: skip
