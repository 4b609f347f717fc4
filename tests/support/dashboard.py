"""Pages of the dashboard, run as Streamlit runs them, their fixtures, and what the database says behind them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from psycopg import sql
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.testing.v1 import AppTest, app_test

import opskit.web.dashboard
from opskit import queue
from opskit.database import Database
from opskit.settings import Settings
from opskit.web.authorization import Caller
from opskit.web.dashboard import permission, sign_in

HERE = Path(opskit.web.dashboard.__file__).parent
Open = Callable[..., AppTest]
AWAY = ":material/cloud_off:"
"""What marks the banner of a database that is away."""
COMPILED = ScriptCache()
ROLES = {"OPSKIT_OPERATORS": "ann@example.com, *@ops.example.com", "OPSKIT_VIEWERS": "*@example.com"}


def fine(app: AppTest) -> bool:
    assert not app.exception, [element.message for element in app.exception]
    return True


def click(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert fine(app)
    return app


def said(app: AppTest) -> str:
    """Everything that the page says in words, without the backslashes that Markdown needs."""
    kinds = (app.error, app.warning, app.info, app.success, app.markdown, app.caption, app.html, app.code, app.metric)
    words = [f"{getattr(element, 'label', '')} {element.value}" for kind in kinds for element in kind]
    return re.sub(r"<style>.*?</style>", "", "\n".join(words), flags=re.DOTALL).replace("\\", "")


def metric(app: AppTest, label: str) -> str:
    return next(str(element.value) for element in app.metric if element.label == label)


def tables(app: AppTest) -> str:
    return "\n".join(element.value.to_string() for element in app.dataframe)


def execute(db: Database, statement: str, *values: Any) -> list[dict[str, Any]]:
    query = sql.SQL(statement).format(**{name: sql.Identifier(table) for name, table in db.names.items()})  # type: ignore[arg-type]  # literals of this file
    with db.connection() as connection:
        cursor = connection.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def old_claim(db: Database, name: str, minutes: float) -> str:
    """A claim of a server that nobody knows, as the application's older processors leave them."""
    rows = execute(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_server_id, processing_started_at) "
        "VALUES (%s, 'processing', 'legacy-1', clock_timestamp() - %s * interval '1 minute') RETURNING id::text AS id",
        name,
        minutes,
    )
    return str(rows[0]["id"])


def status(db: Database, file_id: str) -> str:
    return str(db.one("file", id=file_id)["processing_status"])


def choose(app: AppTest, parameter: str, *names: str) -> None:
    """Tick rows by their names, as an address does."""
    app.query_params[parameter] = list(names)
    app.run()
    assert fine(app)


SCANNED = cache(manifest_scanner.scan_component_manifests)


@pytest.fixture(scope="module", autouse=True)
def components_scanned_once() -> Iterator[None]:
    """Each opened app reads what all installed packages say of themselves, and compiles the scripts of all pages.

    That takes more than half of the time of these tests; once for a process is enough.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(manifest_scanner, "scan_component_manifests", SCANNED)
        patched.setattr(app_test, "ScriptCache", lambda: COMPILED)
        yield


@pytest.fixture
def open_page(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open a page of the dashboard over this test's database, as a browser on this machine does."""
    loopback = Caller.with_headers("127.0.0.1", {"Host": "127.0.0.1:8501", "Origin": "http://127.0.0.1:8501"}, None)
    monkeypatch.setattr(permission, "client", lambda: loopback)
    st.cache_resource.clear()

    def open_it(page: str = "overview.py", **variables: str) -> AppTest:
        for name, value in (settings.environ() | variables).items():
            monkeypatch.setenv(name, value)
        app = AppTest.from_file(HERE / "frame.py", default_timeout=90)
        if page != "overview.py":
            app.switch_page(f"views/{page}")
        app.run()
        assert fine(app)
        return app

    yield open_it
    st.cache_resource.clear()


@pytest.fixture
def full(db: Database) -> Database:
    """A database with something of everything."""
    execute(
        db,
        """
        INSERT INTO {nodes} (server_id, boot, host, pid, version, started_at, beat_at, lease_until, lease_seconds,
                             token, progress_done, progress_total, progress_at, stopped_at)
        SELECT 'node-' || n, gen_random_uuid(), 'host', n, '0', now() - interval '1 h',
               now() - CASE n WHEN 2 THEN 1 ELSE 0 END * interval '1 h',
               now() + CASE n WHEN 2 THEN -1 ELSE 1 END * interval '50 min', 3600,
               '00000000-0000-0000-0000-000000000001', 3, CASE n WHEN 1 THEN 4 END, now(),
               CASE n WHEN 3 THEN now() END
          FROM generate_series(1, 4) AS n
        """,
    )
    execute(
        db,
        """
        INSERT INTO {files} (original_filename, processing_status, processing_server_id, processing_started_at,
                             processing_completed_at, processing_errors, processing_token, processing_epoch)
        VALUES ('one *bold* [x](y).csv', 'processing', 'node-1', now() - interval '5 min', NULL, NULL,
                '00000000-0000-0000-0000-000000000001', 1),
               ('two.csv', 'processing', 'node-2', now() - interval '5 min', NULL, NULL,
                '00000000-0000-0000-0000-000000000002', 1),
               (NULL, 'completed', 'node-1', now() - interval '9 min', now() - interval '8 min', NULL, NULL, NULL),
               ('bad.csv', 'failed', 'node-1', now() - interval '9 min', now() - interval '8 min',
                'line 7 is $bad$', NULL, NULL),
               ('worse.csv', 'failed', NULL, NULL, NULL, 'line 8 is $bad$', NULL, NULL),
               ('waits.csv', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
               ('next.csv', 'queued', NULL, NULL, NULL, NULL, NULL, NULL)
        """,
    )
    queue.pause(db, "node-4", actor="ann", reason="disk *full*")
    queue.pause(db, "*", actor="ann", reason="")
    return db


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Somebody signs in, as Streamlit tells it; nobody by default."""
    monkeypatch.setattr(sign_in, "lacking", lambda: "")

    def somebody(email: str = "", **claims: object) -> None:
        user = {"is_logged_in": bool(email), "email": email, "email_verified": True, "iat": time.time()} | claims
        monkeypatch.setattr(st, "user", user)

    somebody()
    return somebody
