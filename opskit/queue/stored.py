"""The stored form of an attempt's end: its result as JSON, its error as text, both valid for PostgreSQL."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from opskit.errors import OpskitError
from opskit.support.logs import masked

_LONGEST_ERROR = 10_000


def clean_error(text: str) -> str:
    """An error text fit to be stored: no passwords, no NUL, at most 10 kB."""
    text = _cut(masked(_cut(text, 10 * _LONGEST_ERROR)), _LONGEST_ERROR)
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _cut(text: str, longest: int) -> str:
    """The beginning and the end: what went wrong stands in one of them."""
    if len(text) <= longest:
        return text
    return text[: longest // 2] + "\n…\n" + text[-(longest // 2 - 3) :]


_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def as_json(result: Mapping[str, Any] | None) -> str:
    """A processor's result as JSON that PostgreSQL takes: what JSON does not know becomes text.

    Raises:
        OpskitError: It is no mapping.
    """
    if result is None:
        return "null"
    if not isinstance(result, Mapping):
        raise OpskitError(f"the processor returned {type(result).__name__}; it must return a mapping or None")
    clean = result if _finite(result) else _finite_copy(result)
    # jsonb knows no NUL. An escaped backslash before "u0000" is no escape of a NUL.
    text = _NUL.sub("\\1\ufffd", json.dumps(clean, default=str, ensure_ascii=False))
    # Letters themselves, not \u escapes: where the database's encoding lacks one, `Database` can see it. What is no
    # letter (half of a surrogate pair) is none to jsonb either.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    if isinstance(value, Mapping):
        return all(_finite(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_finite(item) for item in value)
    return True


def _finite_copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite_copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite_copy(item) for item in value]
    return value if _finite(value) else str(value)
