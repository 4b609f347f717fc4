"""The charts: frames in, plotly figures out; the same on the page and in notebooks.

`graph_objects` only: `plotly.express` costs eight times as much a figure. Bars stand at numbered places with
their names as tick labels, so that two files of one name do not become one bar and an ID like "2024" is no date.
Every state has its trace in every figure, also without bars, so that colours and legend never change.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go

from opskit.visible import directions_shown

STATE_COLORS = {"queued": "#808080", "processing": "#0072B2", "completed": "#009E73", "failed": "#D55E00"}
"""Colour of each state: Okabe and Ito's palette for the colour-blind, each 3:1 or better on white and on black."""

OVERLAP = "overlap"
BAR_COLORS = {
    "completed": STATE_COLORS["completed"],
    "processing": STATE_COLORS["processing"],
    "failed": STATE_COLORS["failed"],
    "tried again": "#A67C00",
    "given back": STATE_COLORS["queued"],
    OVERLAP: "#E8112D",
}
"""Colour of each kind of bar on the timeline; an overlap is what must never be, and alone is red."""
MARKS = {
    "started": "triangle-right",
    "stopped": "square",
    "cleanup": "x",
    "paused": "line-ns",
    "resumed": "triangle-up",
    "other": "diamond",
}
"""Symbol of each kind of mark on the timeline."""

NO_SERVER = "(none yet)"
_INK = "#777777"  # text and axes: as readable on white as on black
_GRID = "rgba(128, 128, 128, 0.25)"
_CLEAR = "rgba(0, 0, 0, 0)"
_LONGEST_NAME = 40
_LANES = 60
_LEAST_BAR = 1.0  # px: a bar of a millisecond is seen, too
_BAR, _FRAME = 30, 150  # px
_NODE_COLORS = {"dead": STATE_COLORS["failed"], "stopped": STATE_COLORS["queued"]}


def distribution(frame: pd.DataFrame) -> go.Figure:
    """How many files each server has in each state, as stacked bars.

    Args:
        frame: As `stats.distribution` answers it.
    """
    servers = _servers(frame["processing_server_id"])
    counts = {
        (_server(server), state): int(count)
        for server, state, count in _rows(frame, "processing_server_id", "processing_status", "file_count")
    }
    bars = [
        go.Bar(
            name=state,
            orientation="h",
            y=list(range(len(servers))),
            x=[counts.get((server, state), 0) for server in servers],
            customdata=[_safe(server) for server in servers],
            hovertemplate="%{customdata}<br>%{x:,d} files " + state + "<extra></extra>",
            marker={"color": color},
        )
        for state, color in STATE_COLORS.items()
    ]
    return _lying(bars, "Files by server and state [files]", servers, "files", nothing="no files yet")


def throughput(frame: pd.DataFrame, *, bucket_seconds: float = 3600) -> go.Figure:
    """How many files ended in each stretch of time, completed and failed, all servers together.

    Args:
        frame: As `stats.throughput` answers it.
        bucket_seconds: Length of a stretch, as it was asked for [s]. Defaults to an hour.
    """
    counts = frame.groupby(["processing_status", "bucket_start"])["file_count"].sum()
    width = bucket_seconds * 1000
    bars = []
    for state in ("completed", "failed"):
        ours = counts[counts.index.get_level_values(0) == state]
        # Plotly knows no zones: naive, so that every browser shows UTC as the axis says.
        starts = [start.tz_localize(None).to_pydatetime() for start in ours.index.get_level_values(1)]
        bars.append(
            go.Bar(
                name=state,
                x=starts,
                y=[int(count) for count in ours],
                offset=0,
                width=[width * 0.95] * len(starts),
                hovertemplate="from %{x}<br>%{y:,d} files " + state + "<extra></extra>",
                marker={"color": STATE_COLORS[state]},
            )
        )
    figure = _figure(bars, f"Files ended [files per {_length(bucket_seconds)}]", 320, "nothing has ended in this time")
    figure.update_xaxes(title={"text": "time [UTC]"}, type="date")
    figure.update_yaxes(title={"text": "files"}, rangemode="tozero", tickformat=",d")
    return figure


