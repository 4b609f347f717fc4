"""Retry-After: when a server asks to be called again."""

from __future__ import annotations

import datetime
import email.utils
import math

from opskit.errors import Retry

_STATUSES = (429, 503)
_MOST_CAUSES = 10


def asked_seconds(error: BaseException) -> float | None:
    """When a server wants to be asked again whose answer a processor has raised, or raised its own error from [s].

    It is an error of a library for HTTP (requests, httpx, urllib and their like) with status 429 or 503 and the header.

    Returns:
        None when it is no such error.
    """
    one: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if one is None:
            return None
        try:
            answer = getattr(one, "response", None)
            answer = one if answer is None else answer  # an answer may be false, as those of requests are
            known = (getattr(answer, name, None) for name in ("status_code", "code", "status"))
            status = next((number for number in known if isinstance(number, int)), None)
            headers = getattr(answer, "headers", None)
            if status in _STATUSES and headers is not None:
                return seconds_of(headers.get("Retry-After"))
        except Exception:
            return None
        one = one.__cause__
    return None


def seconds_of(value: object) -> float | None:
    """The header's seconds, or the seconds until its date; None when it says neither.

    Args:
        value: The header as it was sent; None when it was not.
    """
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=datetime.UTC)
        seconds = max(0.0, (date - datetime.datetime.now(datetime.UTC)).total_seconds())
    if not math.isfinite(seconds) or seconds < 0:
        return None
    return min(seconds, Retry.LONGEST_SECONDS)
