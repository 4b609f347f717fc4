"""Who sees what is in a file and who acts on the page, which JSON is taken, which settings are secrets."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from opskit.errors import ForbiddenError
from opskit.settings import Settings
from opskit.settings.masking import secret_variables
from opskit.web.api.json_keys import repeated_key
from opskit.web.authorization import Caller
from opskit.web.dashboard import file_content, permission, readings, sign_in

AFAR = Caller.with_headers("192.0.2.7", {"Host": "ops.example"}, None)


@pytest.fixture
def asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page, asked from afar by somebody with a role, or by nobody."""

    def ask(role: str | None, **changes: Any) -> None:
        monkeypatch.setattr(readings, "settings", lambda: dataclasses.replace(settings, **changes))
        monkeypatch.setattr(permission, "client", lambda: AFAR)
        monkeypatch.setattr(sign_in, "role", lambda: role)
        monkeypatch.setattr(sign_in, "may_act", lambda: role == "operator")
        user = None if role is None else SimpleNamespace(email=f"{role}@example.com")
        monkeypatch.setattr(sign_in, "user", lambda: user)

    return ask


@pytest.mark.parametrize(
    ("role", "changes", "acts", "sees"),
    [
        ("operator", {}, True, True),
        ("operator", {"read_only": True}, False, True),
        ("viewer", {}, False, False),
        ("viewer", {"viewers_see_files": True}, False, True),
        (None, {}, False, False),
        (None, {"viewers_see_files": True}, False, False),
        (None, {"api_token": "secret"}, False, False),
    ],
)
def test_an_operator_acts_and_sees_and_a_viewer_sees_where_a_setting_says_so(
    asked: Any, role: str | None, changes: dict[str, Any], acts: bool, sees: bool
) -> None:
    asked(role, **changes)

    assert (permission.refusal() is None, file_content.refusal() is None) == (acts, sees)
    if not acts:
        with pytest.raises(ForbiddenError):
            permission.allow()


def test_the_actor_is_who_signed_in_whatever_name_is_typed_and_where_they_are(asked: Any) -> None:
    asked("operator")
    assert permission.actor("somebody else") == "operator@example.com (page, 192.0.2.7)"
    asked(None)
    assert permission.actor(" ann ") == "ann (page, 192.0.2.7)"
    assert permission.actor() == "page, 192.0.2.7"


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"a": 1, "b": 2}', None),
        (b'{"a": 1, "a": 1}', "a"),
        (b'{"b": [{"a": 1, "a": 2}]}', "a"),
        (b'[{"a": 1}, {"a": 2}]', None),
        (b"no JSON", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
    ids=["two keys", "twice", "twice within", "in two objects", "no JSON", "no text", "deep"],
)
def test_a_key_that_an_object_has_twice_is_found_and_what_is_no_json_is_left_to_the_parser(
    body: bytes, key: str | None
) -> None:
    assert repeated_key(body) == key


def test_the_tokens_are_the_secret_variables() -> None:
    assert {"OPSKIT_API_TOKEN", "OPSKIT_POST_TOKEN"} <= secret_variables()
    assert not {"DATABASE_URL", "OPSKIT_ENV"} & secret_variables()
