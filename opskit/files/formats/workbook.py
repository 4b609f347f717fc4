"""The parts of an Excel workbook (.xlsx): its sheets, its styles and its shared texts, within bounds.

A workbook is a zip archive of XML. Its parts are read as streams and never taken for true: a part that unpacks to far
more than it is, is refused, and so is a document type, which could expand without end.
"""

from __future__ import annotations

import io
import itertools
import mmap
import posixpath
import re
import tempfile
import zipfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO
from xml.parsers import expat

from opskit.errors import Reject
from opskit.files import collector
from opskit.files.kinds import BLOCK
from opskit.files.limits import LARGEST_PART, capped

_IN_MEMORY, _OF_AN_OBJECT = 1 << 25, 48
_MOST_PARTS = 10_000
_LONGEST_TOKEN = 1 << 22
_DATES = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_ELAPSED = re.compile(r"\[[hms]+\]", re.I)
_NO_DATE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
_TEXT = re.compile(rb'<si>\s*<t(?: xml:space="preserve")?>([^<]*)</t>\s*</si>|<si>\s*<t\s*/>\s*</si>')
_ENTITY = re.compile(rb"&(?:(lt|gt|amp|quot|apos)|#(\d{1,7})|#x([0-9A-Fa-f]{1,6}));")
_NAMED = {b"lt": b"<", b"gt": b">", b"amp": b"&", b"quot": b'"', b"apos": b"'"}
_ESCAPE = re.compile(rb"_x([0-9A-Fa-f]{4})_")


class NotPlainError(Exception):
    """XML that only a real parser can read."""


@dataclass(frozen=True, slots=True)
class SheetPart:
    """A sheet of a workbook: its name, its part, and whether a person sees it."""

    name: str
    path: str
    visible: bool


