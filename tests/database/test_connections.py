"""The connections themselves: one pool for all threads, forks, copies, the end, and judgement by SQLSTATE alone."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import psycopg_pool
import pytest
from psycopg import sql

from opskit import stats
from opskit.database import Database
from opskit.database.error_translation import server_answers
from opskit.errors import ConnectionClosedError, DatabaseError, DatabaseUnavailableError
from opskit.settings import Settings
from tests.support.tables import application, run


def test_threads_that_need_the_pool_first_together_get_one(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    whole = psycopg_pool.ConnectionPool

    class Counted(whole):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(self)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(psycopg_pool, "ConnectionPool", Counted)
    together, engines = threading.Barrier(8), []

    def use() -> None:
        together.wait()
        engines.append(db.engine)
        db.one("doctor/session")

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 1
    assert len(set(map(id, engines))) == 1


@pytest.mark.parametrize("pooled", [True, False])
def test_a_closed_connection_says_so(settings: Settings, db: Database, pooled: bool) -> None:
    with Database(settings, pooled=pooled) as own:
        own.one("doctor/session")

    with pytest.raises(ConnectionClosedError, match=r"^This connection was closed; call opskit\.connect"):
        own.one("doctor/session")
    with pytest.raises(ConnectionClosedError):
        _ = own.engine


def _counted(db: Database) -> int:
    return len(stats.distribution(db))


def test_a_forked_process_uses_the_open_database_of_its_parent(db: Database) -> None:
    before = len(stats.distribution(db))
    pid = db.one("doctor/session")

    with multiprocessing.get_context("fork").Pool(2) as pool:
        counts = pool.map_async(_forked, [0, 1]).get(30)

    assert counts == [before, before]
    assert pid
    assert len(stats.distribution(db)) == before


_shared: list[Database] = []


@pytest.fixture(autouse=True)
def shared(request: pytest.FixtureRequest) -> None:
    _shared.clear()
    if "db" in request.fixturenames:
        _shared.append(request.getfixturevalue("db"))


def _forked(_: int) -> int:
    return _counted(_shared[0])


def test_a_pickled_database_is_opened_again(db: Database) -> None:
    with pickle.loads(pickle.dumps(db)) as again:
        assert again.settings == db.settings
        assert _counted(again) == _counted(db)


def test_an_error_through_the_engine_is_one_of_ours(db: Database, settings: Settings) -> None:
    with pytest.raises(DatabaseError, match="PostgreSQL says: division by zero"):
        pd.read_sql("SELECT 1/0", db.engine)

    away = dataclasses.replace(settings, database_url="postgresql://127.0.0.1:9/nowhere")
    with Database(away) as nowhere, pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        pd.read_sql("SELECT 1", nowhere.engine)


def test_a_refusal_and_silence_are_told_apart_whatever_the_language(settings: Settings, db: Database) -> None:
    url = settings.database_url or ""
    parameters = psycopg.conninfo.conninfo_to_dict(url)
    with application(settings) as connection:
        name = sql.Identifier(str(parameters["dbname"] or ""))
        run(connection, "ALTER DATABASE {} CONNECTION LIMIT 0", name)
        run(connection, "CREATE ROLE limited LOGIN PASSWORD 'limited'")
    try:
        for given, lives in (
            ({"user": "limited", "password": "limited"}, True),
            ({"password": "wrong"}, True),
            ({"dbname": "nowhere"}, True),
            ({"port": "9"}, False),
            ({"host": "no-such-host.invalid"}, False),
        ):
            tried = {**parameters, **given}
            with pytest.raises(psycopg.OperationalError) as failed:
                psycopg.connect(**tried).close()  # type: ignore[arg-type]

            assert server_answers(tried, failed.value) is lives
    finally:
        with psycopg.connect(url.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
            connection.execute("DROP ROLE limited")


def test_a_home_in_a_folder_above_is_found_unless_it_is_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tmp_path / "project" / "notebooks"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert Settings.load({}).home_path == below / ".opskit"

    home = tmp_path / "project" / ".opskit"
    home.mkdir()
    assert Settings.load({}).home_path == home
    assert Settings.load({"OPSKIT_HOME": "here"}).home_path == below / "here"

    monkeypatch.setattr(os, "geteuid", lambda: home.stat().st_uid + 1)
    assert Settings.load({}).home_path == below / ".opskit"


def test_a_connection_shows_its_home(db: Database) -> None:
    assert str(db.settings.home_path) in repr(db)
    assert str(db.settings.home_path) in db._repr_html_()
