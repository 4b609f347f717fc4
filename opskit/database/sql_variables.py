"""The variables of an SQL file, in psql's own syntax: `:"files"` is an identifier, `:'limit'` a bound value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from psycopg import sql

from opskit.errors import QueryError

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


def statements_of(name: str, body: str) -> Iterator[Statement]:
    """The statements of an SQL text, in order.

    Args:
        name: The file's name without ".sql", for errors.
        body: Its text, without psql's own lines.

    Raises:
        QueryError: It has one of psql's raw interpolations.
    """
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
