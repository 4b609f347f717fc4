"""JSON Lines: an object a line, its keys as columns; a value is kept as it is written.

Where msgspec is installed it finds the values' bytes: what stands in quotes without a backslash is the field of CSV
already. The way without it reads a line with Python's own decoder, and is also what says what is wrong with one.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]  # what its own object parser calls
from typing import Any

from opskit.errors import Reject
from opskit.files import collector
from opskit.files.claimed import ClaimedFile
from opskit.files.limits import LONGEST_JSON_LINE, MOST_COLUMNS
from opskit.files.table import Table, columns_of

_MOST_SHAPES = 10_000
_LONGEST_IN_PYTHON = 1 << 22  # its decoder makes an object of each value
_BLANK = re.compile(r"[ \t\r\n]*")
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN')
_JSON_TYPES = ("json", "jsonb")
Lines = Callable[[], Iterable[bytes]]


def open_jsonl(file: ClaimedFile, blocks: Lines) -> Table:
    """Look through the file for its keys; text columns, jsonb where a value is an object or a list.

    Args:
        file: The claimed file.
        blocks: Opens its text in UTF-8; read twice.

    Raises:
        Reject: A line is no JSON object.
    """
    reader = _Reader(file)
    keys: dict[str, str] = {}
    count = 0
    for chunk, records in reader.chunks(blocks()):
        count += len(records)
        _note_keys(keys, chunk, records)
        if len(keys) > MOST_COLUMNS:
            break
    columns = columns_of(file, keys, keys.values())

    def rows(types: Mapping[str, str]) -> Iterator[bytes]:
        nested = [types.get(column, kind) in _JSON_TYPES for column, kind in columns.items()]
        done = 0
        for chunk, records in reader.chunks(blocks()):
            yield reader.as_csv(chunk, records, list(keys), nested)
            done += len(records)
            file.progress(done, count)

    return Table(columns=columns, blocks=rows, unit="line", place=lambda row: reader.line_of(blocks(), row))


class _Chunk:
    """Whole lines of a file: their bytes, and the number of the first."""

    def __init__(self, text: bytes, first: int) -> None:
        self.text, self.first = text, first

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are not blank, with their numbers."""
        for number, line in enumerate(self.text.split(b"\n"), self.first):
            if line.strip(b" \t\r"):
                yield number, line

    @property
    def ends(self) -> int:
        """How many lines there are."""
        return self.text.count(b"\n") + (not self.text.endswith(b"\n"))

    @property
    def begins(self) -> int:
        """How many lines begin with an object."""
        return self.text.count(b"\n{") + self.text.startswith(b"{")

    @property
    def filled(self) -> int:
        """How many lines are not blank."""
        text = b"\n" + self.text
        if any(mark in text for mark in (b"\n\n", b"\n\r", b"\n ", b"\n\t")):
            return sum(1 for _ in self.lines())
        return self.ends


def _chunks(name: str, blocks: Iterable[bytes]) -> Iterator[_Chunk]:
    """A file's blocks as whole lines.

    Raises:
        Reject: A line is too long.
    """
    begun: list[bytes] = []
    number, length = 1, 0
    for block in itertools.chain(blocks, (b"",)):
        # DOS ends a text with Ctrl-Z.
        cut = block.rfind(b"\n") + 1
        if cut:
            text = b"".join([*begun, block[:cut]])
            yield _Chunk(text, number)
            number += text.count(b"\n")
            begun, length = [], 0
        begun.append(block[cut:])
        length += len(begun[-1])
        if length > LONGEST_JSON_LINE:
            raise Reject(f"{name}, line {number}: longer than {LONGEST_JSON_LINE >> 20} MB")
    if last := b"".join(begun).removesuffix(b"\x1a"):
        yield _Chunk(last, number)


