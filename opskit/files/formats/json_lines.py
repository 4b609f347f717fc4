"""JSON Lines: an object a line, its keys as columns; a value is kept as it is written.

Where msgspec is installed it finds the values' bytes: what stands in quotes without a backslash is the field of CSV
already. The way without it reads a line with Python's own decoder, and is also what says what is wrong with one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from opskit.errors import Reject
from opskit.files import collector
from opskit.files.claimed import ClaimedFile
from opskit.files.formats.json_members import members_of
from opskit.files.limits import LONGEST_JSON_LINE, MOST_COLUMNS
from opskit.files.table import LateColumnError, Table, columns_of
from opskit.files.text import SAVE_AS_UTF_8

_FIRST_PORTION = 1 << 22
_MOST_SHAPES = 10_000
_LONGEST_IN_PYTHON = 1 << 22  # its decoder makes an object of each value
_JSON_TYPES = ("json", "jsonb")
Lines = Callable[[], Iterable[bytes]]
Row = tuple[Any, ...]
"""A record's values in the order of the columns, as they are written; None where it has none."""


def open_jsonl(file: ClaimedFile, blocks: Lines) -> Table:
    """Look through the file's beginning for its keys; text columns, jsonb where a value is an object or a list.

    What comes later may have other keys, or the first object under a key: then the table's blocks raise
    `LateColumnError`, and the table of the whole file takes its place. So most files are read once.

    Args:
        file: The claimed file.
        blocks: Opens its text in UTF-8.

    Raises:
        Reject: A line is no JSON object.
    """
    return _opened(file, blocks, _FIRST_PORTION)


