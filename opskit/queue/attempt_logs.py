"""The output of attempts, stored beside the history and read by every door."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

from opskit.database import Database

MOST_CHUNKS = 1000
"""How many chunks are read in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of an attempt's output, to be stored.

    Attributes:
        token: The attempt's claim.
        sequence: The place of its first byte in all that the attempt has said; None: it only empties another.
        size: Its length [bytes].
        text: What it says.
        over: The sequence of the chunk whose place it takes; None: it takes none.
    """

    token: str
    sequence: int | None
    size: int
    text: str
    over: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A position in the output of a file's attempts: reading goes on behind this piece.

    Attributes:
        attempt, sequence: The piece.
        end: Where it ends in all that its attempt has said [bytes].
    """

    attempt: int = 0
    sequence: int = -1
    end: int = 0

    @classmethod
    def of(cls, text: str) -> Place:
        """The place that a text names, as `str` wrote it; the beginning for an empty one."""
        return cls(*map(int, text.split("/"))) if text else cls()

    def __str__(self) -> str:
        return f"{self.attempt}/{self.sequence}/{self.end}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A piece of an attempt's output, as it is stored.

    Attributes:
        attempt: Which attempt at the file, from 1.
        token: Its claim.
        server_id: The node.
        sequence: The place of its first byte in all that the attempt has said.
        at: When it was kept.
        text: What it says.
        size: How long it was [bytes].
        left_out: How much before it is not kept [bytes].
    """

    attempt: int
    token: str
    server_id: str | None
    sequence: int
    at: datetime
    text: str
    size: int
    left_out: int

    @property
    def place(self) -> Place:
        """Where to go on behind it."""
        return Place(self.attempt, self.sequence, self.sequence + self.size)


def keep(db: Database, chunks: Iterable[Chunk]) -> None:
    """Keep chunks; those that are kept already change nothing.

    SQL: sql/log.sql
    """
    db.run("log", chunks=json.dumps([asdict(chunk) for chunk in chunks], ensure_ascii=False))


def read(db: Database, id: str, *, after: Place | None = None) -> list[Said]:
    """The stored output of a file's attempts, oldest first.

    Args:
        db: An open database.
        id: The file.
        after: The place of the last piece read before. Defaults to the beginning.

    Returns:
        At most `MOST_CHUNKS` pieces of at most 32 kB; empty when there is no more now.

    SQL: sql/logs.sql
    """
    return list(_read(db, id, after or Place()))


def _read(db: Database, id: str, after: Place) -> Iterator[Said]:
    attempt, end = after.attempt, after.end
    rows = db.run("logs", id=id, after_attempt=after.attempt, after_sequence=after.sequence, row_limit=MOST_CHUNKS)
    for row in rows:
        if row["attempt"] != attempt:
            attempt, end = row["attempt"], 0
        yield Said(**row, left_out=max(0, row["sequence"] - end))
        end = row["sequence"] + row["size"]
