"""Retry-After: when a server wants to be asked again."""

from __future__ import annotations

import datetime
import email.utils
import math

from opskit.errors import Retry


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