class _Reader:
    """Reads chunks of lines; a record is a mapping of keys to their values as they are written."""

    def __init__(self, file: ClaimedFile) -> None:
        self._file = file
        try:
            import msgspec
        except ImportError:
            self._decoder: Any = None
        else:
            self._decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
            self._errors = (msgspec.MsgspecError, RecursionError)

    def chunks(self, blocks: Iterable[bytes]) -> Iterator[tuple[_Chunk, Sequence[Mapping[str, Any]]]]:
        """Lines with their records."""
        for chunk in _chunks(self._file.name, blocks):
            with collector.paused():
                records = self._records(chunk)
            yield chunk, records

    def _records(self, chunk: _Chunk) -> Sequence[Mapping[str, Any]]:
        if self._decoder is not None:
            try:
                records: list[Mapping[str, Any]] = self._decoder.decode_lines(chunk.text)
            except self._errors:
                pass
            else:
                # It takes two objects on a line for two, and one on two lines for one.
                if len(records) == chunk.ends == chunk.begins or len(records) == chunk.filled == chunk.begins:
                    return records
        return [self._record(number, line) for number, line in chunk.lines()]

    def _record(self, number: int, line: bytes) -> Mapping[str, Any]:
        """The record of one line, or what is wrong with it."""
        if self._decoder is not None:
            try:
                return self._decoder.decode(line)  # type: ignore[no-any-return]
            except self._errors as error:
                if len(line) > _LONGEST_IN_PYTHON:
                    raise Reject(f"{self._file.name}, line {number}: {error}") from error
        return self._members(number, line)

    def _members(self, number: int, line: bytes) -> dict[str, bytes]:
        where = f"{self._file.name}, line {number}"
        if len(line) > _LONGEST_IN_PYTHON:
            raise Reject(f"{where}: longer than {_LONGEST_IN_PYTHON >> 20} MB, which takes opskit[formats]")
        try:
            found = list(_members(line.decode()))
        except json.JSONDecodeError as error:
            begins, ends = line.lstrip()[:1], line.rstrip()[-1:]
            hint = ""
            if begins == b"[" or (begins == b"{" and line.strip() == b"{"):
                hint = "; JSON lines have one whole object on each line, without brackets or commas around them"
            elif error.msg == "Extra data" and ends in b",}":
                hint = "; JSON lines have one object on each line, and nothing after it"
            raise Reject(f"{where}: {error.msg} at character {error.pos + 1}{hint}") from error
        except UnicodeDecodeError as error:
            raise Reject(f"{where}: not UTF-8 (byte 0x{line[error.start]:02x})") from error
        except RecursionError as error:
            raise Reject(f"{where}: lists and objects are nested too deeply") from error
        record = dict(found)
        if len(record) < len(found):
            seen: set[str] = set()
            twice = next(key for key, _ in found if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise Reject(f"{where}: the key {twice!r} is there twice")
        try:
            return {key: raw.encode() for key, raw in record.items()}
        except UnicodeEncodeError as error:
            raise Reject(f"{where}: holds half a character") from error

    # -- writing -----------------------------------------------------------------------------

    def as_csv(
        self, chunk: _Chunk, records: Sequence[Mapping[str, Any]], keys: Sequence[str], nested: Sequence[bool]
    ) -> bytes:
        """The records as CSV."""
        text = chunk.text
        layout = tuple(keys)
        # Then each value is a field of CSV as it is written.
        plain = not any(nested) and not any(mark in text for mark in (b"\\", b"null", b"["))
        plain = plain and text.count(b"{") == len(records)
        lines: list[bytes] = []
        quotes = 0
        for index, record in enumerate(records):
            if plain and tuple(record) == layout:
                line = b",".join(record.values())
            else:
                try:
                    line = b",".join(
                        [_field(record.get(key), as_json) for key, as_json in zip(keys, nested, strict=True)]
                    )
                except UnicodeEncodeError as error:
                    half = f"\\u{ord(error.object[error.start]):04x}"
                    number = self._number(chunk, index)
                    raise Reject(f"{self._file.name}, line {number}: holds half a character ({half})") from error
                quotes += sum(bytes(value).count(b'"') for value in record.values()) - line.count(b'"')
            lines.append(line)
        lines.append(b"")
        block = b"\n".join(lines)
        # A key that is there twice hides the quotes of its first value.
        if text.count(b'"') != block.count(b'"') + quotes + 2 * sum(map(len, records)):
            for number, line in chunk.lines():
                if len(line) <= _LONGEST_IN_PYTHON:
                    self._members(number, line)
        return block

    def _number(self, chunk: _Chunk, index: int) -> int:
        return next(itertools.islice(chunk.lines(), index, None))[0]

    def line_of(self, blocks: Iterable[bytes], row: int) -> int:
        """The line on which a record stands, given its index from 1."""
        for chunk in _chunks(self._file.name, blocks):
            filled = chunk.filled
            if row <= filled:
                return self._number(chunk, row - 1)
            row -= filled
        return row


def _note_keys(keys: dict[str, str], chunk: _Chunk, records: Sequence[Mapping[str, Any]]) -> None:
    shapes: set[tuple[str, ...]] = set()
    flat = b"[" not in chunk.text and chunk.text.count(b"{") == len(records)
    for record in records:
        shape = tuple(record)
        if shape not in shapes:
            if len(shapes) < _MOST_SHAPES:
                shapes.add(shape)
            for key in shape:
                keys.setdefault(key, "text")
        if not flat:
            for key, value in record.items():
                if keys[key] == "text" and memoryview(value)[0] in b"{[":
                    keys[key] = "jsonb"


def _members(text: str) -> Iterator[tuple[str, str]]:
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


def _field(value: Any, as_json: bool) -> bytes:
    """A value as a field of CSV: as JSON in a column of that type, else a text as itself."""
    if value is None:
        return b""
    raw = bytes(value)
    if raw == b"null":
        return b""
    if raw[:1] == b'"' and not as_json:
        if b"\\" not in raw:
            return raw
        text: str = json.loads(raw)
        return b'"' + text.encode().replace(b'"', b'""') + b'"'
    if as_json or raw[:1] in (b"{", b"["):
        return b'"' + raw.replace(b'"', b'""') + b'"'
    return raw