def nodes(frame: pd.DataFrame) -> go.Figure:
    """How far each node is with its file, in per cent; what it does stands beside the bar.

    Args:
        frame: As `stats.nodes` answers it.
    """
    rows = _rows(
        frame, "server_id", "state", "original_filename", "minutes_processing", "progress_done", "progress_total"
    )
    shares = [_share(done, total) for *_, done, total in rows]
    texts = [_doing(row[1:4], share) for row, share in zip(rows, shares, strict=True)]
    bare = [place for place, share in enumerate(shares) if not share]
    bar = go.Bar(
        name="progress",
        orientation="h",
        y=list(range(len(rows))),
        x=[0.0 if share is None else share for share in shares],
        text=texts,
        textposition="auto",
        cliponaxis=False,
        customdata=[_safe(row[0]) for row in rows],
        hovertemplate="%{customdata}<br>%{text}<extra></extra>",
        marker={"color": [_NODE_COLORS.get(row[1], STATE_COLORS["processing"]) for row in rows]},
    )
    # Plotly draws no text at a bar of no length.
    beside = go.Scatter(
        name="state",
        mode="text",
        x=[0.5] * len(bare),
        y=bare,
        text=[texts[place] for place in bare],
        textposition="middle right",
        textfont={"color": _INK},
        hoverinfo="skip",
    )
    names = [row[0] for row in rows]
    figure = _lying([bar, beside], "Progress of each node's file [%]", names, "% of the file", nothing="no nodes yet")
    figure.update_layout(showlegend=False)
    figure.update_xaxes(range=[0, 101], dtick=25, tickformat="d")
    return figure


def longest_running(frame: pd.DataFrame) -> go.Figure:
    """How long the files in processing have been claimed, the longest at the top.

    Args:
        frame: As `stats.longest_running` answers it.
    """
    rows = _rows(frame, "original_filename", "processing_server_id", "minutes_processing")
    names = ["(no name)" if name is None else name for name, *_ in rows]
    bar = go.Bar(
        name="processing",
        orientation="h",
        y=list(range(len(rows))),
        x=[0.0 if minutes is None else round(minutes, 2) for *_, minutes in rows],
        text=[_safe(_short(_server(server))) for _, server, _ in rows],
        textposition="auto",
        customdata=[_safe(name) for name in names],
        hovertemplate="%{customdata}<br>%{text}<br>%{x:,.1f} min<extra></extra>",
        marker={"color": STATE_COLORS["processing"]},
    )
    figure = _lying([bar], "Longest in processing [min]", names, "min", nothing="nothing is being processed")
    figure.update_layout(showlegend=False)
    figure.update_xaxes(tickformat=None)
    return figure


def timeline(
    frame: pd.DataFrame, *, begins: datetime | None = None, ends: datetime | None = None, zone: str = "UTC"
) -> go.Figure:
    """A lane a server: each attempt a bar from its claim to its end, with what happened to the nodes as marks.

    Args:
        frame: As `stats.timeline` answers it.
        begins, ends: The window that was asked for. Default to what the frame holds.
        zone: Name of the time zone that its times are shown in. Defaults to UTC.
    """
    rows = [dict(zip(frame.columns, row, strict=True)) for row in _rows(frame, *map(str, frame.columns))]
    lanes, there = _lanes(rows), ZoneInfo(zone)
    place = {lane: number for number, lane in enumerate(lanes)}
    bars: dict[str, list[dict[str, Any]]] = {kind: [] for kind in BAR_COLORS}
    marks: dict[str, list[tuple[dict[str, Any], datetime]]] = {kind: [] for kind in MARKS}
    for row in rows:
        if _lane(row) not in place:
            continue
        if row["kind"] == "attempt":
            bars[bar_kind(row)].append(row)
            if row["cleaned"]:
                marks["cleanup"].append((row, row["ended_at"]))
        else:
            marks[_mark_of(row)].append((row, row["started_at"]))
    traces: list[Any] = [_bars(kind, found, place, there) for kind, found in bars.items()]
    traces += [_marks(kind, found, place, there) for kind, found in marks.items() if found]
    hidden = len({_lane(row) for row in rows}) - len(lanes)
    title = f"What each server did [{zone}]" + (f", {hidden} more servers not shown" if hidden else "")
    figure = _lying(traces, title, lanes, f"time [{zone}]", nothing="nothing happened in this time")
    figure.update_xaxes(type="date", rangemode="normal", tickformat=None)
    figure.update_yaxes(range=[len(lanes) - 0.5, -0.8], autorange=False)
    figure.update_layout(barmode="overlay", bargap=0.35)
    if begins is not None and ends is not None:
        figure.update_xaxes(range=[_naive(begins, there), _naive(ends, there)])
    return figure


