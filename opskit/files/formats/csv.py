"""CSV: its rows pass through to COPY as they are; a file that COPY would read differently is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.formats.dialect import Dialect, dialect_of
from opskit.files.kinds import BLOCK
from opskit.files.limits import LONGEST_RECORD
from opskit.files.line_count import breaks
from opskit.files.refusals import MARKUP
from opskit.files.table import Table, columns_of
from opskit.files.text import SAVE_AS_UTF_8

_QUOTED_OR_END = re.compile(rb'"[^"]*+(?:"|\Z)|\r\n|\r|\n')
_END_MARK = re.compile(rb"(?<=[\r\n])\\\.(?=[\r\n])")
_MARK_WITHIN = re.compile(rb"(?:\A|[\r\n])\xef\xbb\xbf")
_JSON = re.compile(rb'\s*(?:\{|\[\s*\{?)\s*"')  # as CSV it would have a quote within a field
_LINE_ENDS = b"\r\n"
_PIECE = 1 << 18  # what is checked at once stays in the processor's cache, and PostgreSQL does not wait for it


def open_csv(
    file: ClaimedFile,
    blocks: Iterator[bytes],
    again: Callable[[], Iterator[bytes]],
    *,
    delimiter: str = "",
    tabs: bool = False,
) -> Table:
    """Read the header; the rows pass through.

    Args:
        file: The claimed file.
        blocks: Its text in UTF-8.
        again: Opens it once more, to tell the line of an error.
        delimiter: What separates its fields. Defaults to what header and rows say.
        tabs: It is a TSV file.

    Raises:
        Reject: The header cannot be read.
    """
    head = b""
    for block in blocks:
        head += block
        if len(head) >= BLOCK:
            break
    if MARKUP.match(head):
        raise Reject(f"{file.name} is a page of HTML or XML and no table; save it as CSV or as .xlsx")
    if _JSON.match(head):
        raise Reject(f"{file.name} holds JSON and no CSV; name it .jsonl, with one object on each line")
    whole = len(head) < BLOCK
    dialect = dialect_of(file.name, _text(file, head), whole=whole, delimiter=delimiter, tabs=tabs)
    scan = Scan(file.name, dialect)

    return Table(
        columns=columns_of(file, dialect.names),
        blocks=lambda _: scan.checked(head, blocks),
        delimiter=dialect.delimiter,
        header=True,
        locate=lambda line: scan.line_of(again(), line),
        unit="line",
        said={"delimiter": dialect.delimiter},
    )


def _text(file: ClaimedFile, head: bytes) -> str:
    try:
        # The block may end within a character.
        return head[: len(head) - _unfinished(head)].decode()
    except UnicodeDecodeError as error:
        line = head.count(b"\n", 0, error.start) + 1
        raise Reject(f"{file.name}, line {line}: not UTF-8 (byte 0x{head[error.start]:02x}); {SAVE_AS_UTF_8}") from None


def _unfinished(block: bytes) -> int:
    """How many bytes at the end of a block may be the beginning of a character."""
    for back in range(1, min(4, len(block)) + 1):
        byte = block[-back]
        if byte >= 0xC0:
            return back if back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) else 0
        if byte < 0x80:
            return 0
    return 0


class Scan:
    r"""What a CSV file's quotes and line ends say, block by block.

    PostgreSQL opens a quote anywhere in a field, and wants all lines to end alike. So a quote that stands within an
    unquoted field is refused, and line ends are made alike. A line that is only `\.` is refused: before version 18,
    PostgreSQL ends there and says nothing. So is a line that begins with a byte order mark: two files were put
    together, and the second one's header would be a row.
    """

    def __init__(self, name: str, dialect: Dialect) -> None:
        self._name, self._dialect = name, dialect
        self._newline = dialect.newline.encode()
        outside = re.escape(dialect.delimiter.encode()) + rb"\r\n"
        self._stray = re.compile(rb'[^"' + outside + rb']"|"[^"' + outside + rb"]")
        plain = bytes(set(range(256)) - set(b'"\r\n' + dialect.delimiter.encode()))
        self._signs = bytes.maketrans(plain, b"x" * len(plain))
        self._inside, self._before = False, b"\n"
        self._lines, self._since_line = dialect.hint_lines, 0

    def checked(self, head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The rows' bytes, without empty lines and a Ctrl-Z at the end, which COPY takes for short rows."""
        start = self._dialect.header_start
        pieces = (block[at : at + _PIECE] for block in blocks for at in range(0, len(block), _PIECE))
        held, block = b"", head[start:]
        while True:
            following = next(pieces, b"")
            block = held + block
            if not following:
                block = _without_end(block)
            # A line end may go on in the next block, and the last ones of the file are none of its rows.
            body = block.rstrip(_LINE_ENDS)
            if len(block) - len(body) > BLOCK:
                body = block.rstrip(b"\r")
            held = block[len(body) :]
            if body:
                yield self._check(body, final=not following)
            if not following:
                return
            block = following

    def _check(self, block: bytes, *, final: bool = False) -> bytes:
        """The same with its line ends alike.

        Raises:
            Reject: A quote stands where none may, a line is only `\\.`, or a row is too long.
        """
        inside, quotes = self._inside, b'"' in block
        # Every second piece is quoted; a regular expression takes three times as long to say so.
        parts = block.split(b'"') if quotes else [block]
        outside = parts[inside::2]
        rest = b'"'.join(outside)
        if inside and outside:
            rest = b'"' + rest
        self._inside = inside ^ (len(parts) % 2 == 0)
        window = rest if inside else self._before + rest
        if (quotes or b'"' in self._before) and self._is_stray(window):
            raise self._refusal(block, inside)
        if b"\\" in window and _END_MARK.search(window + (b"\n" if final else b"")):
            line = self._line_of(_END_MARK, parts, inside, after=b"\n" if final else b"")
            what = r"a line that is only \., where PostgreSQL may stop reading; write it in quotes"
            raise Reject(f"{self._name}, line {line}: {what}")
        if b"\xef\xbb\xbf" in window and _MARK_WITHIN.search(window):
            raise self._two_files(parts, inside)
        self._before = window[-3:] or self._before
        if self._uneven(rest):
            parts[inside::2] = [self._alike(part) for part in outside]
            block = b'"'.join(parts)
        self._since_line = 0 if self._newline in rest else self._since_line + len(block)
        if self._since_line > LONGEST_RECORD:
            raise Reject(
                f"{self._name} has a row of more than {LONGEST_RECORD >> 20} MB: perhaps a quote is not closed"
            )
        self._lines += block.count(self._newline)
        return block

    def _is_stray(self, window: bytes) -> bool:
        """Whether a quote stands within an unquoted field, each quoted text being one quote; the next block goes on."""
        signs = window.translate(self._signs)
        return b'x"' in signs or b'"x' in signs or (self._inside and signs.endswith(b"x"))

    def line_of(self, blocks: Iterator[bytes], line: int) -> int:
        """On which line of the file the row begins in which PostgreSQL found something, given the line that it names.

        Within quotes PostgreSQL counts one of the two kinds of line breaks, and before the first row ends the other.
        """
        scan, counted = Scan(self._name, self._dialect), b"\n" if self._newline == b"\n" else b"\r"
        theirs, ours, first, inside = 1, self._dialect.hint_lines + 1, True, False
        begins = ours
        for block in scan.checked(next(blocks, b""), blocks):
            for found in _QUOTED_OR_END.finditer(b'"' + block if inside else block):
                if found[0].startswith(b'"'):
                    ours += breaks(found[0])
                    theirs += found[0].count(b"\r" if first else counted)
                elif theirs >= line:
                    return begins
                else:
                    theirs, ours, first = theirs + 1, ours + 1, False
                    begins = ours
            inside = (block.count(b'"') + inside) % 2 == 1
        return begins

    def _uneven(self, rest: bytes) -> bool:
        """Whether a line ends otherwise than the header."""
        returns = rest.count(b"\r")
        if self._newline == b"\n":
            return returns > 0
        if self._newline == b"\r":
            return b"\n" in rest
        pairs = rest.count(b"\r\n")
        return pairs != returns or pairs != rest.count(b"\n")

    def _alike(self, text: bytes) -> bytes:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return text if self._newline == b"\n" else text.replace(b"\n", self._newline)

    def _two_files(self, parts: list[bytes], inside: bool) -> Reject:
        return Reject(
            f"{self._name}, line {self._line_of(_MARK_WITHIN, parts, inside)}: the line begins with a byte order mark, "
            "as a file does: perhaps two files were put together; upload each by itself"
        )

    def _line_of(self, pattern: re.Pattern[bytes], parts: list[bytes], inside: bool, after: bytes = b"") -> int:
        """The line at whose beginning a pattern is found outside quotes."""
        passed = b""
        for place in range(inside, len(parts), 2):
            before = b'"' if place else self._before
            last = after if place == len(parts) - 1 else b""
            if found := pattern.search(before + parts[place] + last):
                end = max(found.end() - len(before), 0)
                passed = b'"'.join([*parts[:place], parts[place][:end]])
                break
        return self._lines + 1 + passed.count(self._newline)

    def _refusal(self, block: bytes, inside: bool) -> Reject:
        line = self._lines + 1 + _line_of_stray(block, inside, self._before, self._stray, self._newline)
        return Reject(
            f"{self._name}, line {line}: a quote stands within a field that does not begin with one; "
            'a field that holds a quote is written "so ""quoted"" here"'
        )


def _line_of_stray(block: bytes, inside: bool, before: bytes, stray: re.Pattern[bytes], newline: bytes) -> int:
    """How many lines end before the first quote that stands where none may."""
    text = (b'"' if inside else before[-1:]) + block
    for found in re.finditer(rb'"[^"]*+(?:"|\Z)', text):
        around = text[found.start() - 1 : found.start()] + b'"' + text[found.end() : found.end() + 1]
        if stray.search(around):
            return text.count(newline, 1, found.start())
    return 0


def _without_end(block: bytes) -> bytes:
    """The last block without the Ctrl-Z that DOS puts at the end."""
    return block.rstrip(_LINE_ENDS + b"\x1a")
