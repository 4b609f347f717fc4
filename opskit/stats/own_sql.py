"""Frames of a reader's own SQL: read-only, with dtypes that depend on the columns' types and never on the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from opskit.database import Database
from opskit.stats.columns import TIME
from opskit.stats.frame_display import Frame

# PostgreSQL's types by their OID. numeric stays Decimal, json and arrays stay Python's.
_DTYPES = {
    16: "boolean", 20: "Int64", 21: "Int64", 23: "Int64", 26: "Int64", 700: "Float64", 701: "Float64",
    18: "string", 19: "string", 25: "string", 1042: "string", 1043: "string", 2950: "string", 1114: TIME, 1184: TIME,
}  # fmt: skip


def read(db: Database, query: str, values: Mapping[str, object]) -> pd.DataFrame:
    """Run one statement that reads, and answer its rows.

    Args:
        db: An open database.
        query: The statement; values stand in it as %(name)s.
        values: By name.

    Raises:
        DatabaseError: PostgreSQL refuses it: its syntax, or that it writes.
    """
    rows, columns = db.answer(query, values)
    frame = Frame(pd.DataFrame(rows, columns=range(len(columns)), dtype=object))
    for place, (_, oid) in enumerate(columns):
        frame[place] = _typed(frame[place], _DTYPES.get(oid, "object"))
    frame.columns = pd.Index([name for name, _ in columns])
    return frame


def _typed(column: Any, dtype: str) -> Any:
    if dtype == TIME:
        return pd.to_datetime(column, utc=True).astype(TIME)
    # A uuid is text to a reader.
    return column.map(str, na_action="ignore").astype(dtype) if dtype == "string" else column.astype(dtype)