class Workbook:
    """An open workbook.

    Attributes:
        size: The file's size [bytes].
        sheets: Its sheets of cells, in their order.
        since_1904: Its days are counted from 1904.
        to_be_calculated: The program that wrote it asks for its formulas to be calculated when it is opened.
        formats: For each style "date", "elapsed" or "".
        texts: Its shared texts, as fields of CSV.
    """

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self._name = name
        try:
            self._zip = zipfile.ZipFile(stream)
        except zipfile.BadZipFile:
            raise Reject(f"{name} is cut off or broken: it does not end as a workbook does; upload it again") from None
        self.size = stream.seek(0, io.SEEK_END)
        entries = self._zip.infolist()
        if len(entries) > _MOST_PARTS:
            raise Reject(f"{name} is a workbook of more than {_MOST_PARTS} parts")
        self._parts = {entry.filename.replace("\\", "/").lstrip("/").lower(): entry for entry in entries}
        self.since_1904 = self.to_be_calculated = False
        self.sheets: list[SheetPart] = []
        self.formats: list[str] = []
        main = next(iter(self._relations("", "/officeDocument").values()), "xl/workbook.xml")
        self._read_book(main)
        for path in self._relations(main, "/styles").values():
            self._read_styles(path)
        self.texts = Texts()
        for path in self._relations(main, "/sharedStrings").values():
            self._read_texts(path)

    def blocks(self, path: str) -> Iterator[bytes]:
        """The bytes of a part, as long as they are no more than its packed size justifies."""
        entry = self._parts[path.lower()]
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Reject(f"{self._name} is packed in a way that workbooks are not")
        with self._zip.open(entry) as part:
            yield from capped(self._name, iter(lambda: part.read(BLOCK), b""), entry.compress_size)

    def parse(
        self,
        path: str,
        start: Callable[[str, dict[str, str]], None],
        end: Callable[[str], None] = lambda tag: None,
        text: Callable[[str], None] | None = None,
        *,
        small: bool = True,
    ) -> None:
        """Read a part with a real parser, which calls back with tags without their prefixes."""
        parser = parser_of(self._name, start, end, text)
        for size in fed(self._name, parser, self.blocks(path)):
            if small and size > LARGEST_PART:
                raise Reject(f"{self._name} has a part {path} of more than {LARGEST_PART >> 20} MB")

    def _relations(self, part: str, kind: str) -> dict[str, str]:
        """The parts that one refers to, of one kind, by their ids."""
        folder, base = posixpath.split(part)
        path = posixpath.join(folder, "_rels", f"{base}.rels")
        found: dict[str, str] = {}

        def start(tag: str, given: dict[str, str]) -> None:
            if tag == "Relationship" and given.get("Type", "").endswith(kind):
                target = posixpath.normpath(posixpath.join("/", folder, given.get("Target", "").replace("\\", "/")))
                found[given.get("Id", "")] = target.lstrip("/")

        if path.lower() in self._parts:
            self.parse(path, start)
        return found

    def _read_book(self, path: str) -> None:
        targets = self._relations(path, "/worksheet")

        def start(tag: str, given: dict[str, str]) -> None:
            if tag == "sheet":
                id = next((value for key, value in given.items() if key.rpartition(":")[2] == "id"), "")
                if id in targets:
                    visible = given.get("state", "visible") == "visible"
                    self.sheets.append(SheetPart(given.get("name", ""), targets[id], visible))
            elif tag == "workbookPr":
                self.since_1904 = _is_true(given.get("date1904"))
            elif tag == "calcPr":
                self.to_be_calculated = _is_true(given.get("fullCalcOnLoad"))

        self.parse(path, start)

    def _read_styles(self, path: str) -> None:
        codes: dict[int, str] = {}
        within: list[str] = []

        def start(tag: str, given: dict[str, str]) -> None:
            within.append(tag)
            if tag == "numFmt":
                codes[int(given.get("numFmtId", "0"))] = given.get("formatCode", "")
            elif tag == "xf" and "cellXfs" in within[-2:]:
                self.formats.append(_format_kind(int(given.get("numFmtId", "0")), codes))

        self.parse(path, start, lambda tag: within.__delitem__(-1))

    def _read_texts(self, path: str) -> None:
        try:
            with collector.paused():
                self._read_plain_texts(path)
        except NotPlainError:
            self.texts = Texts()
            self._parse_texts(path)

    def _read_plain_texts(self, path: str) -> None:
        rest = b""
        for block in self.blocks(path):
            block = rest + block
            cut = block.rfind(b"</si>") + 5
            if cut < 5:
                rest = block
                if len(rest) > LARGEST_PART:
                    raise NotPlainError
                continue
            block, rest = block[:cut], block[cut:]
            found = _TEXT.findall(block)
            if b"<!" in block or len(found) != block.count(b"</si>") or b":si" in block or b"<si/" in block:
                raise NotPlainError
            if b"&" in block or b'"' in block or b"\r" in block or b"_x" in block:
                self.texts.extend(list(map(csv_field, found)))
            else:
                self.texts.extend([b'"' + text + b'"' for text in found])
        if b"</sst>" not in rest:
            raise NotPlainError

    def _parse_texts(self, path: str) -> None:
        pieces: list[str] = []
        state = {"t": False, "phonetic": False}

        def start(tag: str, given: dict[str, str]) -> None:
            if tag == "si":
                pieces.clear()
            elif tag == "rPh":
                state["phonetic"] = True
            elif tag == "t":
                state["t"] = not state["phonetic"]

        def end(tag: str) -> None:
            if tag == "si":
                self.texts.extend([quoted_text("".join(pieces))])
            elif tag == "rPh":
                state["phonetic"] = False
            elif tag == "t":
                state["t"] = False

        def text(data: str) -> None:
            if state["t"]:
                pieces.append(data)

        self.parse(path, start, end, text, small=False)


