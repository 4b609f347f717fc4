"""Rows as tables that fit a terminal: the least needed columns are left out, of an error its last line is shown."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opskit.database.session import Row
from opskit.queue.error_lines import last_line
from opskit.support import console, wording

_LONGEST = 32
"""A text has at most so many letters in a table."""


def table(
    rows: list[Row], shown: tuple[str, ...] = (), *, wide: bool = False, title: str = "", empty: str = ""
) -> None:
    """Rows as a table that fits the terminal: the least needed columns are left out, errors told by their last line.

    Args:
        rows: Each with the same columns.
        shown: The columns, the most needed first. Defaults to all in their order.
        wide: Every column, uncut.
        title: Stands above it.
        empty: What is said where there are no rows.
    """
    if not rows or wide:
        console.table(rows, title=title, empty=empty or f"{title}: nothing")
        return
    names = list(shown or rows[0])
    short = [{name: _cut(_short(row, name)) for name in names} for row in rows]
    width = console.out.width if console.out.is_terminal else max(80, shutil.get_terminal_size().columns)
    kept: list[str] = []
    for name in names:
        needs = max(len(name), *(len(console.cell(row[name])) for row in short))
        if not kept or needs <= width:
            kept.append(name)
            width -= needs + 2
    console.table([{name: row[name] for name in kept} for row in short], title=title)
    if left := [name for name in names if name not in kept]:
        console.err.print(f"left out: {', '.join(left)}; --wide shows them", soft_wrap=True)


def _cut(value: Any) -> Any:
    """A text short enough for a column, its middle left out: names differ at both ends."""
    if not isinstance(value, str) or len(value) <= _LONGEST:
        return value
    return f"{value[: _LONGEST // 2]}…{value[-(_LONGEST // 2 - 1) :]}"


def plain(row: Mapping[str, Any]) -> Row:
    """A row as JSON knows it."""
    return {key: wording.iso(value) if isinstance(value, datetime) else value for key, value in row.items()}


def _short(row: Mapping[str, Any], key: str) -> Any:
    """A value for a table: of an error the line that tells it."""
    value = row[key]
    is_error = key in ("processing_errors", "last_error") or (key == "reason" and row.get("kind") == "attempt")
    return last_line(value) if is_error and isinstance(value, str) else value