_MARK_OF = {"boot": "started", "stop": "stopped", "pause": "paused", "resume": "resumed"}


def _mark_of(row: Mapping[str, Any]) -> str:
    if row["kind"] == "breaker":
        return "paused" if row["outcome"] == "open" else "resumed"
    return _MARK_OF.get(row["kind"], "other")


def bar_kind(row: Mapping[str, Any]) -> str:
    """What a bar of the timeline is to be told apart by."""
    if row["overlaps"]:
        return OVERLAP
    if row["outcome"] in ("completed", "processing"):
        return str(row["outcome"])
    if row["outcome"] in ("released", "interrupted") and row["followed"] == "queued":
        return "given back"
    return "tried again" if row["followed"] == "queued" else "failed"


def _bars(kind: str, rows: list[dict[str, Any]], place: Mapping[str, int], there: tzinfo) -> go.Bar:
    starts = [_naive(row["started_at"], there) for row in rows]
    lengths = [max(0.0, (row["ended_at"] - row["started_at"]).total_seconds()) for row in rows]
    return go.Bar(
        name=kind,
        orientation="h",
        y=[place[_lane(row)] for row in rows],
        base=starts,
        x=[seconds * 1000 for seconds in lengths],
        width=0.8 if kind == OVERLAP else 0.62,
        customdata=[
            [row["file_id"], _told(row), _length_of(seconds)] for row, seconds in zip(rows, lengths, strict=True)
        ],
        hovertemplate="%{customdata[1]}<br>from %{base|%H:%M:%S} for %{customdata[2]}<extra></extra>",
        marker={"color": BAR_COLORS[kind], "line": {"width": _LEAST_BAR, "color": BAR_COLORS[kind]}},
        textposition="none",
    )


def _marks(
    kind: str, found: list[tuple[dict[str, Any], datetime]], place: Mapping[str, int], there: tzinfo
) -> go.Scatter:
    return go.Scatter(
        name=kind,
        mode="markers",
        y=[place[_lane(row)] - 0.38 for row, _ in found],
        x=[_naive(when, there) for _, when in found],
        customdata=[[row["file_id"], _told(row), ""] for row, _ in found],
        hovertemplate="%{customdata[1]}<br>at %{x|%H:%M:%S}<extra></extra>",
        marker={
            "symbol": MARKS[kind],
            "size": 10,
            "color": BAR_COLORS["failed"] if kind == "cleanup" else _INK,
            "line": {"width": 2 if kind == "paused" else 0.5, "color": _INK},
        },
    )


def _told(row: Mapping[str, Any]) -> str:
    """What a bar or a mark says when it is pointed at; data of others never becomes markup."""
    name = row["original_filename"] or row["file_id"]
    attempt = f"attempt {row['attempt']}" if row["attempt"] is not None else ""
    outcome = f"{row['outcome']}, then {row['followed']}" if row["followed"] else row["outcome"]
    parts = [name, attempt, outcome] if row["kind"] == "attempt" else [row["kind"], row["outcome"]]
    by = None if row["actor"] in (None, row["server_id"]) else f"by {row['actor']}"
    lines = [" · ".join(str(part) for part in parts if part), _short(row["reason"] or ""), by or ""]
    if row["overlaps"]:
        lines.append("OVERLAPS another attempt at this file")
    return "<br>".join(_safe(line) for line in lines if line)


