"""The timeline's figure: a lane a server, a bar an attempt, a mark for what happened to a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go

from opskit.stats.drawing import STATE_COLORS, horizontal_bars, rows_of, safe
from opskit.stats.picture import INK, Figure
from opskit.support import wording

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
_LANES = 60
_LEAST_BAR = 1.0  # px: a bar of a millisecond is seen, too


def timeline(
    frame: pd.DataFrame, *, begins: datetime | None = None, ends: datetime | None = None, zone: str = "UTC"
) -> Figure:
    """A lane a server: each attempt a bar from its claim to its end, with what happened to the nodes as marks.

    Args:
        frame: As `stats.timeline` answers it.
        begins, ends: The window that was asked for. Default to what the frame holds.
        zone: Name of the time zone that its times are shown in. Defaults to UTC.
    """
    rows = [dict(zip(frame.columns, row, strict=True)) for row in rows_of(frame, *map(str, frame.columns))]
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
    title = f"What each server did [{zone}]" + (f", {wording.count(hidden, 'more server')} not shown" if hidden else "")
    figure = horizontal_bars(traces, title, lanes, f"time [{zone}]", nothing="nothing happened in this time")
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
    if row["outcome"] in ("released", "interrupted", "deferred") and row["followed"] == "queued":
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
            [row["file_id"], _told(row), wording.span(seconds)] for row, seconds in zip(rows, lengths, strict=True)
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
            "color": BAR_COLORS["failed"] if kind == "cleanup" else INK,
            "line": {"width": 2 if kind == "paused" else 0.5, "color": INK},
        },
    )


def _told(row: Mapping[str, Any]) -> str:
    """What a bar or a mark says when it is pointed at; data of others never becomes markup."""
    name = row["original_filename"] or row["file_id"]
    attempt = f"attempt {row['attempt']}" if row["attempt"] is not None else ""
    outcome = f"{row['outcome']}, then {row['followed']}" if row["followed"] else row["outcome"]
    parts = [name, attempt, outcome] if row["kind"] == "attempt" else [row["kind"], row["outcome"]]
    by = None if row["actor"] in (None, row["server_id"]) else f"by {row['actor']}"
    lines = [" · ".join(str(part) for part in parts if part), wording.shortened(row["reason"] or ""), by or ""]
    if row["overlaps"]:
        lines.append("OVERLAPS another attempt at this file")
    return "<br>".join(safe(line) for line in lines if line)


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