class Texts:
    """Texts by number, as fields of CSV; on disk when they are many.

    Attributes:
        longest: The length of the longest [bytes].
    """

    def __init__(self) -> None:
        self._few: list[bytes] = []
        self._size = 0
        self.longest = 0
        self._ends = array("Q", [0])
        self._bytes: mmap.mmap | None = None
        self._file: Any = None

    def extend(self, fields: Sequence[bytes]) -> None:
        """Keep fields, in memory or in a file."""
        self.longest = max(self.longest, max(map(len, fields), default=0))
        self._size += sum(map(len, fields)) + _OF_AN_OBJECT * len(fields)
        if self._file is None:
            self._few += fields
            if self._size <= _IN_MEMORY:
                return
            fields, self._few = self._few, []
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the texts
        self._file.write(b"".join(fields))
        self._ends.extend(itertools.accumulate(map(len, fields), initial=self._ends.pop()))

    def __getitem__(self, number: int) -> bytes:
        if number < 0:
            raise IndexError(number)
        if self._file is None:
            return self._few[number]
        if self._bytes is None:
            self._file.flush()
            self._bytes = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._bytes[self._ends[number] : self._ends[number + 1]]

    def of(self, numbers: Iterable[bytes]) -> Iterable[bytes]:
        """The texts of such numbers.

        Raises:
            NotPlainError: There is none of such a number; the slower way names the row.
        """
        try:
            return list(map(self._few.__getitem__ if self._file is None else self.__getitem__, map(int, numbers)))
        except IndexError:
            raise NotPlainError from None


def parser_of(
    name: str,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None] | None,
) -> Any:
    """A parser of XML that calls back with tags without their prefixes, and refuses a document type."""
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: Any) -> None:
        raise Reject(f"{name} declares a document type, which workbooks do not have")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda tag, given: start(tag.rpartition(":")[2], given)
    parser.EndElementHandler = lambda tag: end(tag.rpartition(":")[2])
    if text is not None:
        parser.CharacterDataHandler = text
    return parser


def fed(name: str, parser: Any, blocks: Iterator[bytes]) -> Iterator[int]:
    """Give a parser its blocks; after each, how many bytes that were.

    Raises:
        Reject: A tag, a comment or a text has no end: a parser reads it anew with each block.
    """
    size = 0
    for block in blocks:
        size += len(block)
        parser.Parse(block, False)
        if size - parser.CurrentByteIndex > _LONGEST_TOKEN:
            raise Reject(f"{name} cannot be read: a tag or a text in it is longer than {_LONGEST_TOKEN >> 20} MB")
        yield size
    parser.Parse(b"", True)
    yield size


def csv_field(text: bytes) -> bytes:
    """Text of XML, as it is written, as a field of CSV.

    Raises:
        NotPlainError: It has an entity that only a real parser knows.
    """
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"&" in text:
        if text.count(b"&") != len(_ENTITY.findall(text)):
            raise NotPlainError
        text = _ENTITY.sub(_character, text)
    if b"_x" in text:
        text = _ESCAPE.sub(_escaped, text)
    return b'"' + text.replace(b'"', b'""') + b'"' if b'"' in text else b'"' + text + b'"'


def quoted_text(text: str) -> bytes:
    """Text as a field of CSV."""
    encoded = text.encode("utf-8", "surrogatepass")
    if b"_x" in encoded:
        encoded = _ESCAPE.sub(_escaped, encoded)
    return b'"' + encoded.replace(b'"', b'""') + b'"'


def _character(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return _NAMED[found[1]]
    code = int(found[2]) if found[2] else int(found[3], 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000 or (code < 32 and code not in (9, 10, 13)):
        raise NotPlainError
    return chr(code).encode()


def _escaped(found: re.Match[bytes]) -> bytes:
    return chr(int(found[1], 16)).encode("utf-8", "surrogatepass")


def _format_kind(number: int, codes: dict[int, str]) -> str:
    code = codes.get(number)
    if code is None:
        return "elapsed" if number == 46 else "date" if number in _DATES else ""
    code = code.partition(";")[0]
    if _ELAPSED.search(code):
        return "elapsed"
    bare = _NO_DATE.sub("", code).lower().replace("general", "").replace("am/pm", "h").replace("a/p", "h")
    return "date" if set(bare) & set("dmyhs") else ""


def _is_true(value: str | None) -> bool:
    return value in ("1", "true", "on")
