"""What the API says when something is wrong: a status and one sentence."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from opskit.database import Database
from opskit.errors import DatabaseError
from opskit.settings import Settings
from tests.support.api import GETS, Client, served
from tests.support.shared_database import SharedDatabase
from tests.support.tables import boot

CLEANUP = "/api/processing/cleanup-stale-locks"


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("path", [*(f"/api/processing/{name}" for name in GETS), "/api/metrics", "/metrics"])
def test_a_database_that_is_away_is_a_503_and_never_zeros(nowhere: Client, path: str) -> None:
    response = nowhere.get(path)

    assert response.status_code == 503
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith("the database cannot be reached")
    assert "Passw0rd" not in response.text


def test_writing_to_a_database_that_is_away_is_a_503_too(nowhere: Client, settings: Settings) -> None:
    assert nowhere.post(CLEANUP).status_code == 503
    assert nowhere.post("/api/processing/files", files={"files": ("a.csv", b"x")}).status_code == 503
    assert not Path(settings.storage_root).exists() or not list(Path(settings.storage_root).iterdir())


@pytest.mark.parametrize("url", ["postgresql://me:Passw0rd@[::/x", "postgresql://me:Passw0rd@host:port/x"])
def test_a_url_that_cannot_be_used_is_a_503_without_its_password(settings: Settings, url: str) -> None:
    shared = SharedDatabase(dataclasses.replace(settings, database_url=url), statement_seconds=0.2)

    for path in ("/api/processing/distribution", "/healthz"):
        response = served(shared, settings).get(path)
        assert response.status_code == 503
        assert "Passw0rd" not in response.text
    shared.close()


def test_tables_that_are_not_migrated_are_a_503_with_the_command(settings: Settings) -> None:
    with Database(settings) as database:
        response = served(database, settings).get("/api/processing/concurrency-stats")

    assert response.status_code == 503
    assert response.json()["error"].endswith("run: opskit migrate")


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/api/nonsense", 404, "there is nothing at /api/nonsense"),
        ("GET", "/api/processing/nodes/", 404, "there is nothing at /api/processing/nodes/"),
        ("GET", CLEANUP, 405, f"GET is not allowed at {CLEANUP}"),
        ("POST", "/api/processing/nodes", 405, "POST is not allowed at /api/processing/nodes"),
        ("DELETE", "/api/processing/files", 405, "DELETE is not allowed at /api/processing/files"),
        ("PUT", "/healthz", 405, "PUT is not allowed at /healthz"),
        ("POST", "/metrics", 405, "POST is not allowed at /metrics"),
    ],
)
def test_wrong_paths_and_methods_are_json(http: Client, method: str, path: str, status: int, sentence: str) -> None:
    response = http.request(method, path)

    assert response.status_code == status
    assert response.json() == {"error": sentence}
    assert (status == 405) == ("allow" in response.headers)


@pytest.mark.fast_cases(10)
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("requeue", None, 422),
        ("requeue", {}, 400),
        ("requeue", {"ids": []}, 400),
        ("requeue", {"ids": ["1"], "failed": True}, 400),
        ("requeue", {"ids": ["1"], "error": "x"}, 400),
        ("requeue", {"ids": ["not a number"]}, 400),
        ("requeue", {"ids": ["1"], "nonsense": 1}, 422),
        ("requeue", {"failed": True, "error": "nul \0"}, 422),
        ("pause", {"serverID": "node-a"}, 422),
        ("pause", {"serverId": ""}, 422),
        ("pause", [], 422),
        ("cleanup-stale-locks", {"claims": "1/x"}, 422),
        ("cleanup-stale-locks", "text", 422),
        ("files", {}, 422),
    ],
)
def test_a_bad_body_is_refused_in_one_sentence(http: Client, path: str, body: Any, status: int) -> None:
    response = (
        http.post(f"/api/processing/{path}", json=body) if body is not None else http.post(f"/api/processing/{path}")
    )

    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert "\n" not in response.json()["error"]


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize(
    "body",
    [
        rb'{"failed": true, "error": "\ud800"}',
        rb'{"failed": true, "error": "\u0000"}',
        b'{"failed": true, "error": "\xff"}',
        rb'{"ids": ["\ud800"]}',
        b'{"ids": [%s]}' % (b"9" * 30),
        b'{"ids": [%s]}' % (b"9" * 6000),
        b'{"ids": [1e400]}',
        b'{"ids": [NaN]}',
        b'{"ids": [true]}',
        b'{"ids": ["1"], "limit": %s}' % (b"9" * 60),
        b'{"ids": %s}' % (b"[" * 100_000),
        b'{"ids": ["1\\"},{"]}',
    ],
    ids=lambda body: repr(body[:30]),
)
def test_hostile_json_is_refused_in_one_sentence(http: Client, body: bytes) -> None:
    response = http.post("/api/processing/requeue", content=body, headers={"content-type": "application/json"})

    assert response.status_code in (400, 422)
    assert list(response.json()) == ["error"]


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize(
    "body",
    [
        b'{"serverId": "a", "serverId": "*"}',
        b'{"reason": "a", "serverId": "b", "reason": "a"}',
        b'{"serverId": "a", "server\\u0049d": "*"}',
        b'\n\t{ "serverId":"a" ,\r\n"serverId":"a"}',
        '{"serverId": "a", "serverId": "*"}'.encode("utf-16"),
        b'[{"x": {"serverId": 1, "serverId": 2}}]',
    ],
)
@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/x+json", "text/plain"]
)
def test_a_body_that_names_a_key_twice_is_refused(db: Database, http: Client, body: bytes, kind: str) -> None:
    for path in ("pause", "resume", "requeue", "cleanup-stale-locks"):
        response = http.post(f"/api/processing/{path}", content=body, headers={"content-type": kind})
        assert response.status_code == 400
        assert "twice" in response.json()["error"]
    assert db.run("pauses") == []


def test_a_body_in_pieces_is_read_once_and_whole(db: Database, http: Client) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"serverId": "no', b'de-a", "rea', b'son": "x"}'):
            yield piece

    boot(db, "node-a")
    answer = http.post("/api/processing/pause", content=pieces(), headers={"content-type": "application/json"})

    assert answer.json()["serverId"] == "node-a"
    too_large = http.post("/api/processing/pause", content=b" " * (1 << 20) + b"{}")
    assert too_large.status_code == 413


@pytest.mark.fast_cases(10)
@pytest.mark.parametrize(
    "query",
    [
        "longest-running?limit=0",
        "longest-running?limit=99999999999999999999",
        "failures?limit=many",
        "stale?every=perhaps",
        "throughput?sinceSeconds=0",
        "throughput?sinceSeconds=inf",
        "throughput?sinceSeconds=31536000&bucketSeconds=1",
        "events?fileId=%00",
        "events?cursor=-1",
        "events?cursor=99999999999999999999",
        "files?status=done",
        "files?cursor=yesterday",
        "files?cursor=2026-13-45T00:00:00Z/1",
        "files?cursor=2026-11-25T00:00:00Z",
    ],
)
def test_a_bad_parameter_is_refused_in_one_sentence(http: Client, query: str) -> None:
    response = http.get(f"/api/processing/{query}")

    assert response.status_code in (400, 422)
    assert list(response.json()) == ["error"]


def test_a_surprise_is_a_500_without_its_text(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Database:
        raise RuntimeError("secret detail")

    with caplog.at_level(logging.ERROR):
        response = served(broken, settings).get("/api/processing/nodes")
    assert response.status_code == 500
    assert response.json() == {"error": "something went wrong here; the log of this process says what"}
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(("state", "status"), [("57014", 503), ("25006", 503), ("42501", 500), ("23505", 400)])
def test_what_postgresql_refuses_is_one_sentence(settings: Settings, state: str, status: int) -> None:
    def refusing() -> Database:
        error = DatabaseError("PostgreSQL says: no")
        error.sqlstate = state
        raise error

    response = served(refusing, settings).get("/api/processing/nodes")
    assert (response.status_code, response.json()) == (status, {"error": "PostgreSQL says: no"})
