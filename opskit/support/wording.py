"""Durations, counts, times and lists in words: one wording for every door."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime


def span(seconds: float | None, *, fine: bool = False) -> str:
    """A stretch of time in the two units that matter.

    Args:
        seconds: Its length [s]; "–" for None and NaN.
        fine: Below a minute with tenths of a second.
    """
    if seconds is None or seconds != seconds:
        return "–"
    if fine and seconds < 59.95:
        return f"{max(0.0, seconds):.1f} s"
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


def count(number: int, what: str, many: str = "", *, most: int | None = None) -> str:
    """A number and what agrees with it: "1 file", "2 files", "1 file is queued", "more than 10,000 files".

    Args:
        number: How many.
        what: The words for one.
        many: The words for any other number. Defaults to *what* with an s.
        most: So many were counted at most; a higher number says only that there are more.
    """
    words = what if number == 1 else many or what + "s"
    return f"more than {most:,} {words}" if most is not None and number > most else f"{number:,} {words}"


_NAMED = 5  # of a longer list, so many are named


def named(names: Iterable[str], *, total: int | None = None) -> str:
    """A list in words, its end counted only.

    Args:
        names: The list, or its beginning.
        total: How long the whole list is. Defaults to what *names* holds.
    """
    listed = list(names)
    left = (len(listed) if total is None else total) - len(listed[:_NAMED])
    more = f" and {left:,} more" if left > 0 else ""
    return ", ".join(listed[:_NAMED]) + more


def shortened(text: str, most: int = 40) -> str:
    """The text with its middle left out when it is long: beginnings tell the kind, ends the number."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def told_apart(names: Iterable[str], most: int = 40) -> dict[str, str]:
    """Each name with its short form, no two alike: where the middle is what differs, more of it stays.

    Args:
        names: The whole names.
        most: Most letters of a short form, where that is enough.
    """
    whole = list(dict.fromkeys(names))
    short = {name: shortened(name, most) for name in whole}
    while len(set(short.values())) < len(whole):
        alike = {form for form, count in Counter(short.values()).items() if count > 1}
        most += 4
        short |= {name: shortened(name, most) for name in whole if short[name] in alike}
    return short


def rate(per_minute: float | None) -> str:
    """So many a minute: "9.3", "1,234"; "–" where it is too early to tell."""
    return "–" if per_minute is None else f"{per_minute:,.{1 if abs(per_minute) < 10 else 0}f}".replace("-", "−")


def outlook(verdict: str, empty_in_seconds: float | None) -> str:
    """A forecast in words: "empty in 16 min"."""
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
