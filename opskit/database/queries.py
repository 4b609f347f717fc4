"""The SQL files: each query is one file in `sql/`, and the text an operator runs by hand is the text a node runs.

psql's own lines (they begin with a backslash) are for psql alone and are left out here.

After: aiosql, "SQL is code"; river, the loud template.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from types import MappingProxyType

from opskit.database.sql_variables import Statement, statements_of
from opskit.errors import QueryError
from opskit.support.resources import folder

FOLDER = folder("sql")
_EMPTY = re.compile(r"^\\if :\{\?(?P<name>\w+)\} \\else \\set (?P=name) '(?P<empty>(?:\{\})?)' \\endif$", re.MULTILINE)


def text(name: str) -> str:
    """The SQL of one query as it stands in its file, comments and all.

    Args:
        name: File name without ".sql", such as "distribution" or "migrate/columns".

    Raises:
        QueryError: There is no such file.
    """
    try:
        return (FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("[!_]*.sql")))
        raise QueryError(f"there is no query {name!r}; there are: {known}") from None


def standalone(name: str) -> str:
    """The SQL of one query with all that it includes (`\\ir`) in it: psql runs it from any folder, and from a pipe.

    Raises:
        QueryError: There is no such file.
    """

    def included(match: re.Match[str]) -> str:
        path = (FOLDER / name).parent / match["path"]
        return standalone(os.path.relpath(path, FOLDER).removesuffix(".sql"))

    return re.sub(r"^[ \t]*\\ir[ \t]+(?P<path>\S+)[ \t]*\n", included, text(name), flags=re.MULTILINE)


@functools.cache
def unfiltered(name: str) -> Mapping[str, str]:
    """The variables of one file that may be left out, with the empty text or list that psql gives them then.

    Most are filters, and let everything through. A variable with another default has to be given in Python.

    Raises:
        QueryError: There is no such file.
    """
    return MappingProxyType({match["name"]: match["empty"] for match in _EMPTY.finditer(text(name))})


@functools.cache
def statements(name: str) -> tuple[Statement, ...]:
    """The statements of one file, in order, ready to be composed."""
    body = "".join(line for line in text(name).splitlines(keepends=True) if not line.lstrip().startswith("\\"))
    return tuple(statements_of(name, body))


@functools.cache
def statement(name: str) -> Statement:
    """The one statement of a file that takes values."""
    found = statements(name)
    if len(found) != 1:
        raise QueryError(f"sql/{name}.sql holds {len(found)} statements where one is expected")
    return found[0]
