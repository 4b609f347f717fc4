"""A JSON body that names a key twice is refused: the parser takes the last one, whoever reads along the first."""

from __future__ import annotations

import json


def repeated_key(body: bytes) -> str | None:
    """The first key that an object of this JSON text has twice; None where there is none, or no JSON."""
    found: list[str] = []

    def once(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    try:
        json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None  # whoever parses it next says what is wrong
    return found[0] if found else None
