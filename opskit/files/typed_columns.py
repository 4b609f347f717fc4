"""Infers types of text columns from all of their values, never from a sample.

The rows go into a temporary table first; PostgreSQL looks at each value there, and then casts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[dict[str, Any]]

STAGE = sql.Identifier("pg_temp", "opskit_loading")
_COLUMNS_AT_ONCE = 200
_DAY = r"(?!0000)\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?"
# 007 and +1 are texts: as numbers they would lose what makes them what they are.
_PATTERNS = {
    "bigint": r"^(0|-?[1-9]\d{0,17})$",
    "numeric": r"^-?(0|[1-9]\d{0,200})(\.\d{1,200})?$",
    "boolean": r"^(true|false)$",
    "date": rf"^{_DAY}$",
    "timestamp": rf"^{_DAY}[T ]{_CLOCK}$",
    "timestamptz": rf"^{_DAY}[T ]{_CLOCK}(Z|[+-](0\d|1[0-4]):?[0-5]\d)$",
}
_IS_A_DAY = (
    "substr({c}, 9, 2)::int <= date_part('day', make_date(substr({c}, 1, 4)::int, substr({c}, 6, 2)::int, 1)"
    " + interval '1 month - 1 day')"
)


def make_stage(connection: Connection, columns: Iterable[str]) -> None:
    """Make the temporary table: a column of text for each."""
    texts = (sql.SQL("{} text").format(sql.Identifier(name)) for name in columns)
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE opskit_loading ({}) ON COMMIT DROP").format(sql.SQL(", ").join(texts))
    )


def types_of_values(connection: Connection, columns: Mapping[str, str]) -> dict[str, str]:
    """The type that all values of a column have, for each column of text; the others keep theirs."""
    texts = [name for name, kind in columns.items() if kind == "text"]
    found = dict(columns)
    for start in range(0, len(texts), _COLUMNS_AT_ONCE):
        some = texts[start : start + _COLUMNS_AT_ONCE]
        tests = [_test(name, kind) for name in some for kind in _PATTERNS]
        query = sql.SQL("SELECT ARRAY[{}] AS fits FROM {}").format(sql.SQL(", ").join(tests), STAGE)
        (row,) = connection.execute(query)
        fits = iter(row["fits"])
        for name in some:
            verdicts = {kind: next(fits) for kind in _PATTERNS}
            found[name] = next((kind for kind, fit in verdicts.items() if fit), "text")
    return found


def _test(name: str, kind: str) -> sql.Composable:
    column = sql.Identifier(name)
    matches = sql.SQL("{} ~ {}").format(column, sql.Literal(_PATTERNS[kind]))
    if kind in ("date", "timestamp", "timestamptz"):
        # CASE, and not AND: the day is taken for a number only where it is one.
        matches = sql.SQL("CASE WHEN {} THEN {} ELSE false END").format(matches, sql.SQL(_IS_A_DAY).format(c=column))
    return sql.SQL("bool_and({})").format(matches)


def insert_from_stage(connection: Connection, target: sql.Identifier, types: Mapping[str, str]) -> int:
    """Cast the rows into the table; how many it has taken."""
    names = sql.SQL(", ").join(map(sql.Identifier, types))
    values = sql.SQL(", ").join(
        sql.SQL("CAST({} AS {})").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in types.items()
    )
    return connection.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(target, names, values, STAGE)
    ).rowcount
