"""Reads DATABASE_URL for libpq, also when it was written for another library.

One URL serves an application and opskit: SQLAlchemy, Django, Prisma and JDBC each write it in their own way. What is
harmless is understood; of everything else one sentence says what to write. No sentence shows a password.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from opskit.errors import SettingError
from opskit.support.logs import masked

_SHAPE = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_UNREADABLE = (
    f"DATABASE_URL cannot be read as {_SHAPE}; in the password write %40 for @, %3A for :, %2F for /, %3F for ?, "
    "%23 for #, %25 for %"
)
_SCHEMES = frozenset({"postgresql", "postgres", "psql", "pgsql", "postgis"})
# What Prisma, Rails, Django, SQLAlchemy, pgx and JDBC tell themselves in a URL: how they pool, prepare and log.
_OF_OTHERS = frozenset(
    """
    pgbouncer connection_limit pool_timeout socket_timeout pool pool_size max_overflow pool_max_conns pool_min_conns
    conn_max_age conn_health_checks prepared_statements statement_cache_size prepared_statement_cache_size
    prepared_statement_name_func reconnect checkout_timeout encoding unicode async_fallback preparethreshold
    prepare_threshold statement_cache_mode default_query_exec_mode logunclosedconnections rewritebatchedinserts
    stringtype tcpkeepalive supa connection_timeout
    """.split()  # noqa: SIM905  # a list of so many words is read more easily as text
)
_SEARCH_PATHS = frozenset({"schema", "currentschema", "search_path"})


def understood(url: str) -> str:
    """The URL as libpq takes it.

    Raises:
        SettingError: It is none of PostgreSQL's, or cannot be read.
    """
    given = url.strip()
    scheme, separator, rest = given.removeprefix("jdbc:").partition("://")
    if not separator:
        if "=" not in given:
            raise SettingError(f"DATABASE_URL has no scheme; it must look like {_SHAPE}")
        return given  # keywords and values: host=… dbname=…
    if not re.fullmatch(r"[A-Za-z][\w.+-]*", scheme):
        return given  # keywords again, one of whose values holds ://
    if scheme.partition("+")[0].lower() not in _SCHEMES:
        raise SettingError(f"DATABASE_URL begins with {scheme}://, which is not PostgreSQL; write {_SHAPE}")
    place, question, query = rest.partition("?")
    head, _, tail = place.partition("/")
    port = re.fullmatch(r"[^:]*|\[.*|.*:\d*(,.*)?", head)
    if "@" not in head and ("@" in tail or ("@" in query and not port)):
        raise SettingError(_UNREADABLE)  # a password with a slash or a question mark
    return "postgresql://" + place + (question + _query(query) if query else "")


def parsed(url: str) -> dict[str, Any]:
    """The parameters of a connection, from what `understood` answers.

    Raises:
        SettingError: libpq cannot read it.
    """
    try:
        found = {key: value for key, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.ProgrammingError as error:
        # What libpq says quotes what it stumbled over: perhaps a piece of the password.
        if "://" in url and "@" in url:
            raise SettingError(_UNREADABLE) from None
        if "password" in url.lower():
            raise SettingError(
                "DATABASE_URL cannot be read; put values with spaces or quotes between ' and '"
            ) from None
        raise SettingError(f"DATABASE_URL cannot be used: {masked(str(error).strip())}") from None
    if "@" in str(found.get("host", "")):
        raise SettingError(_UNREADABLE)
    return found


def _query(query: str) -> str:
    """The query's parameters that libpq knows; a schema becomes the session's search path."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | {"ssl"}
    kept: list[tuple[str, str]] = []
    paths = []
    for key, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):
        low = key.lower()
        if low in known:
            if low == "ssl":
                # JDBC's, node's and asyncpg's word; true, require and no-verify all ask for TLS.
                key, value = "sslmode", {"true": "require", "1": "require", "no-verify": "require", "false": "disable",
                                         "0": "disable"}.get(value.lower(), value)  # fmt: skip
            kept.append((low if low == "sslmode" else key, value))
        elif low in _SEARCH_PATHS:
            paths.append(f"-c search_path={_path(value)}")
        elif low not in _OF_OTHERS:
            raise SettingError(f"DATABASE_URL has the parameter {key!r}, which PostgreSQL does not know; leave it out")
    if paths:
        paths += [value for key, value in kept if key == "options"]
        kept = [(key, value) for key, value in kept if key != "options"] + [("options", " ".join(paths))]
    return urlencode(kept, quote_via=quote)


def _path(value: str) -> str:
    """A schema, or several, as a search path within libpq's options, where a space ends an option."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]*(,\s*[a-z_][a-z0-9_]*)*", value):
        value = '"' + value.replace('"', '""') + '"'
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
