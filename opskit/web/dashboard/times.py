"""Times as the page shows them, in the browser's time zone."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import streamlit as st

__all__ = ["UTC", "local", "moment", "zone"]


def moment(when: datetime) -> str:
    """A time of day in the operator's own zone, which is named."""
    return f"{local(when):%H:%M:%S} {zone()}"


def local(when: datetime) -> datetime:
    """A time in the operator's own zone."""
    return when.astimezone(ZoneInfo(zone()))


def zone() -> str:
    """The browser's time zone, when it is one that this machine knows."""
    name = st.context.timezone or "UTC"
    return name if name in _zones() else "UTC"


@functools.cache
def _zones() -> set[str]:
    return available_timezones()