def _opened(file: ClaimedFile, blocks: Lines, portion: int | None) -> Table:
    """The table with the columns of so many bytes; of all when they hold no key, or when it is None."""
    reader = _Reader(file)
    keys: dict[str, str] = {}
    read, is_whole = 0, True
    for chunk, records in reader.chunks(blocks()):
        if portion is not None and read >= portion and keys:
            is_whole = False
            break
        read += len(chunk.text)
        _note_keys(keys, chunk, records)
        if len(keys) > MOST_COLUMNS:
            break
    columns = columns_of(file, keys, keys.values())

    def rows(types: Mapping[str, str]) -> Iterator[bytes]:
        nested = [types.get(column, kind) in _JSON_TYPES for column, kind in columns.items()]
        yield from reader.as_csv(blocks(), list(keys), nested, is_whole=is_whole)

    return Table(
        columns=columns,
        blocks=rows,
        unit="line",
        place=lambda row: reader.line_of(blocks(), row),
        whole=None if is_whole else lambda: _opened(file, blocks, None),
    )


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

    def has(self, count: int) -> bool:
        """Whether so many objects are one a line: a decoder takes two on a line for two, and one on two for one."""
        return count == self.begins and (count == self.ends or count == self.filled)

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
                if chunk.has(len(records)):
                    return records
        return [self._record(number, line) for number, line in chunk.lines()]

    def _record(self, number: int, line: bytes) -> Mapping[str, Any]:
        """The record of one line, or what is wrong with it."""
        if self._decoder is not None:
            try:
                return self._decoder.decode(line)  # type: ignore[no-any-return]
            except self._errors as error:
                if len(line) > _LONGEST_IN_PYTHON:
                    raise Reject(f"{self._file.name}, line {number}: {error}") from None
        return self._members(number, line)

    def _members(self, number: int, line: bytes) -> dict[str, bytes]:
        where = f"{self._file.name}, line {number}"
        if len(line) > _LONGEST_IN_PYTHON:
            raise Reject(f"{where}: longer than {_LONGEST_IN_PYTHON >> 20} MB, which takes opskit[formats]")
        try:
            found = list(members_of(line.decode()))
        except json.JSONDecodeError as error:
            begins, ends = line.lstrip()[:1], line.rstrip()[-1:]
            hint = ""
            if begins == b"[" or (begins == b"{" and line.strip() == b"{"):
                hint = "; JSON lines have one whole object on each line, without brackets or commas around them"
            elif begins == b"\xef":
                hint = "; a byte order mark begins the line: perhaps two files were put together"
            elif error.msg == "Extra data" and ends in b",}":
                hint = "; JSON lines have one object on each line, and nothing after it"
            elif begins not in (b"{", b'"'):
                hint = "; JSON lines have one object on each line"
            what = error.msg.removesuffix(" starting at")
            raise Reject(f"{where}: {what} at character {error.pos + 1}{hint}") from None
        except UnicodeDecodeError as error:
            raise Reject(f"{where}: not UTF-8 (byte 0x{line[error.start]:02x}); {SAVE_AS_UTF_8}") from None
        except RecursionError:
            raise Reject(f"{where}: lists and objects are nested too deeply") from None
        record = dict(found)
        if len(record) < len(found):
            seen: set[str] = set()
            twice = next(key for key, _ in found if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise Reject(f"{where}: the key {twice!r} is there twice")
        try:
            return {key: raw.encode() for key, raw in record.items()}
        except UnicodeEncodeError:
            raise Reject(f"{where}: holds half a character") from None

    # -- writing -----------------------------------------------------------------------------

    def as_csv(
        self, blocks: Iterable[bytes], keys: Sequence[str], nested: Sequence[bool], *, is_whole: bool
    ) -> Iterator[bytes]:
        """The records as CSV, a block for each chunk.

        Args:
            blocks: The file's text.
            keys: The columns.
            nested: Which of them are written as JSON.
            is_whole: The file has no others, and objects and lists in no others.

        Raises:
            LateColumnError: It has.
        """
        decoder = self._decoder_of(keys)
        known = set(keys)
        for chunk in _chunks(self._file.name, blocks):
            with collector.paused():
                rows = self._rows(decoder, chunk)
                if rows is None:
                    records = self._records(chunk)
                    if not is_whole and not all(known.issuperset(record) for record in records):
                        raise LateColumnError
                    rows = [tuple(map(record.get, keys)) for record in records]
                    members = sum(map(len, records))
                else:
                    members = len(rows) * len(keys)
                block = self._block(chunk, rows, nested, members, is_whole=is_whole)
            yield block

    def _decoder_of(self, keys: Sequence[str]) -> Any:
        """Decodes records that have all of these keys and no other, at half the cost.

        None without msgspec, and for keys that it does not take, with quotes, backslashes or control characters.
        """
        if self._decoder is None:
            return None
        import msgspec

        fields = [(f"f{place}", msgspec.Raw, msgspec.field(name=key)) for place, key in enumerate(keys)]
        try:
            return msgspec.json.Decoder(msgspec.defstruct("Record", fields, forbid_unknown_fields=True, gc=False))
        except ValueError:
            return None

    def _rows(self, decoder: Any, chunk: _Chunk) -> list[Row] | None:
        """The values of each record, by such a decoder; None where a record has other keys, or something is wrong."""
        if decoder is None:
            return None
        try:
            records = decoder.decode_lines(chunk.text)
        except self._errors:
            return None
        if not chunk.has(len(records)):
            return None
        import msgspec

        return list(map(msgspec.structs.astuple, records))

    def _block(
        self, chunk: _Chunk, rows: Sequence[Row], nested: Sequence[bool], members: int, *, is_whole: bool
    ) -> bytes:
        """A chunk's rows as CSV.

        Args:
            chunk: Where they stand.
            rows: Their values, as they are written or None.
            nested: Which columns are written as JSON.
            members: How many keys the records have.
            is_whole: Objects and lists are in no other columns.
        """
        text = chunk.text
        odd = [mark for mark in (b"\\", b"null", b"[") if mark in text]
        if text.count(b"{") != len(rows):
            odd.append(b"{")
        plain = not any(nested)
        lines: list[bytes] = []
        quotes = 0
        for index, row in enumerate(rows):
            if plain:
                try:
                    line = b",".join(row)
                except TypeError:  # a key is missing
                    line = b",".join([value or b"" for value in row])
                # Then each value is a field of CSV as it is written.
                if not odd or not any(mark in line for mark in odd):
                    lines.append(line)
                    continue
            try:
                line = b",".join([_field(value, as_json, is_whole) for value, as_json in zip(row, nested, strict=True)])
            except UnicodeEncodeError as error:
                half = f"\\u{ord(error.object[error.start]):04x}"
                number = self._number(chunk, index)
                raise Reject(f"{self._file.name}, line {number}: holds half a character ({half})") from None
            quotes += sum(bytes(value).count(b'"') for value in row if value is not None) - line.count(b'"')
            lines.append(line)
        lines.append(b"")
        block = b"\n".join(lines)
        # A key that is there twice hides the quotes of its first value.
        if text.count(b'"') != block.count(b'"') + quotes + 2 * members:
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


def _field(value: Any, as_json: bool, is_whole: bool) -> bytes:
    """A value as a field of CSV: as JSON in a column of that type, else a text as itself.

    Raises:
        LateColumnError: It is nested in a column that had no such value before, in the part that was looked through.
    """
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
    if not as_json and not is_whole and raw[:1] in (b"{", b"["):
        raise LateColumnError
    if as_json or raw[:1] in (b"{", b"["):
        return b'"' + raw.replace(b'"', b'""') + b'"'
    return raw
