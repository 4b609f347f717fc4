"""JSON Lines: an object a line, its keys as columns."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.table import MOST_COLUMNS, Table, Written, as_csv, as_json, as_text, columns_of

_LONGEST_LINE = 1 << 26
_DECODER = json.JSONDecoder(parse_float=Written, parse_constant=str)


def open_jsonl(file: ClaimedFile, stream: io.BufferedReader) -> Table:
    """Look through the file for its keys; text columns, jsonb where a value is an object or a list."""
    keys: dict[str, str] = {}
    count = 0
    for record in _records(file, stream):
        count += 1
        for key, value in record.items():
            if isinstance(value, (dict, list)):
                keys[key] = "jsonb"
            else:
                keys.setdefault(key, "text")
        if len(keys) > MOST_COLUMNS:
            break

    def rows() -> Iterator[list[str | None]]:
        with file.open() as again:
            for record in _records(file, again):
                yield [as_json(record.get(key)) if nested else as_text(record.get(key)) for key, nested in layout]

    columns = columns_of(file, keys, keys.values())
    layout = [(key, kind == "jsonb") for key, kind in keys.items()]
    return Table(columns=columns, blocks=as_csv(file, rows(), count))


def _records(file: ClaimedFile, stream: io.BufferedReader) -> Iterator[dict[str, Any]]:
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise Reject(f"{file.name}, line {number}: longer than {_LONGEST_LINE >> 20} MB")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            record = _DECODER.decode(text) if text.strip() else None
        except (ValueError, RecursionError) as error:
            raise Reject(f"{file.name}, line {number}: {error}") from error
        if isinstance(record, dict):
            yield record
        elif text.strip():
            raise Reject(f"{file.name}, line {number}: not a JSON object")
