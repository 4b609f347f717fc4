"""Frames of a reader's own SQL: read-only, with dtypes that depend on the columns' types and never on the rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from opskit.database import Database
from opskit.errors import SettingError
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
        SettingError: It is a COPY, or a value stands inside quotes, where it would be text.
        DatabaseError: PostgreSQL refuses it: its syntax, or that it writes.
    """
    rows, columns = db.answer(_checked(query, values), values)
    frame = Frame(pd.DataFrame(rows, columns=range(len(columns)), dtype=object))
    for place, (_, oid) in enumerate(columns):
        frame[place] = _typed(frame[place], _DTYPES.get(oid, "object"))
    frame.columns = pd.Index([name for name, _ in columns])
    return frame


_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$|"[^"]*"|'[^']*'|\w+""",
    flags=re.DOTALL,
)
_VALUE = re.compile(r"%\((\w+)\)s")


def _checked(query: str, values: Mapping[str, object]) -> str:
    """The statement as the driver takes it: beside values, a percent sign of its own is doubled."""
    tokens = [found[0] for found in _TOKEN.finditer(query)]
    if next((word.upper() for word in tokens if not word.startswith(("--", "/*"))), "") == "COPY":
        raise SettingError("COPY answers no rows; give its SELECT, or COPY in psql")
    for text in tokens:
        inside = _VALUE.search(text) if text.startswith("'") and values else None
        if inside:
            raise SettingError(f"{text} is a text, in which {inside[0]} is no value; write '…' || {inside[0]} || '…'")
    return re.sub(r"%%|%(?!\(\w+\)s)", "%%", query) if values else query


def _typed(column: Any, dtype: str) -> Any:
    if dtype == TIME:
        return pd.to_datetime(column, utc=True).astype(TIME)
    # A uuid is text to a reader.
    return column.map(str, na_action="ignore").astype(dtype) if dtype == "string" else column.astype(dtype)
