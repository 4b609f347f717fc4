"""The charts: frames in, plotly figures out; the same on the page and in notebooks.

`graph_objects` only: `plotly.express` costs eight times as much a figure. Bars stand at numbered places with
their names as tick labels, so that two files of one name do not become one bar and an ID like "2024" is no date.
Every state has its trace in every figure, also without bars, so that colours and legend never change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from opskit.stats.drawing import STATE_COLORS, empty_figure, horizontal_bars, rows_of, safe
from opskit.stats.picture import INK, Figure
from opskit.stats.timeline_figure import timeline
from opskit.support import wording

__all__ = ["STATE_COLORS", "Figure", "bars", "distribution", "longest_running", "nodes", "throughput", "timeline"]

NO_SERVER = "(none yet)"
_NODE_COLORS = {"dead": STATE_COLORS["failed"], "stopped": STATE_COLORS["queued"]}


def bars(lengths: Sequence[float], names: Sequence[str], *, title: str, unit: str) -> Figure:
    """Lengths of one's own as lying bars, the first at the top.

    Args:
        lengths: One for each name.
        names: What each is.
        title: Of the figure.
        unit: Of the lengths.
    """
    bar = go.Bar(
        name=unit,
        orientation="h",
        y=list(range(len(names))),
        x=[float(length) for length in lengths],
        customdata=[safe(name) for name in names],
        hovertemplate="%{customdata}<br>%{x:,.4~g} " + safe(unit) + "<extra></extra>",
        marker={"color": STATE_COLORS["processing"]},
    )
    figure = horizontal_bars([bar], title, list(names), unit, nothing="nothing")
    figure.update_layout(showlegend=False)
    return figure


def distribution(frame: pd.DataFrame) -> Figure:
    """How many files each server has in each state, as stacked bars.

    Args:
        frame: As `stats.distribution` answers it.
    """
    servers = _servers(frame["processing_server_id"])
    counts = {
        (_server(server), state): int(count)
        for server, state, count in rows_of(frame, "processing_server_id", "processing_status", "file_count")
    }
    bars = [
        go.Bar(
            name=state,
            orientation="h",
            y=list(range(len(servers))),
            x=[counts.get((server, state), 0) for server in servers],
            customdata=[safe(server) for server in servers],
            hovertemplate="%{customdata}<br>%{x:,d} files " + state + "<extra></extra>",
            marker={"color": color},
        )
        for state, color in STATE_COLORS.items()
    ]
    return horizontal_bars(bars, "Files by server and state [files]", servers, "files", nothing="no files yet")


def throughput(frame: pd.DataFrame, *, bucket_seconds: float = 3600) -> Figure:
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
    figure = empty_figure(
        bars,
        f"Files ended [files per {wording.span(bucket_seconds).removeprefix('1 ')}]",
        320,
        "nothing has ended in this time",
    )
    figure.update_xaxes(title={"text": "time [UTC]"}, type="date")
    figure.update_yaxes(title={"text": "files"}, rangemode="tozero", tickformat=",d")
    return figure


def nodes(frame: pd.DataFrame) -> Figure:
    """How far each node is with its file, in per cent; what it does stands beside the bar.

    Args:
        frame: As `stats.nodes` answers it.
    """
    rows = rows_of(
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
        customdata=[safe(row[0]) for row in rows],
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
        textfont={"color": INK},
        hoverinfo="skip",
    )
    names = [row[0] for row in rows]
    figure = horizontal_bars(
        [bar, beside], "Progress of each node's file [%]", names, "% of the file", nothing="no nodes yet"
    )
    figure.update_layout(showlegend=False)
    figure.update_xaxes(range=[0, 101], dtick=25, tickformat="d")
    return figure


def longest_running(frame: pd.DataFrame) -> Figure:
    """How long the files in processing have been claimed, the longest at the top.

    Args:
        frame: As `stats.longest_running` answers it.
    """
    rows = rows_of(frame, "original_filename", "processing_server_id", "minutes_processing")
    names = ["(no name)" if name is None else name for name, *_ in rows]
    bar = go.Bar(
        name="processing",
        orientation="h",
        y=list(range(len(rows))),
        x=[0.0 if minutes is None else round(minutes, 2) for *_, minutes in rows],
        text=[safe(wording.shortened(_server(server))) for _, server, _ in rows],
        textposition="auto",
        customdata=[safe(name) for name in names],
        hovertemplate="%{customdata}<br>%{text}<br>%{x:,.1f} min<extra></extra>",
        marker={"color": STATE_COLORS["processing"]},
    )
    figure = horizontal_bars([bar], "Longest in processing [min]", names, "min", nothing="nothing is being processed")
    figure.update_layout(showlegend=False)
    figure.update_xaxes(tickformat=None)
    return figure


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
    parts.append(safe(wording.shortened(filename or "(no name)")))
    parts.append("no progress told" if share is None else f"{share:.0f} %")
    return " · ".join([*parts, f"{minutes:.1f} min"])
