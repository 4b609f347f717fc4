"""Who may write over the API: this machine, or whoever shows the token; never a foreign page."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from opskit.database import Database
from opskit.errors import ForbiddenError, TokenNeededError
from opskit.settings import Settings
from opskit.web.api.app import create_api
from opskit.web.authorization import Caller, writing_allowed
from opskit.web.throttle import Throttle
from tests.support.api import POSTS, Client, run, served

CLEANUP = "/api/processing/cleanup-stale-locks"


# -- who may write -------------------------------------------------------------------------------

HERE = {"client_host": "127.0.0.1", "host_header": "127.0.0.1:8501"}


AWAY = {"client_host": "192.0.2.7", "host_header": "ops.example.com"}


def may(token: str | None, **call: Any) -> bool:
    try:
        writing_allowed(Settings.load({}, api_token=token), Caller(**{"origin": None, "authorization": None} | call))
    except ForbiddenError:
        return False
    return True


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        (HERE, True),
        (HERE | {"client_host": "::1", "host_header": "[::1]:8501"}, True),
        (HERE | {"client_host": "::ffff:127.0.0.1", "host_header": "localhost"}, True),
        (HERE | {"client_host": "127.9.9.9", "host_header": "LOCALHOST:8501"}, True),
        (HERE | {"origin": "http://127.0.0.1:8501"}, True),
        (AWAY, False),
        (HERE | {"host_header": "evil.example:8501"}, False),
        (HERE | {"host_header": "127.0.0.1.evil.example"}, False),
        (HERE | {"host_header": "localhost:99999"}, False),
        (HERE | {"host_header": None}, False),
        (HERE | {"host_header": ""}, False),
        (HERE | {"client_host": "192.0.2.7"}, False),
        (HERE | {"client_host": None}, False),
        (HERE | {"client_host": "localhost"}, False),
        (HERE | {"origin": "http://evil.example"}, False),
        (HERE | {"origin": "http://127.0.0.1:3000"}, False),
        (HERE | {"origin": "null"}, False),
        (HERE | {"origin": ""}, False),
        (HERE | {"forwarded": True}, False),
        (AWAY | {"authorization": "Bearer "}, False),
    ],
)
def test_without_a_token_only_this_machine_may_write(call: dict[str, Any], allowed: bool) -> None:
    assert may(None, **call) is allowed


@pytest.mark.parametrize(
    ("token", "call", "allowed"),
    [
        ("secret", AWAY | {"authorization": "Bearer secret"}, True),
        ("secret", AWAY | {"authorization": "bearer  secret "}, True),
        ("secret", AWAY | {"authorization": "Bearer secret", "forwarded": True}, True),
        ("secret", AWAY | {"authorization": "Bearer secret", "origin": "https://ops.example.com"}, True),
        ("secret", AWAY | {"authorization": "Bearer secret", "origin": "https://evil.example"}, False),
        ("secret", AWAY | {"authorization": "Bearer wrong"}, False),
        ("secret", AWAY | {"authorization": "Bearer secre"}, False),
        ("secret", AWAY | {"authorization": "Basic secret"}, False),
        ("secret", AWAY | {"authorization": "secret"}, False),
        ("secret", AWAY | {"authorization": ""}, False),
        ("secret", AWAY, False),
        ("secret", HERE, False),
        ("schlüssel", AWAY | {"authorization": "Bearer schlüssel"}, True),
        ("schlüssel", AWAY | {"authorization": "Bearer " + "schlüssel".encode().decode("latin-1")}, True),
        ("schlüssel", AWAY | {"authorization": "Bearer schl\N{SNOWMAN}ssel"}, False),
        ("鍵", AWAY | {"authorization": "Bearer ?"}, False),
    ],
)
def test_with_a_token_whoever_shows_it_may_write(token: str, call: dict[str, Any], allowed: bool) -> None:
    assert may(token, **call) is allowed


def test_a_wrong_token_has_an_error_of_its_own() -> None:
    with pytest.raises(TokenNeededError, match="OPSKIT_API_TOKEN"):
        writing_allowed(Settings.load({}, api_token="x"), Caller(**HERE, origin=None, authorization=None))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", POSTS)
def test_every_post_is_guarded(db: Database, settings: Settings, path: str) -> None:
    away = served(db, settings, client="192.0.2.7", host="ops.example.com")
    token = served(db, dataclasses.replace(settings, api_token="secret"))
    reader = served(db, dataclasses.replace(settings, read_only=True, api_token="secret"))

    for http, status in ((away, 403), (token, 401), (reader, 403)):
        response = http.post(f"/api/processing/{path}", headers={"authorization": "Bearer wrong"})
        assert response.status_code == status
        assert list(response.json()) == ["error"]
        assert http.get("/api/processing/distribution").status_code == 200
    assert token.post(f"/api/processing/{path}").headers["www-authenticate"] == "Bearer"
    assert run(db, "SELECT id FROM {events} WHERE kind <> 'migrate'") == []


def test_the_token_opens_from_everywhere(db: Database, settings: Settings) -> None:
    away = served(db, dataclasses.replace(settings, api_token="schlüssel"), client="192.0.2.7", host="ops.example.com")

    response = away.post(CLEANUP, headers={b"authorization": "Bearer schlüssel".encode()})
    assert response.status_code == 200


def test_a_foreign_page_and_a_proxied_call_are_refused(http: Client) -> None:
    for header in ({"origin": "https://evil.example"}, {"x-forwarded-for": "192.0.2.7"}):
        assert http.post(CLEANUP, headers=header).status_code == 403


def test_wrong_tokens_are_slowed_down_and_the_right_one_is_not(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Starlette(routes=[Mount("/api", create_api(db, dataclasses.replace(settings, api_token="secret token")))])

    answered, waits = asyncio.Event(), Throttle.wait

    async def held(throttle: Throttle) -> None:
        await answered.wait()  # all guesses wait until the right one is answered, however busy the machine is
        await waits(throttle)

    monkeypatch.setattr(Throttle, "wait", held)

    async def raced() -> list[float]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            began = time.monotonic()

            async def ask(token: str) -> float:
                answer = await client.post(
                    "/api/processing/resume", json={}, headers={"authorization": f"Bearer {token}"}
                )
                assert answer.status_code == (200 if token == "secret token" else 401)
                return time.monotonic() - began

            guesses = [asyncio.create_task(ask(f"guess {n}")) for n in range(20)]
            await asyncio.sleep(0)
            await ask("secret token")
            assert not any(guess.done() for guess in guesses)
            began = time.monotonic()
            answered.set()
            return sorted(await asyncio.gather(*guesses))

    wrong = asyncio.run(raced())
    assert wrong[0] >= 0.1
    assert wrong[-1] >= 2.0  # twenty of them: ten a second


def test_a_json_body_of_another_sites_form_is_not_obeyed(db: Database, http: Client) -> None:
    body = json.dumps({"reason": "x"}).encode()

    assert http.post("/api/processing/pause", content=body, headers={"content-type": "text/plain"}).status_code == 422
    assert http.get("/api/processing/pauses").json() == []
