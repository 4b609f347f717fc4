"""The columns that several tables share: times, states as badges, progress as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, Literal

import streamlit as st

from opskit.database.session import Row
from opskit.web.dashboard.times import zone

BADGES: dict[str, Literal["green", "red", "blue", "gray"]] = {
    "completed": "green",
    "failed": "red",
    "processing": "blue",
    "queued": "gray",
}
NODE_BADGES = {
    "live": "green",
    "paused": "yellow",
    "draining": "blue",
    "silent": "orange",
    "quarantined": "orange",
    "dead": "red",
    "stopped": "gray",
}


def time_column() -> Any:
    """A column of times in the operator's own zone."""
    return st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", timezone=zone())


def state_column(colors: Mapping[str, str]) -> Any:
    """A column of states, each in its colour; its values are lists of one."""
    return st.column_config.MultiselectColumn(options=list(colors), color=list(colors.values()))


def table_height(rows: Sized) -> int | Literal["content"]:
    """A table as high as its rows, which scrolls by itself once there are many [px]."""
    return "content" if len(rows) <= 12 else 460


def progress(row: Row) -> float | None:
    """How far a node is with its file [%], when it says so."""
    done, total = row["progress_done"], row["progress_total"]
    return None if done is None or not total else min(100.0, 100.0 * float(done) / float(total))


def progress_column() -> Any:
    """A column of progress bars."""
    return st.column_config.ProgressColumn(format="%d %%", min_value=0, max_value=100)
