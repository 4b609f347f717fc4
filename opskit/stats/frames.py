"""Rows of the database as frames, and frames as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from opskit.database.session import Row
from opskit.errors import SettingError

_MOST_ROWS = 2**31 - 1


def frame_of(rows: list[Row], columns: Mapping[str, str], **attrs: object) -> pd.DataFrame:
    # Through object: pandas must not guess a dtype that depends on the rows, such as float for 1 and None.
    frame = pd.DataFrame(rows, columns=list(columns), dtype=object).astype(dict(columns))
    # As text: Arrow writes a frame's attributes as JSON.
    for name, value in attrs.items():
        frame.attrs[name] = value.isoformat() if isinstance(value, datetime) else value
    return frame


def most(limit: int) -> int:
    if not 1 <= limit <= _MOST_ROWS:
        raise SettingError(f"the limit is {limit}; it must be at least 1")
    return limit


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as JSON knows them: None for what is missing, times as `iso` writes them."""
    names = [str(name) for name in frame.columns]
    return [
        {name: _plain(value) for name, value in zip(names, row, strict=True)}
        for row in frame.itertuples(index=False, name=None)
    ]


def iso(moment: datetime | None) -> str | None:
    """A time as text in UTC, with milliseconds: 2026-11-23T12:00:00.000Z. A naive one means UTC."""
    if moment is None:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    if isinstance(value, datetime):
        return iso(value)
    return value.item() if hasattr(value, "item") else value
