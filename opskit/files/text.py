"""Text: a file's blocks unpacked and as UTF-8, whatever its compression and its encoding."""

from __future__ import annotations

import codecs
import io
import zlib
from collections.abc import Iterator
from typing import Any

from opskit.errors import MissingExtraError, Reject
from opskit.files.kinds import BLOCK, mark_of
from opskit.files.limits import within_ratio

_ZSTD_PIECE = 1 << 10  # a block of zstd can become 32,768 times as long, and its decompressor has no limit
_ZSTD_WINDOW = 1 << 27
SAVE_AS_UTF_8 = "save it as UTF-8, or set OPSKIT_TEXT_ENCODING"
UTF_8 = ("utf-8", "utf8", "utf-8-sig")


def blocks_of(stream: io.BufferedReader, head: bytes = b"") -> Iterator[bytes]:
    """A stream's blocks; *head* is what has been read of it already."""
    block = head or stream.read(BLOCK)
    while block:
        yield block
        block = stream.read(BLOCK)


def unpacked(name: str, kind: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks of what a packed file holds.

    Args:
        name: What to call the file.
        kind: "gzip" or "zstd"; anything else passes as it is.
        blocks: The file's own.

    Raises:
        Reject: It is broken or cut off, or unpacks to far more than it is.
        MissingExtraError: What unpacks zstd is not installed.
    """
    if kind == "gzip":
        yield from _within(name, _gzip(name, blocks))
    elif kind == "zstd":
        yield from _within(name, _zstd(name, blocks))
    else:
        yield from blocks


def _within(name: str, pieces: Iterator[tuple[int, bytes]]) -> Iterator[bytes]:
    taken = given = 0
    for packed, block in pieces:
        taken += packed
        given += len(block)
        within_ratio(name, taken, given)
        for start in range(0, len(block), BLOCK):
            yield block[start : start + BLOCK]


def _gzip(name: str, blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Blocks with how many packed bytes each has taken; one member after the other, zeros after the last."""
    member: Any = None
    for packed in blocks:
        rest = packed
        while rest:
            if member is None:
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                member = zlib.decompressobj(wbits=31)
            try:
                given = member.decompress(rest, BLOCK)
            except zlib.error as error:
                raise Reject(f"{name} is a broken gzip file: {error}") from None
            left = member.unused_data if member.eof else member.unconsumed_tail
            taken, rest = len(rest) - len(left), left
            if member.eof:
                member = None
            yield taken, given
    if member is not None:
        raise Reject(f"{name} is cut off: its gzip data has no end")


def _zstd(name: str, blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError("zstandard", "formats") from None
    frame: Any = None
    for packed in blocks:
        for start in range(0, len(packed), _ZSTD_PIECE):
            rest = packed[start : start + _ZSTD_PIECE]
            taken = len(rest)
            while rest:
                frame = frame or zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
                try:
                    given = frame.decompress(rest)
                except zstandard.ZstdError as error:
                    raise Reject(f"{name} is a broken zstd file: {error}") from None
                rest = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = None
                yield taken, given
                taken = 0
    if frame is not None:
        raise Reject(f"{name} is cut off: its zstd data has no end")


def as_utf8(name: str, encoding: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks of a text as UTF-8, without its byte order mark, which goes before the encoding that is given.

    UTF-8 passes unchecked: PostgreSQL checks it, and knows the line.

    Raises:
        Reject: A byte is none of its encoding.
    """
    head = next(blocks, b"")
    while len(head) < 4 and (more := next(blocks, b"")):
        head += more
    mark, marked = mark_of(head)
    head = head[len(mark) :]
    if (marked or encoding).lower() in UTF_8:
        while mark and head.startswith(mark):  # some programs write two
            head = head[len(mark) :]
        if head:
            yield head
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(marked or encoding)()
    line, block, final = 1, head, False
    while not final:
        following = next(blocks, b"")
        final = not following
        try:
            text = decoder.decode(block, final)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].decode(marked or encoding, "ignore").count("\n")
            what = " ".join(f"0x{byte:02x}" for byte in error.object[error.start : error.end][:4])
            raise Reject(f"{name}, line {line}: not {(marked or encoding).upper()} (byte {what})") from None
        line += text.count("\n")
        if text:
            yield text.encode()
        block = following
