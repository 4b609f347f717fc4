"""What people see on a terminal: tables, bars and lines; programs get JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")  # a time, as `stats.records` writes it


def as_json(value: object) -> None:
    """One JSON document on stdout."""
    json.dump(value, sys.stdout, default=_plain, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def table(rows: Iterable[Mapping[str, Any]], *, title: str = "", empty: str = "nothing to show") -> None:
    """Rows as a table; numbers to the right, times and long numbers made short."""
    rows = list(rows)
    if not rows:
        out.print(empty)
        return
    shown = Table(title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in rows[0]:
        number = any(isinstance(row[name], (int, float)) and not isinstance(row[name], bool) for row in rows)
        shown.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        # Names of files may hold what rich takes for markup: they are data, not style.
        shown.add_row(*(_cell(value).replace("[", "\\[") for value in row.values()))
    out.print(shown)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    text = str(value)
    return f"{text[:10]} {text[11:19]}" if _ISO.fullmatch(text) else text


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if hasattr(value, "item"):
        return value.item()
    return str(value)
