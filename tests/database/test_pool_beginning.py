"""The pool begins with the connection that has asked whether there is a database."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from opskit.database import Database
from opskit.database.session import SessionConnection
from opskit.errors import DatabaseUnavailableError
from opskit.settings import Settings
from tests.support import servers
from tests.support.api import run
from tests.support.waiting import eventually


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[SessionConnection]:
    """The connections that are made, in order."""
    connections: list[SessionConnection] = []
    connect = SessionConnection.connect

    def kept(*args: Any, **kwargs: Any) -> SessionConnection:
        connections.append(connect(*args, **kwargs))
        return connections[-1]

    monkeypatch.setattr(SessionConnection, "connect", kept)
    return connections


def test_one_connection_serves_one_thread_from_the_first_statement_on(
    database_url: str, settings: Settings, made: list[SessionConnection]
) -> None:
    with Database(settings) as database:
        pids = {run(database, "SELECT pg_backend_pid() AS pid")[0]["pid"] for _ in range(20)}

        assert pids == {made[0].info.backend_pid}
        assert len(made) == 1


def test_it_is_set_as_every_other_connection_of_the_pool(
    database_url: str, settings: Settings, made: list[SessionConnection]
) -> None:
    asked = "SELECT current_setting('statement_timeout') AS limit, current_setting('TimeZone') AS zone"
    with (
        Database(settings, statement_seconds=7) as database,
        database.connection() as one,
        database.connection() as other,
    ):
        rows = [connection.execute(asked).fetchone() for connection in (one, other)]

    assert rows == [{"limit": "7s", "zone": "UTC"}] * 2
    assert len(made) == 2


def test_threads_that_begin_together_leave_no_connection_open(
    database_url: str, settings: Settings, server: servers.Server, made: list[SessionConnection]
) -> None:
    together, ends = threading.Barrier(6), list[object]()
    with Database(settings) as database:

        def use() -> None:
            together.wait()
            ends.append(database.one("doctor/session"))

        threads = [threading.Thread(target=use) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(ends) == 6
    made.clear()  # one that was on its way back as the pool closed is open for as long as somebody holds it
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(server.url, autocommit=True) as other:
        eventually(lambda: other.execute(asked, [database_url.rpartition("/")[2]]).fetchone() == (0,), 20)


def test_a_pool_that_was_made_and_never_used_closes_it(
    database_url: str, settings: Settings, made: list[SessionConnection]
) -> None:
    database = Database(settings)
    database._pool.opened()

    database.close()

    assert [connection.closed for connection in made] == [True]


def test_a_database_that_is_not_there_is_told_at_once(
    database_url: str, settings: Settings, server: servers.Server, made: list[SessionConnection]
) -> None:
    server.drop_database(database_url)
    with Database(settings) as database, pytest.raises(DatabaseUnavailableError, match="does not exist"):
        database.one("doctor/session")
    assert made == []
