"""Durations, counts, times and lists in words: one wording for every door."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime


def span(seconds: float | None) -> str:
    """A stretch of time in the two units that matter."""
    if seconds is None or seconds != seconds:
        return "–"
    left = int(max(0, seconds))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


_LENGTHS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float | None:
    """A length of time such as 90s, 15min, 24h or 7d [s]; None when it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?", text.strip())
    length = float(match[1]) * _LENGTHS[match[2] or "s"] if match else 0.0
    return length if length > 0 else None


def count(number: int, what: str, many: str = "") -> str:
    """A number and its noun: "1 file", "2 files"."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"


_NAMED = 5  # of a longer list, so many are named


def named(names: Iterable[str]) -> str:
    """A list in words, its end counted only."""
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more


def rate(per_minute: float | None) -> str:
    """So many a minute: "9.3", "1,234"; "–" where it is too early to tell."""
    return "–" if per_minute is None else f"{per_minute:,.{1 if abs(per_minute) < 10 else 0}f}".replace("-", "−")


def outlook(verdict: str, empty_in_seconds: float | None) -> str:
    """What a forecast says of the queue: "empty in 16 min"."""
    return {
        "empty": "empty",
        "emptying": f"empty in {span(empty_in_seconds)}",
        "growing": "grows, will not empty",
        "steady": "neither grows nor empties",
        "standing": "stands still",
    }.get(verdict, "too early to tell")


def iso(moment: datetime | None) -> str | None:
    """A time as text in UTC, with milliseconds: 2026-11-23T12:00:00.000Z. A naive one means UTC."""
    if moment is None:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
