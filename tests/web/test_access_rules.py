"""The rules of access, each at its edge: pure functions and bare ASGI calls, no server and no database."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
import streamlit as st

from opskit.errors import ForbiddenError
from opskit.settings import Settings
from opskit.support import allowed_hosts
from opskit.web import proxies
from opskit.web.authorization import Caller, content_allowed, writing_allowed
from opskit.web.bearer_token import token_fits
from opskit.web.dashboard import sign_in
from opskit.web.dashboard.user import shared_tenant_of, user_of
from tests.support.asgi_calls import scope

SETTINGS = Settings.load({})
LOCAL = {"client_host": "127.0.0.1", "host_header": "localhost:8501"}
AWAY = {"client_host": "192.0.2.7", "host_header": "ops.example.com"}


# -- callers ---------------------------------------------------------------------------------------


def test_a_caller_is_read_from_the_first_header_of_each_name() -> None:
    caller = Caller.of(scope(("host", "a"), ("host", "b"), ("authorization", "x"), ("authorization", "y")))

    assert (caller.host_header, caller.authorization, caller.client_host) == ("a", "x", "127.0.0.1")


def test_a_client_without_an_address_is_not_near() -> None:
    assert not Caller.of(scope(client=None)).is_near


def test_a_call_that_a_proxy_passed_on_is_not_near_whoever_reads_its_headers() -> None:
    assert not Caller.of(scope(("x-forwarded-for", "192.0.2.7"))).is_near
    assert not Caller.of(scope(http_version="1.0")).is_near
    assert not Caller.with_headers("127.0.0.1", {"Host": "localhost", "X-Real-Ip": "192.0.2.7"}, None).is_near
    assert Caller.of(scope()).is_local


@pytest.mark.parametrize(
    ("call", "near", "local"),
    [
        (LOCAL, True, True),
        (LOCAL | {"host_header": "evil.example"}, True, False),
        (LOCAL | {"client_host": "192.0.2.7"}, False, False),
        (LOCAL | {"client_host": "10.0.0.1"}, False, False),
        (LOCAL | {"client_host": "::ffff:127.0.0.1"}, True, True),
        (LOCAL | {"client_host": "::ffff:192.0.2.7"}, False, False),
        (LOCAL | {"client_host": None}, False, False),
        (LOCAL | {"forwarded": True}, False, False),
    ],
)
def test_a_caller_is_local_by_address_and_by_name(call: dict[str, Any], near: bool, local: bool) -> None:
    caller = Caller(**call)

    assert (caller.is_near, caller.is_local) == (near, local)


@pytest.mark.parametrize(
    ("settings", "call", "allowed"),
    [
        ({}, LOCAL, True),
        ({}, LOCAL | {"host_header": "evil.example"}, False),
        ({}, AWAY, False),
        ({}, LOCAL | {"origin": "http://localhost:8501"}, True),
        ({}, LOCAL | {"origin": "http://evil.example"}, False),
        ({"read_only": True}, LOCAL, False),
        ({"api_token": "secret"}, LOCAL, False),
        ({"api_token": "secret"}, AWAY | {"authorization": "Bearer secret"}, True),
        ({"api_token": "secret", "read_only": True}, AWAY | {"authorization": "Bearer secret"}, False),
    ],
)
def test_who_may_write_may_see_content_and_others_by_setting(
    settings: dict[str, Any], call: dict[str, Any], allowed: bool
) -> None:
    own = dataclasses.replace(SETTINGS, **settings)
    for rule in (writing_allowed, content_allowed):
        if allowed:
            rule(own, Caller(**call))
        else:
            with pytest.raises(ForbiddenError):
                rule(own, Caller(**call))

    content_allowed(dataclasses.replace(own, viewers_see_files=True), Caller(**call))


@pytest.mark.parametrize(
    ("shown", "fits"),
    [
        ("Bearer schlüssel", True),
        ("bearer schlüssel ", True),
        ("Bearer " + "schlüssel".encode().decode("latin-1"), True),
        ("Basic schlüssel", False),
        ("Bearer schlüsse", False),
        ("schlüssel", False),
        (None, False),
    ],
)
def test_a_token_fits_as_it_is_typed_and_as_a_header_carries_it(shown: str | None, fits: bool) -> None:
    assert token_fits("schlüssel", shown) is fits


# -- names of hosts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("Ops.Example.com:80", ("ops.example.com", 80)),
        ("a", ("a", None)),
        ("[0:0::1]:65535", ("::1", 65535)),
        ("[1::2::3]", None),
        ("a:65536", None),
        ("user@a", None),
        ("a.", None),
        (None, None),
    ],
)
def test_a_host_header_is_a_name_and_a_port_or_nothing(header: str | None, named: Any) -> None:
    assert allowed_hosts.split(header) == named


@pytest.mark.parametrize(
    ("header", "allowed", "answered"),
    [
        ("localhost", [], True),
        ("[::1]:5", [], True),
        ("a.example.com", ["*.example.com"], True),
        ("example.com", ["*.example.com"], False),
        ("evilexample.com", ["*.example.com"], False),
        ("a.example.com", ["example.com"], False),
        ("example.com", ["example.com"], True),
        ("", ["*.example.com"], False),
    ],
)
def test_a_server_answers_to_loopback_names_and_to_those_that_are_listed(
    header: str, allowed: list[str], answered: bool
) -> None:
    assert allowed_hosts.answers_to(header, allowed) is answered
    assert allowed_hosts.names_loopback(header) is (header in ("localhost", "[::1]:5"))


def test_a_pattern_that_no_name_can_fit_is_refused() -> None:
    assert allowed_hosts.patterns("A.example.com, *.b.example ,[FD00::7]") == (
        "a.example.com",
        "*.b.example",
        "fd00::7",
    )
    with pytest.raises(ValueError, match="http"):
        allowed_hosts.patterns("http//a")


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://a", "a", True),
        ("http://A:80", "a", True),
        ("https://a", "a:443", True),
        ("https://a", "a:80", False),
        ("http://a:81", "a", False),
        ("http://b", "a", False),
        ("ftp://a", "a", False),
        ("null", "a", False),
        ("http:", "a", False),
        ("http://", "a", False),
        ("http://a", None, False),
    ],
)
def test_a_page_is_of_this_site_by_its_name_and_port(origin: str, host: str | None, same: bool) -> None:
    assert allowed_hosts.same_site(origin, host) is same


@pytest.mark.parametrize(
    ("headers", "version", "passed_on"),
    [
        ([], "1.1", False),
        ([("connection", "keep-alive"), ("upgrade-insecure-requests", "1")], "1.1", False),
        ([("connection", "Upgrade"), ("upgrade", "websocket")], "1.1", False),
        ([("Connection", "Upgrade")], "1.1", True),
        ([], "1.0", True),
        ([("X-Forwarded-For", "a")], "2", True),
        ([("X_Forwarded_For", "a")], "1.1", True),
    ],
)
def test_a_proxy_shows_in_headers_in_half_an_upgrade_and_in_an_old_protocol(
    headers: list[tuple[str, str]], version: str, passed_on: bool
) -> None:
    assert proxies.passed_on(headers, version) is passed_on


# -- sign-in ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shared"),
    [
        ("https://login.microsoftonline.com/Common/v2.0/x", "common"),
        ("https://login.microsoftonline.com/organizations", "organizations"),
        ("https://login.microsoftonline.com/0a1b/v2.0", ""),
        ("https://idp.example.com/a/common", ""),
    ],
)
def test_a_tenant_of_every_organisation_is_known_by_its_path(url: str, shared: str) -> None:
    assert shared_tenant_of(url) == shared


@pytest.mark.parametrize(
    ("claims", "trust", "verified"),
    [
        ({"email_verified": True}, False, True),
        ({"email_verified": "true"}, False, True),
        ({"email_verified": "false"}, True, False),
        ({"email_verified": False, "xms_edov": True}, True, False),
        ({}, True, True),
        ({}, False, False),
        ({"xms_edov": True}, False, True),
        ({"xms_edov": "0"}, False, False),
    ],
)
def test_an_address_is_verified_by_the_provider_or_by_trust(
    claims: dict[str, object], trust: bool, verified: bool
) -> None:
    assert user_of(claims, hours=1, trust_unverified=trust).verified is verified


@pytest.mark.parametrize(
    ("issued", "expired"),
    [(0, False), (-3500, False), (-3700, True), (200, False), (400, True), (None, True), (True, True), ("0", True)],
)
def test_a_sign_in_holds_for_its_hours_and_one_from_the_future_for_none(issued: Any, expired: bool) -> None:
    plain = isinstance(issued, int) and not isinstance(issued, bool)
    claims = {"iat": time.time() + issued if plain else issued}

    assert user_of(claims, hours=1, trust_unverified=False).expired is expired


def test_a_sign_in_dated_true_is_expired_however_long_it_may_hold() -> None:
    # True counts as the number 1, the first second of 1970.
    assert user_of({"iat": True}, hours=1e9, trust_unverified=False).expired


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sign somebody in, where operators and viewers are named by settings."""

    def signing(operators: str, viewers: str, **claims: object) -> None:
        monkeypatch.setenv("OPSKIT_OPERATORS", operators)
        monkeypatch.setenv("OPSKIT_VIEWERS", viewers)
        now = {"is_logged_in": True, "email_verified": True, "iat": time.time()}
        monkeypatch.setattr(st, "user", now | claims)

    return signing


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"email": "Ann@Example.com"}, "operator"),
        ({"email": "bob@example.com"}, "viewer"),
        ({"email": "eve@evil.example"}, None),
        ({"email": ""}, None),
        ({"email": "ann@example.com", "email_verified": False}, None),
        ({"email": "ann@example.com", "iat": 1}, None),
        ({"email": "ann@example.com", "is_logged_in": False}, None),
        ({"email": "ann@example.com", "is_logged_in": "yes"}, None),
    ],
)
def test_a_role_is_for_who_is_named_verified_and_signed_in_now(
    signed_in: Any, claims: dict[str, object], role: str | None
) -> None:
    signed_in(" ANN@example.com ", "*@example.com,", **claims)

    assert sign_in.role() == role
    if role == "operator":
        assert sign_in.may_act()
    else:
        with pytest.raises(ForbiddenError, match="look" if role else "does not hold"):
            sign_in.may_act()


def test_a_viewer_alone_makes_sign_in_wanted_and_an_empty_address_fits_no_pattern(signed_in: Any) -> None:
    signed_in("", "*", email="")

    assert sign_in.roles()
    assert sign_in.role() is None


def test_without_sign_in_everybody_has_the_role_of_an_operator_and_acts_by_other_rules(signed_in: Any) -> None:
    signed_in("", "")

    assert sign_in.role() == "operator"
    assert not sign_in.may_act()