def _safe(text: str) -> str:
    """Text of others for a figure: never markup, and no mark that turns the reading direction round."""
    return html.escape(directions_shown(text), quote=False)


def _lane(row: Mapping[str, Any]) -> str:
    server = row["server_id"]
    if server == "*" or (server is None and row["kind"] != "attempt"):
        return "(all nodes)"
    return "(no server)" if server is None else str(server)


def _lanes(rows: list[dict[str, Any]]) -> list[str]:
    """The lanes from top to bottom: what concerns all first, then by name; the idlest are left out."""
    busy = Counter(_lane(row) for row in rows)
    kept = sorted(lane for lane, _ in busy.most_common(_LANES))
    return sorted(kept, key=lambda lane: lane != "(all nodes)")


def _naive(when: datetime, there: tzinfo) -> datetime:
    """Plotly knows no zones: naive, so that every browser shows the zone that the axis names."""
    return when.astimezone(there).replace(tzinfo=None)


def _length_of(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _lying(bars: list[Any], title: str, names: Sequence[str], unit: str, *, nothing: str) -> go.Figure:
    """A figure of lying bars with *names* from top to bottom."""
    figure = _figure(bars, title, _FRAME + _BAR * max(len(names), 2), "" if names else nothing)
    figure.update_xaxes(title={"text": unit}, rangemode="tozero", tickformat=",d")
    figure.update_yaxes(
        autorange="reversed",
        showgrid=False,
        zeroline=False,
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=[_safe(_short(name)) for name in names],
    )
    return figure


def _figure(bars: list[Any], title: str, height: int, nothing: str) -> go.Figure:
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID, "automargin": True}
    figure = go.Figure(
        data=bars,
        layout={
            "template": "none",
            "title": {"text": title, "x": 0, "xref": "container", "pad": {"l": 10}},
            "barmode": "stack",
            "height": height,
            "margin": {"l": 10, "r": 10, "t": 60, "b": 40},
            "paper_bgcolor": _CLEAR,
            "plot_bgcolor": _CLEAR,
            "font": {"color": _INK},
            "modebar": {"bgcolor": _CLEAR, "color": _INK, "activecolor": STATE_COLORS["processing"]},
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


def _rows(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """The rows of some columns, with None for what is missing."""
    values = frame[list(columns)].itertuples(index=False, name=None)
    return [tuple(None if pd.isna(value) else value for value in row) for row in values]


def _servers(column: pd.Series[str]) -> list[str]:
    """Every server once: files that belong to none first, then by name."""
    names = {_server(None if pd.isna(value) else value) for value in column}
    return sorted(names, key=lambda name: (name != NO_SERVER, name))


def _server(value: str | None) -> str:
    return NO_SERVER if value is None else value


def _share(done: int | None, total: int | None) -> float | None:
    """Per cent, 0 to 100; None when the node has not said how far it is."""
    return None if done is None or not total else round(min(max(done / total, 0.0), 1.0) * 100, 1)


def _doing(row: tuple[Any, ...], share: float | None) -> str:
    state, filename, minutes = row
    if minutes is None:
        return str(state)
    parts = [] if state == "live" else [state]
    parts.append(_safe(_short(filename or "(no name)")))
    parts.append("no progress told" if share is None else f"{share:.0f} %")
    return " · ".join([*parts, f"{minutes:.1f} min"])


def _short(name: str) -> str:
    """The name, with its middle left out when it is long: beginnings tell the kind, ends the number."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[1 - half :]}"


def _length(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return unit if seconds == size else f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
