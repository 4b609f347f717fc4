"""Limits of what a file may unpack to, so that a small one neither fills a node's memory nor blocks it for an hour."""

from __future__ import annotations

from collections.abc import Iterator

from opskit.errors import Reject

MOST_COLUMNS = 1599
"""PostgreSQL's 1600, less _file_id."""
LONGEST_HEADER = 1 << 20
"""A CSV header has to end within the first block [bytes]."""
LONGEST_RECORD = 1 << 26
"""A row of a CSV file [bytes]."""
LONGEST_JSON_LINE = 1 << 24
"""A line of JSON lines [bytes]."""
LARGEST_PART = 1 << 24
"""A part of a workbook that is neither a sheet nor its texts [bytes]."""
MOST_SHEET_ROWS, MOST_SHEET_COLUMNS = 1 << 20, 1 << 14
"""Excel's own limits."""
FREE_BYTES = 1 << 24
"""What a compressed file may become in any case [bytes]."""
MOST_TIMES = 200
"""How many times its size a compressed file may become beyond that."""
MOST_TIMES_OF_XML = 100
"""The same for a part of a workbook."""


def within_ratio(name: str, packed: int, unpacked: int, times: int = MOST_TIMES) -> None:
    """Refuse what unpacks to far more than it is.

    Raises:
        Reject: It does.
    """
    if unpacked > FREE_BYTES + times * packed:
        raise Reject(f"{name} unpacks to more than {FREE_BYTES >> 20} MB and {times} times its size; unpack it first")


def capped(name: str, blocks: Iterator[bytes], packed: int) -> Iterator[bytes]:
    """Blocks of a part of an archive, as long as they are no more than its packed size justifies."""
    unpacked = 0
    for block in blocks:
        unpacked += len(block)
        within_ratio(name, packed, unpacked, MOST_TIMES_OF_XML)
        yield block
