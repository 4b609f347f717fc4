"""Who has signed in: what a viewer sees, what an operator may do, and who stays outside."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable

import httpx
import pytest
from starlette.applications import Starlette

from opskit.database import Database
from opskit.web import server
from opskit.web.authorization import Caller
from opskit.web.dashboard import permission, readings, sign_in
from opskit.web.dashboard.user import user_of
from tests.support.dashboard import ROLES, Open, click, said

# -- sign-in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("email", "role"),
    [
        ("ann@example.com", "operator"),
        ("ANN@Example.com", "operator"),
        ("bob@ops.example.com", "operator"),
        ("cid@example.com", "viewer"),
        ("eve@evil.example", None),
        ("ann@example.com.evil.example", None),
        ("", None),
    ],
)
def test_a_role_goes_by_the_address(monkeypatch: pytest.MonkeyPatch, email: str, role: str | None) -> None:
    for name, value in ROLES.items():
        monkeypatch.setenv(name, value)

    assert sign_in.roles().of(email) == role


def test_without_sign_in_everything_is_as_before(open_page: Open, db: Database) -> None:
    assert not open_page().button(key="cleanup").disabled


def test_who_has_not_signed_in_sees_nothing_but_the_door(
    open_page: Open, full: Database, signed_in: Callable[..., None]
) -> None:
    app = open_page(**ROLES)

    assert [button.key for button in app.button] == ["sign_in"]
    assert not app.dataframe
    assert not app.metric
    assert full.settings.files not in said(app)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("email", "claims"), [("eve@evil.example", {}), ("ann@example.com", {"email_verified": False})]
)
def test_who_has_no_role_stays_outside(
    open_page: Open, full: Database, signed_in: Callable[..., None], email: str, claims: dict[str, object]
) -> None:
    signed_in(email, **claims)

    app = open_page(**ROLES)

    assert [button.key for button in app.button] == ["sign_out"]
    assert email in said(app)
    assert not app.metric


def test_a_viewer_looks_and_an_operator_acts_under_their_own_name(
    open_page: Open, db: Database, signed_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Caller.with_headers("192.0.2.7", {"Host": "ops.example", "Origin": "https://ops.example"}, None)
    monkeypatch.setattr(permission, "client", lambda: elsewhere)
    signed_in("cid@example.com")
    app = open_page(**ROLES)
    assert app.button(key="cleanup").disabled
    assert "OPSKIT_OPERATORS does not name you" in app.button(key="cleanup").help

    signed_in("ann@example.com")
    app = click(open_page(**ROLES), "pause_all")
    click(app, "confirm_button")

    (pause,) = db.run("pauses")
    assert pause["actor"] == "ann@example.com (page, 192.0.2.7)"


def test_a_dialog_left_open_is_refused_once_the_operator_is_none(
    open_page: Open, db: Database, signed_in: Callable[..., None]
) -> None:
    signed_in("ann@example.com")
    app = click(open_page(**ROLES), "pause_all")
    signed_in("cid@example.com")

    click(app, "confirm_button")

    assert not db.run("pauses")
    assert "OPSKIT_OPERATORS does not name you" in said(app)


def test_a_sign_in_that_ends_while_the_page_is_open_acts_and_shows_no_more(
    open_page: Open, full: Database, signed_in: Callable[..., None]
) -> None:
    signed_in("ann@example.com")
    app = click(open_page(**ROLES), "pause_all")
    assert app.metric
    before = full.run("pauses")
    signed_in("ann@example.com", iat=time.time() - 13 * 3600)

    click(app, "confirm_button")

    assert full.run("pauses") == before
    app.run()
    assert not app.metric
    assert "holds for 12 hours" in said(app)
    assert [button.key for button in app.button] == ["sign_in", "sign_out"]


@pytest.mark.parametrize(("read_only", "origin"), [("1", "https://ops.example"), ("0", "https://evil.example")])
def test_signing_in_outweighs_neither_read_only_nor_a_foreign_page(
    open_page: Open,
    db: Database,
    signed_in: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    read_only: str,
    origin: str,
) -> None:
    foreign = Caller.with_headers("192.0.2.7", {"Host": "ops.example", "Origin": origin}, None)
    monkeypatch.setattr(permission, "client", lambda: foreign)
    signed_in("ann@example.com")

    assert open_page(**ROLES, OPSKIT_READ_ONLY=read_only).button(key="cleanup").disabled


@pytest.mark.parametrize(
    ("token", "path", "headers", "status"),
    [
        ("secret", "/api/processing/nodes", {}, 401),
        ("secret", "/metrics", {}, 401),
        ("secret", "/api/processing/nodes", {"Authorization": "Bearer secret"}, 200),
        ("secret", "/healthz", {}, 200),
        (None, "/api/processing/nodes", {}, 403),
        (None, "/api/docs", {"Authorization": "Bearer "}, 403),
        (None, "/metrics", {"Authorization": "Bearer None"}, 403),
        (None, "/healthz", {}, 200),
    ],
)
def test_where_people_sign_in_the_api_reads_for_the_token_only(
    db: Database, monkeypatch: pytest.MonkeyPatch, token: str | None, path: str, headers: dict[str, str], status: int
) -> None:
    monkeypatch.setenv("OPSKIT_VIEWERS", "*@example.com")
    monkeypatch.setattr(readings, "database", lambda: db)
    app = Starlette(routes=server.routes(dataclasses.replace(db.settings, api_token=token)))

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return (await client.get(path, headers=headers)).status_code

    assert asyncio.run(ask()) == status


@pytest.mark.parametrize(
    ("claims", "trust", "verified"),
    [
        ({"email_verified": True}, False, True),
        ({"email_verified": "true"}, False, True),
        ({}, False, False),
        ({}, True, True),
        ({"xms_edov": True}, False, True),
        ({"xms_edov": "1"}, False, True),
        ({"xms_edov": False}, False, False),
        ({"xms_edov": None}, False, False),
        ({"email_verified": False}, True, False),
        ({"email_verified": None}, True, False),
        ({"email_verified": "false", "xms_edov": True}, True, False),
        ({"email_verified": 0, "xms_edov": True}, True, False),
        ({"email_verified": "True "}, True, False),
    ],
)
def test_an_address_counts_when_the_provider_or_a_setting_says_so(
    claims: dict[str, object], trust: bool, verified: bool
) -> None:
    assert user_of(claims, hours=12, trust_unverified=trust).verified is verified


@pytest.mark.parametrize(
    ("age_hours", "expired"), [(0, False), (11.9, False), (12.1, True), (700, True), (-0.05, False), (-1, True)]
)
def test_a_sign_in_holds_for_some_hours(age_hours: float, expired: bool) -> None:
    claims = {"iat": time.time() - age_hours * 3600}

    assert user_of(claims, hours=12, trust_unverified=False).expired is expired


@pytest.mark.parametrize("iat", [None, "", "1790000000", True, float("nan"), float("inf"), [], -1])
def test_a_sign_in_that_does_not_say_when_it_was_does_not_hold(iat: object) -> None:
    assert user_of({"iat": iat}, hours=12, trust_unverified=False).expired
