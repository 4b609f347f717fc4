"""Which file a person means: by its id, its name, or a part of its name that no other has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import OpskitError
from opskit.queue import row_content
from opskit.stats.list_rows import SEARCH_ROWS, may_be_an_id
from opskit.support import console

MOST = 20


def ids_of(db: Database, words: Sequence[str]) -> list[str]:
    """The ids of files that are named by id, or by a whole name that one file has: what acts takes no part of a name.

    A word that may be an id is one: whether there is such a file, the verb says.

    Raises:
        OpskitError: A word is no id, and not the name of one file.
    """
    return [word if may_be_an_id(db, word) else file_of(db, word, whole=True)["id"] for word in words]


def say_left(ids: Sequence[str], rows: Iterable[Mapping[str, Any]], why: str) -> None:
    """Say which of the files that were named a verb has left alone; nothing where it has left none."""
    taken = {row["id"] for row in rows}
    if rest := [id for id in dict.fromkeys(ids) if id not in taken]:
        console.out.print(f"{why}: {', '.join(rest)}")


def file_of(db: Database, wanted: str, *, whole: bool = False) -> Row:
    """The file with this id; else the one with this name, or, unless the *whole* is wanted, with this in it.

    Raises:
        OpskitError: There is none, or more than one.
    """
    by_id = row_content.file(db, wanted) if wanted else None
    if by_id is not None:
        return by_id
    rows = [] if not wanted else db.run(
        "files_list", status="", server_id="", search=wanted, of_lane="", ids=[], search_rows=SEARCH_ROWS,
        before_at="", before_id="", row_limit=MOST + 1,
    )  # fmt: skip
    exact = [row for row in rows if row["original_filename"] == wanted]
    rows = exact if exact or whole else rows
    if not rows:
        raise OpskitError(f"there is no file with the id or the name {wanted!r} ({db.settings.env})")
    if len(rows) > 1:
        more = "" if len(rows) <= MOST else " and more"
        listed = ", ".join(
            f"{row['id']} ({row['original_filename']}, {row['processing_status']})" for row in rows[:MOST]
        )
        raise OpskitError(f"{wanted!r} is the name of {len(rows[:MOST])} files{more}; say which id: {listed}")
    found = row_content.file(db, rows[0]["id"])
    if found is None:
        raise OpskitError(f"there is no file with the id or the name {wanted!r} ({db.settings.env})")
    return found
