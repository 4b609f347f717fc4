"""Rows of the database as frames, and frames as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import SettingError
from opskit.queue import lanes
from opskit.stats.catalog import Statistic
from opskit.stats.columns import TEXT
from opskit.stats.frame_display import Frame
from opskit.stats.list_rows import most
from opskit.support.wording import iso


def frame_of(rows: list[Row], columns: Mapping[str, str], *, empty: str = "", **attrs: object) -> pd.DataFrame:
    """A statistic's frame.

    Args:
        rows: What the database answered.
        columns: Their names and dtypes.
        empty: What no rows mean, as a sentence.
        attrs: The frame's attributes.
    """
    # Through object: pandas must not guess a dtype that depends on the rows, such as float for 1 and None.
    frame = Frame(pd.DataFrame(rows, columns=list(columns), dtype=object).astype(dict(columns)))
    # As text: Arrow writes a frame's attributes as JSON.
    for name, value in attrs.items():
        frame.attrs[name] = value.isoformat() if isinstance(value, datetime) else value
    if empty and not rows:
        frame.attrs["empty"] = empty
    return frame


def cut_frame(
    rows: list[Row], columns: Mapping[str, str], limit: int, what: str, *, empty: str = "", **attrs: object
) -> pd.DataFrame:
    """A frame of at most *limit* rows; its attributes say whether there are more.

    Args:
        rows: What the database answered to *limit* and one more.
        limit: Most rows.
        what: What they are, such as "newest files".
        columns, empty, attrs: As for `frame_of`.
    """
    more = len(rows) > limit
    note = {"note": f"the {limit:,d} {what}; there are more: limit={limit * 10:_d} shows more of them"} if more else {}
    return frame_of(rows[:limit], columns, empty=empty, more=more, **note, **attrs)


def read(statistic: Statistic, db: Database, *, empty: str = "", **given: Any) -> pd.DataFrame:
    """A statistic's rows as its frame.

    Args:
        statistic: Which.
        db: An open database.
        empty: What no rows mean. Defaults to what its entry says.
        given: Its parameters by name.

    Raises:
        SettingError: There is no such parameter, or its value cannot be used.
    """
    if unknown := sorted(given.keys() - statistic.usual.keys()):
        takes = ", ".join(statistic.usual) or "none"
        raise SettingError(f"stats.{statistic.name} has no parameter {unknown[0]}; it has {takes}")
    values = {**statistic.usual, **given}
    for name, value in values.items():
        if name != "limit" and isinstance(statistic.usual[name], float):
            positive(name, value)
    how: dict[str, Any] = {"empty": "" if statistic.one_row else empty or statistic.empty}
    if statistic.page:
        how |= on_page(db, statistic.page)
    if "limit" not in values:
        rows = statistic.rows(db, **values)
        return frame_of(rows, with_lane(db, statistic), **how)
    rows = statistic.rows(db, **values | {"limit": most(values["limit"]) + 1})
    return cut_frame(rows, with_lane(db, statistic), values["limit"], statistic.cut, **how)


def with_lane(db: Database, statistic: Statistic) -> Mapping[str, str]:
    """A statistic's columns; with `lane` where its rows name files and the table has lanes."""
    return {**statistic.columns, "lane": TEXT} if statistic.lane_of and lanes.known(db) else statistic.columns


def on_page(db: Database, path: str, **filters: str) -> dict[str, str]:
    """The attribute `page`: where the page shows the same; nothing where its address is not known."""
    if not db.settings.page_url:
        return {}
    query = urlencode({name: value for name, value in filters.items() if value})
    return {"page": f"{db.settings.page_url.rstrip('/')}/{path}" + (f"?{query}" if query else "")}


def positive(name: str, value: float) -> float:
    """A length that can be used.

    Raises:
        SettingError: It is no number above 0.
    """
    if not (math.isfinite(value) and value > 0):
        raise SettingError(f"{name} is {value:g}; it must be more than 0")
    return value


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as JSON knows them: None for what is missing, times as `iso` writes them."""
    names = [str(name) for name in frame.columns]
    return [
        {name: _plain(value) for name, value in zip(names, row, strict=True)}
        for row in frame.itertuples(index=False, name=None)
    ]


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    if isinstance(value, datetime):
        return iso(value)
    return value.item() if hasattr(value, "item") else value
