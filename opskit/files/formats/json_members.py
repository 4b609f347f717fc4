"""The keys of a JSON object and their values as they are written, by Python's own decoder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]  # what its own object parser calls

_BLANK = re.compile(r"[ \t\r\n]*")
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN')


def members_of(text: str) -> Iterator[tuple[str, str]]:
    """The keys of an object and their values as they are written.

    Raises:
        json.JSONDecodeError: It is none.
    """
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        json.JSONDecoder().raw_decode(text, at)
        raise json.JSONDecodeError("not a JSON object", text, at)
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        _end(text, at + 1)
        return
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        key, at = scanstring(text, at + 1, True)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        at = _skip(text, at + 1)
        _, end = _VALUES.raw_decode(text, at)
        yield key, _without_constants(text[at:end])
        at = _skip(text, end)
        if text[at : at + 1] == "}":
            _end(text, at + 1)
            return
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _skip(text, at + 1)


def _nothing(_: str) -> None:
    """A number whose value nobody asks for: an integer of 5,000 digits has one that Python will not make."""


_VALUES = json.JSONDecoder(parse_float=_nothing, parse_int=_nothing, parse_constant=_nothing)


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None  # it matches nothing, too
    return found.end()


def _end(text: str, at: int) -> None:
    at = _skip(text, at)
    if at != len(text):
        raise json.JSONDecodeError("Extra data", text, at)


def _without_constants(raw: str) -> str:
    """The same with NaN and the infinities, which JSON does not know, as text."""
    if "NaN" not in raw and "Infinity" not in raw:
        return raw
    return _CONSTANT.sub(lambda found: found[0] if found[0].startswith('"') else f'"{found[0]}"', raw)
