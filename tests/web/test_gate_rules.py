"""What a connection must show before anything reads it, and a body before it is read: each rule at its edge."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import pytest
from fastapi import FastAPI, Request

from opskit.settings import Settings
from opskit.web import middleware, throttle
from opskit.web.api import guard as api_guard
from opskit.web.api.beside_sign_in import TokenAlone
from tests.support.asgi_calls import called, scope, status, through

SETTINGS = Settings.load({})


# -- what every connection passes ------------------------------------------------------------------


def admitted(connection: dict[str, Any], **settings: Any) -> int:
    own = dataclasses.replace(SETTINGS, **{"host": "127.0.0.1"} | settings)
    return status(middleware.Admission(through, own), connection)


@pytest.mark.parametrize(
    ("connection", "settings", "expected"),
    [
        (scope(), {}, 200),
        (scope(("content-length", "1"), ("transfer-encoding", "chunked"), method="POST"), {}, 400),
        (scope(("host", "127.0.0.1"), ("host", "127.0.0.1")), {}, 400),
        (scope(("origin", "http://127.0.0.1:8501"), ("origin", "http://127.0.0.1:8501")), {}, 400),
        (scope(("host", "evil.example")), {}, 403),
        (scope(("host", "evil.example")), {"host": "0.0.0.0", "api_token": "a"}, 200),
        (scope(("host", "evil.example")), {"host": "0.0.0.0", "api_token": "a", "hosts": "ops.example.com"}, 403),
        (scope(("host", "ops.example.com")), {"hosts": "ops.example.com"}, 200),
        (scope(client=("192.0.2.7", 5)), {}, 403),
        (scope(client=("192.0.2.7", 5)), {"api_token": "a"}, 200),
        (scope(("host", "evil.example"), client=("192.0.2.7", 5), path="/healthz"), {}, 200),
        (scope(client=("192.0.2.7", 5), path="/root/healthz", root_path="/root"), {}, 200),
        (scope(client=("192.0.2.7", 5), path="/healthz/more"), {}, 403),
        (scope(("origin", "http://evil.example"), method="POST"), {}, 403),
        (scope(("origin", "http://evil.example")), {}, 200),
        (scope(("origin", "http://evil.example"), type="websocket"), {}, 1008),
        (scope(("host", "evil.example"), type="websocket"), {}, 1008),
    ],
)
def test_a_connection_is_admitted_by_its_name_its_place_and_its_page(
    connection: dict[str, Any], settings: dict[str, Any], expected: int
) -> None:
    assert admitted(connection, **settings) == expected


def test_where_people_sign_in_others_are_admitted_to_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSKIT_VIEWERS", "*@example.com")

    assert admitted(scope(client=("192.0.2.7", 5))) == 200


@pytest.mark.parametrize(("path", "kept"), [("/", True), ("/api/x", False), ("/metrics", False), ("/apis", True)])
def test_what_the_api_says_is_kept_by_no_browser(path: str, kept: bool) -> None:
    (start, _) = called(middleware.SecurityHeaders(through), scope(path=path))

    assert ((b"cache-control", b"no-store") in start["headers"]) is not kept
    assert (b"x-frame-options", b"DENY") in start["headers"]


# -- the API's own gate ----------------------------------------------------------------------------


def gate(limit: int = 2 << 20, **settings: Any) -> FastAPI:
    """An API that answers how many bytes it was sent, behind its gate."""
    api = FastAPI()

    @api.api_route("/api/x", methods=["GET", "POST", "DELETE"])
    async def size(request: Request) -> int:
        return len(await request.body())

    api_guard.guard(api, dataclasses.replace(SETTINGS, **settings), upload_limit_bytes=limit)
    return api


JSON = ("content-type", "application/json")
FORM = ("content-type", "Multipart/form-data; boundary=x")


def test_a_call_that_changes_something_is_judged_and_one_that_reads_is_not() -> None:
    for method, expected in (("GET", 200), ("POST", 403), ("DELETE", 403)):
        assert status(gate(read_only=True), scope(JSON, method=method)) == expected
    assert status(gate(), scope(JSON, method="POST")) == 200


@pytest.mark.parametrize(
    ("headers", "pieces", "expected"),
    [
        ([JSON], [b"1" * 1000], 200),
        ([JSON, ("content-length", str((1 << 20) + 1))], [], 413),
        ([JSON, ("content-length", "9" * 30)], [], 413),
        ([JSON, ("content-length", "9" * 5000)], [], 413),
        ([JSON], [b"1" * (1 << 20), b"1"], 413),
        ([FORM], [b"1" * (1 << 20), b"1"], 200),
        ([FORM], [b"1" * (2 << 20), b"1"], 413),
        ([FORM, ("content-length", str((2 << 20) + 1))], [], 413),
        ([JSON], [b'{"a": 1, ', b'"a": 2}'], 400),
        ([JSON], [b'{"a": 1, ', b'"b": 2}'], 200),
    ],
)
def test_a_body_is_bounded_by_what_it_says_and_by_what_it_is(
    headers: list[tuple[str, str]], pieces: list[bytes], expected: int
) -> None:
    assert status(gate(), scope(*headers, method="POST"), *pieces) == expected


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the throttle has waited, without waiting."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(round(seconds, 3))

    monkeypatch.setattr("opskit.web.throttle.asyncio.sleep", sleep)
    return waits


def test_a_wrong_token_waits_and_a_missing_one_does_not(slept: list[float]) -> None:
    wrong, missing, right = (("authorization", "Bearer no"),), (), (("authorization", "Bearer yes"),)

    for app in (gate(api_token="yes"), TokenAlone(through, dataclasses.replace(SETTINGS, api_token="yes"))):
        slept.clear()
        assert status(app, scope(JSON, *missing, method="POST")) == 401
        assert slept == []
        assert status(app, scope(JSON, *wrong, method="POST")) == 401
        assert slept == [0.1]
        assert status(app, scope(JSON, *right, method="POST")) == 200
        assert slept == [0.1]


def test_where_people_sign_in_the_api_is_for_the_token_alone_and_reads_on_a_read_only_page() -> None:
    none = TokenAlone(through, SETTINGS)
    reading = TokenAlone(through, dataclasses.replace(SETTINGS, api_token="yes", read_only=True))

    assert status(none, scope()) == 403
    assert status(none, scope(("authorization", "Bearer "))) == 403
    assert status(reading, scope(("authorization", "Bearer yes"))) == 200
    assert json.loads(called(none, scope())[1]["body"])["error"].startswith("people sign in")


def test_wrong_tokens_wait_the_longer_the_more_of_them_wait_and_5_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    gone = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(round(seconds, 3))
        await gone.wait()

    monkeypatch.setattr("opskit.web.throttle.asyncio.sleep", sleep)

    async def guessed() -> None:
        brake = throttle.Throttle()
        guesses = [asyncio.ensure_future(brake.wait()) for _ in range(60)]
        while len(waits) < 60:
            await real(0)
        gone.set()
        await asyncio.gather(*guesses)
        await brake.wait()

    real = asyncio.tasks.__dict__["sleep"]
    asyncio.run(guessed())

    assert waits[:3] == [0.1, 0.2, 0.3]
    assert waits[49:60] == [5.0] * 11
    assert waits[60] == 0.1
