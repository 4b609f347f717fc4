"""The trends of the Overview: three small charts over one axis of time, for a stretch that the address keeps."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from opskit.stats import trends_figure
from opskit.support import wording
from opskit.web.dashboard import banners, charts, columns, readings, sources, times

TICK_SECONDS = 30.0
"""How often they are drawn again: a chart that one reads must not flicker [s]."""
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """How far back [s], in how long stretches [s], and what they are compared with: the same, so long before [s]."""

    since: float
    bucket: float
    before: float = DAY
    earlier: str = "yesterday"


STRETCHES = {
    "1 h": Stretch(3600.0, 60.0),
    "6 h": Stretch(6 * 3600.0, 300.0),
    "24 h": Stretch(DAY, 1200.0),
    "7 d": Stretch(7 * DAY, 7200.0, 7 * DAY, "the week before"),
}


def panel() -> None:
    """The choice, the charts, and the same as a table for whoever reads no charts."""
    name = st.segmented_control(
        "Trends of the last", list(STRETCHES), default="1 h", required=True, key="trend", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    stretch = STRETCHES[name]
    found = readings.read(
        "trends", since_seconds=stretch.since, bucket_seconds=stretch.bucket, before_seconds=stretch.before
    )
    marks = readings.read("marks", since_seconds=stretch.since)
    sources.heading(f"Trends, {name} ({times.zone()})", found, marks)
    if not isinstance(found.frame, pd.DataFrame) or not isinstance(marks.frame, pd.DataFrame):
        st.caption("The trends cannot be read now." if found.error or marks.error else "Being counted.")
        return
    rows = found.rows()
    if not any(row["ended"] or row["ended_before"] for row in rows):
        st.caption("Nothing has ended in this time.")
        return
    if banners.standing():
        chart = trends_figure.trends(
            found.frame, marks.frame, bucket_seconds=stretch.bucket, zone=times.zone(), earlier=stretch.earlier
        )
        charts.inked(chart)
        st.plotly_chart(chart, key="trends", theme=None, config={"displayModeBar": False})
    else:
        charts.place(trends_figure.HEIGHT)
    st.caption(summary(rows))
    with st.expander("As a table", icon=":material/table:", key="trends table", on_change="rerun") as opened:
        if opened.open:
            tables(rows, marks.rows())


def summary(rows: list[dict[str, object]]) -> str:
    """The charts in one line."""
    ended, failed, before = (sum(int(str(row[key])) for row in rows) for key in ("ended", "failed", "ended_before"))
    share = f", {failed:,} failed ({100 * failed / ended:.2g} %)" if ended else ""
    return f"{wording.count(ended, 'file')} ended{share}; {before:,} in the same time before."


def tables(rows: list[dict[str, object]], marks: list[dict[str, object]]) -> None:
    """The numbers and the marks."""
    st.dataframe(rows, column_config={"bucket_start": columns.time_column()}, hide_index=True, height=260)
    if marks:
        st.dataframe(
            [
                {
                    "When": row["at"],
                    "What": trends_figure.in_words(
                        *(row[key] for key in ("kind", "server_id", "what", "file_count", "actor", "reason"))  # type: ignore[arg-type]
                    ),
                }
                for row in marks
            ],
            column_config={"When": columns.time_column()},
            hide_index=True,
        )


def live() -> None:
    """The panel, which renews itself."""
    banners.live(panel, seconds=TICK_SECONDS, charts_later=True)
