"""The SQL files, read as psql reads them.

Each query is one file in `sql/`, written in psql's own variable syntax, so that the text an operator
runs by hand is the text a node runs: `:"files"` is an identifier, `:'limit'` a bound value.
psql's own lines (they begin with a backslash) are for psql alone and are left out here.

After: aiosql, "SQL is code"; river, the loud template.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping

from psycopg import sql

from opskit.errors import QueryError
from opskit.support.resources import folder

FOLDER = folder("sql")
# The first alternative that fits wins: whatever is quoted or commented out holds no variables.
_TOKEN = re.compile(
    r"""
      (?P<skip> --[^\n]*                              # comment to the end of the line
              | /\*.*?\*/                             # block comment
              | (?<![:\w])'(?:[^']|'')*'              # literal
              | (?<!:)"(?:[^"]|"")*"                  # quoted name
              | (?P<dollar>\$\w*\$).*?(?P=dollar)     # dollar-quoted body
              | ::                                    # a cast is no variable
      )
    | :"(?P<name>\w+)"
    | :'(?P<value>\w+)'
    | (?P<bare>:[a-zA-Z_]\w*)                         # psql's raw interpolation: never ours
    | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)


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
def statements(name: str) -> tuple[Statement, ...]:
    """The statements of one file, in order, ready to be composed."""
    body = "".join(line for line in text(name).splitlines(keepends=True) if not line.lstrip().startswith("\\"))
    return tuple(_split(name, body))


@functools.cache
def statement(name: str) -> Statement:
    """The one statement of a file that takes values."""
    found = statements(name)
    if len(found) != 1:
        raise QueryError(f"sql/{name}.sql holds {len(found)} statements where one is expected")
    return found[0]


class Statement:
    """One SQL statement with named holes for identifiers and values."""

    def __init__(self, source: str, pieces: list[tuple[str, str]]) -> None:
        self.source = source
        self._pieces = pieces
        self.names = frozenset(content for kind, content in pieces if kind == "name")
        self.values = frozenset(content for kind, content in pieces if kind == "value")

    def compose(self, names: Mapping[str, str]) -> sql.Composed:
        """Fill in the identifiers; values stay placeholders, to be bound by the driver.

        Raises:
            QueryError: An identifier is missing.
        """
        missing = self.names - names.keys()
        if missing:
            raise QueryError(f"{self.source} needs the name {sorted(missing)[0]!r}")
        # A literal % would be taken for a placeholder by the driver, but only where values are bound.
        double = bool(self.values)
        parts: list[sql.Composable] = []
        for kind, content in self._pieces:
            if kind == "name":
                name = names[content]
                parts.append(sql.SQL(_doubled(sql.Identifier(name).as_string(), double)))
            elif kind == "value":
                parts.append(sql.Placeholder(content))
            else:
                parts.append(sql.SQL(_doubled(content, double)))
        return sql.Composed(parts)

    def numbered(self, names: Mapping[str, str]) -> tuple[bytes, dict[str, bool]]:
        """The text with $1, $2, … for its values, as libpq itself takes it.

        Returns:
            The text; the values in order, each with whether it is a uuid.

        Raises:
            QueryError: An identifier is missing.
        """
        after = [content for _, content in self._pieces[1:]] + [""]
        order: dict[str, bool] = {}
        for (kind, content), follows in zip(self._pieces, after, strict=True):
            if kind == "value":
                order.setdefault(content, follows.startswith("::uuid"))
        text = self.compose(names).as_string()
        if order:  # then the driver's placeholders stand in it, and percent signs are doubled
            text %= {name: f"${number}" for number, name in enumerate(order, 1)}
        return text.encode(), order

    def check(self, values: Mapping[str, object]) -> None:
        """See that exactly the values that the statement names are there."""
        if values.keys() != self.values:
            missing, extra = self.values - values.keys(), values.keys() - self.values
            problem = f"is not given {sorted(missing)[0]!r}" if missing else f"does not know {sorted(extra)[0]!r}"
            raise QueryError(f"{self.source} {problem}")


def _doubled(content: str, double: bool) -> str:
    return content.replace("%", "%%") if double else content


def _split(name: str, body: str) -> Iterator[Statement]:
    pieces: list[tuple[str, str]] = []
    source = f"sql/{name}.sql"
    start = 0
    for match in _TOKEN.finditer(body):
        kind = match.lastgroup
        if kind in ("skip", "dollar"):
            continue
        if kind == "bare":
            raise QueryError(f"{source} has {match['bare']}; write :\"…\" for a name or :'…' for a value")
        pieces.append(("sql", body[start : match.start()]))
        start = match.end()
        if kind in ("name", "value"):
            pieces.append((kind, match[kind]))
        elif _says_something(pieces):
            yield Statement(source, pieces)
            pieces = []
    pieces.append(("sql", body[start:]))
    if _says_something(pieces):
        yield Statement(source, pieces)


def _says_something(pieces: list[tuple[str, str]]) -> bool:
    """Whether there is more than white space and comments."""
    return any(
        kind != "sql" or re.sub(r"--[^\n]*|/\*.*?\*/", "", content, flags=re.DOTALL).strip() for kind, content in pieces
    )
