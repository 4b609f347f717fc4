"""Timeline: a lane a server, files as bars, what happened to the nodes as marks; attempts that overlap in red."""

from __future__ import annotations

from datetime import datetime, timedelta

import plotly.graph_objects as go
import streamlit as st

from opskit.stats import figures, timeline_figure
from opskit.support import wording
from opskit.web.dashboard import banners, charts, columns, links, markdown, readings, sources, times

WINDOWS = {900: "15 min", 3600: "1 h", 6 * 3600: "6 h", 86400: "24 h", 7 * 86400: "7 d"}
MOST_ROWS = 2000
BAR = "bar"
"""The address's parameter for the files whose bars are chosen."""
MOST_STEPS = 100
"""The oldest window: 50 of its lengths ago, less than a year."""


def timeline() -> None:
    """The window, the chart, and what overlaps. It does not tick: a chart that one reads must stand still."""
    length, back = window()
    begin = length + back
    ago = {"since_seconds": float(begin), "until_seconds": float(back)}
    found = readings.held("timeline", "timeline", **ago, limit=MOST_ROWS)
    banners.as_of(found)
    if not banners.healthy([found]):
        return
    rows = found.rows()
    ends = found.taken_at - timedelta(seconds=back)
    chart, title = drawn(found, ends - timedelta(seconds=length), ends)
    attempts = [row for row in rows if row["kind"] == "attempt"]
    overlapping = [row for row in attempts if row["overlaps"]]
    times = {"From": columns.time_column(), "To": columns.time_column()}
    with st.container(horizontal=True, vertical_alignment="center"):
        more = f" · the newest {MOST_ROWS:,} only; choose a shorter time" if len(rows) >= MOST_ROWS else ""
        st.caption(
            f"{title} · {wording.count(len(attempts), 'attempt')} · "
            f"{wording.count(len(rows) - len(attempts), 'mark')}{more} · click a bar for its file",
            width="content",
        )
        sources.menu(found)
    if overlapping:
        st.error(
            f"**{wording.count(len(overlapping), 'attempt')}** overlap: one file was processed twice at one time.",
            icon=":material/emergency_home:",
        )
        st.dataframe([line(row) for row in overlapping], column_config=times, hide_index=True, placeholder="")
    mark(chart)
    st.plotly_chart(
        chart,
        key="timeline",
        theme=None,
        on_select=_choose,
        selection_mode="points",
        config={"displaylogo": False},
    )
    chosen(rows)
    with st.expander(f"As a table ({wording.count(len(rows), 'row')})", icon=":material/table:"):
        st.dataframe([line(row) for row in reversed(rows)], column_config=times, hide_index=True, placeholder="")


def drawn(found: readings.Reading, begins: datetime, ends: datetime) -> tuple[go.Figure, str]:
    """The chart in the page's own letters, and its title beside it: on a phone the legend needs the room."""
    assert found.frame is not None
    assert not isinstance(found.frame, list)
    chart = figures.timeline(found.frame, begins=begins, ends=ends, zone=times.zone())
    return chart, charts.dressed(chart)


def window() -> tuple[int, int]:
    """How long the window is, and how long ago it ended [s]."""
    with st.container(horizontal=True, vertical_alignment="center"):
        label = st.segmented_control(
            "Time", list(WINDOWS.values()), default=WINDOWS[3600], required=True, key="window", bind="query-params",
            label_visibility="collapsed", on_change=_move, args=(None,),
        )  # fmt: skip
        length = next(seconds for seconds, name in WINDOWS.items() if name == label)
        steps = _steps_back()
        st.button("Earlier", icon=":material/chevron_left:", key="earlier", on_click=_move, args=(1,))
        st.button("Later", icon=":material/chevron_right:", key="later", on_click=_move, args=(-1,), disabled=not steps)
        if steps:
            st.button("Now", icon=":material/last_page:", key="now", on_click=_move, args=(None,))
            st.caption(f"ends {wording.span(steps * length / 2)} ago", width="content")
    return length, steps * length // 2


def _move(steps: int | None) -> None:
    """Half a window at a time, so that what one looked at stays in sight; None: back to now."""
    back = 0 if steps is None else max(0, _steps_back() + steps)
    if back:
        st.query_params["back"] = str(back)
    else:
        st.query_params.pop("back", None)


def _steps_back() -> int:
    """How many halves of a window ago it ends, as the address says."""
    told = st.query_params.get("back", "")
    return min(int(told), MOST_STEPS) if told.isascii() and told.isdigit() else 0


def _choose() -> None:
    """The files of the bars that were clicked, into the address."""
    points = getattr(getattr(st.session_state["timeline"], "selection", None), "points", None) or []
    files = dict.fromkeys(str(point["customdata"][0]) for point in points if (point.get("customdata") or [None])[0])
    st.session_state["timeline clicked"] = st.query_params[BAR] = list(files)[: links.MOST]


def mark(chart: go.Figure) -> None:
    """Let the bars of the files that the address names stand out, unless a click has just done so.

    A click must not draw the chart anew: Streamlit knows a chart by what it draws, and would forget the click.
    """
    told = st.query_params.get_all(BAR)
    if told != st.session_state.get("timeline clicked"):
        st.session_state["timeline marked"] = told
    marked = set(st.session_state.get("timeline marked", ()))
    if marked:
        for trace in chart.data:
            files = [str(custom[0]) for custom in (trace.customdata if trace.customdata is not None else ())]
            trace.selectedpoints = [place for place, file in enumerate(files) if file in marked]


def chosen(rows: list[dict[str, object]]) -> None:
    """The way from the bars that are chosen to their files' stories."""
    names = {str(row["file_id"]): row["original_filename"] for row in rows if row["file_id"]}
    for file_id in st.query_params.get_all(BAR)[: links.MOST]:
        links.file(file_id, str(names.get(file_id) or "") or None)


def line(row: dict[str, object]) -> dict[str, object]:
    """A bar or a mark as a line of a table."""
    what = timeline_figure.bar_kind(row) if row["kind"] == "attempt" else markdown.what_happened(row)
    return {
        "Server": str(row["server_id"] or "").replace("*", "all"),
        "From": row["started_at"],
        "To": row["ended_at"],
        "What": what,
        "File": readings.shown(row["original_filename"] or row["file_id"] or ""),
        "Attempt": row["attempt"],
        "Ended": row["outcome"] or "",
        "Why": readings.why(row),
        "By": row["actor"] or "",
    }


timeline()
