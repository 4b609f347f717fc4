"""Names for PostgreSQL, made from the names of a file and its columns."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

from opskit.files.kinds import inner_name

_LONGEST = 63  # bytes
# Names that a column of ours cannot have: PostgreSQL's own columns, and the one that load_table adds.
_TAKEN = ("_file_id", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")


def unique_names(wanted: Iterable[object]) -> list[str]:
    """Column names that PostgreSQL takes: none empty, none twice, at most 63 bytes each.

    A name that is fine is kept whatever stands beside it: only the second of two equal ones is given a number.
    """
    cleaned = [_cut("" if want is None else str(want).replace("\0", "").strip()) for want in wanted]
    reserved = set(_TAKEN)
    kept = set(cleaned) - reserved
    used, names = set(_TAKEN), []
    numbers: dict[str, int] = {}
    for place, clean in enumerate(cleaned, 1):
        base = name = clean or f"column_{place}"
        while name in used or (name in kept and name != clean):
            numbers[base] = number = numbers.get(base, 1) + 1
            name = _cut(base, f"_{number}")
        used.add(name)
        names.append(name)
    return names


def loaded_name(name: str, prefix: str, part: str = "") -> str:
    """The table for a file: "loaded_sales" for "Sales.csv.gz", with letters of any script.

    Args:
        name: What the file is called.
        prefix: The environment's.
        part: A sheet of it. Defaults to none.
    """
    stem = PurePath(inner_name(name)).stem
    slug = _slug(f"{stem} {part}" if part else stem)
    whole = f"{prefix}loaded_{slug or 'file_' + _digest(name + part)}"
    return _cut(whole)


def _slug(text: str) -> str:
    """In lower case, with one underscore for each run of what is neither letter, digit nor a letter's mark."""
    normal = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    return re.sub(r"_+", "_", "".join(c if _is_word(c) else "_" for c in normal)).strip("_")


def _is_word(character: str) -> bool:
    return character == "_" or unicodedata.category(character)[0] in "LNM"


def _cut(name: str, suffix: str = "") -> str:
    """Shorten a name to at most 63 bytes; a digest replaces the end, so that names that differ stay different."""
    encoded = name.encode("utf-8", "replace")
    if len(encoded) + len(suffix) <= _LONGEST:
        return encoded.decode() + suffix
    tail = f"_{_digest(name)}{suffix}"
    return encoded[: _LONGEST - len(tail)].decode("utf-8", "ignore") + tail


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
