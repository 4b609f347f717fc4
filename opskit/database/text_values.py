"""Values as text, as psql sends them: a statement behaves the same through every door."""

from __future__ import annotations

import json
from collections.abc import Mapping


def as_text(value: object) -> str | None:
    """A value as psql would send it."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (list, tuple, set, frozenset)):
        quoted = (str(item).replace("\\", "\\\\").replace('"', '\\"') for item in value)
        return "{" + ",".join(f'"{item}"' for item in quoted) + "}"
    return str(value)
