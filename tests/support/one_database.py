"""One database for the tests of a module that only put rows into it: to make one for each costs as much as ten claims.

A module asks for it by `pytestmark = pytest.mark.one_database`; a test of it that changes more than rows has a database
of its own by `@pytest.mark.one_database(False)`. The rows of a test go with it; the ids go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opskit.database import Database
from opskit.settings import Settings
from tests.support.tables import run

__all__ = ["database_url", "db", "one_database", "schema", "settings"]
TABLES = ("events", "logs", "pauses", "nodes", "files")
KEYS = {"pg_class": "oid", "pg_attribute": "attrelid", "pg_proc": "oid", "pg_trigger": "oid", "pg_constraint": "oid"}
# Whatever a statement changes of what is not the server's own, one of these numbers is another afterwards.
SCHEMA = " UNION ALL ".join(
    f"SELECT '{catalog}' AS catalog, count(*), max(xmin::text::bigint) FROM {catalog} WHERE {key} >= 16384"
    for catalog, key in KEYS.items()
)


def is_shared(request: pytest.FixtureRequest) -> bool:
    """Whether a test puts its rows into the database of its module."""
    mark = request.node.get_closest_marker("one_database")
    return mark is not None and mark.args != (False,)


@pytest.fixture(scope="module")
def one_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """The database of a module."""
    server, migrated = request.getfixturevalue("server"), request.getfixturevalue("migrated")
    home = request.getfixturevalue("tmp_path_factory").mktemp("home")
    times: dict[str, Any] = {"lease_seconds": 2.0, "poll_seconds": 0.2, "retry_seconds": 0.0}
    url = server.create_database(migrated)
    with Database(Settings.load({}, database_url=url, env="development", home=str(home), **times)) as database:
        yield database
    server.drop_database(url)


@pytest.fixture(scope="module")
def schema(one_database: Database) -> list[dict[str, Any]]:
    """What all tests of a module have to leave as it is."""
    with one_database.connection() as connection:
        return run(connection, SCHEMA)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of the module's database, or of one that only this test has."""
    if is_shared(request):
        return str(request.getfixturevalue("one_database").settings.database_url)
    return str(request.getfixturevalue("database_url"))


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    """Settings for that database, with short times."""
    settings = request.getfixturevalue("one_database" if is_shared(request) else "settings")
    return settings.settings if isinstance(settings, Database) else settings


@pytest.fixture
def db(request: pytest.FixtureRequest) -> Iterator[Database]:
    """That database, migrated."""
    if not is_shared(request):
        yield request.getfixturevalue("db")
        return
    shared: Database = request.getfixturevalue("one_database")
    before = request.getfixturevalue("schema")
    yield shared
    with shared.connection() as connection:
        assert run(connection, SCHEMA) == before, "it has changed more than rows: mark it one_database(False)"
        run(connection, "; ".join(f"DELETE FROM {shared.names[table]}" for table in TABLES))
