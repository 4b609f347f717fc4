"""Settings with which the page refuses to start."""

from __future__ import annotations

import dataclasses
import os

import pytest
import streamlit as st

from opskit.errors import SettingError
from opskit.settings import Settings
from opskit.web import server
from opskit.web.dashboard import sign_in
from tests.support.dashboard import HERE

# -- the launcher ---------------------------------------------------------------------------------


def test_an_open_address_without_a_token_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingError, match="OPSKIT_API_TOKEN"):
        server.check(dataclasses.replace(settings, host="0.0.0.0"))

    server.check(dataclasses.replace(settings, host="0.0.0.0", api_token="secret"))


def test_a_token_that_can_be_guessed_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingError, match="OPSKIT_API_TOKEN has 5 characters"):
        server.check(dataclasses.replace(settings, api_token="short"))


@pytest.mark.parametrize("tenant", ["common", "organizations", "Consumers", "9188040d-6c67-4c5b-b112-36a304b66dad"])
def test_a_provider_that_lets_every_organisation_in_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tenant: str
) -> None:
    monkeypatch.setenv("OPSKIT_VIEWERS", "*@example.com")
    url = "https://login.microsoftonline.com/{}/v2.0/.well-known/openid-configuration"
    section = {**dict.fromkeys(sign_in.KEYS, "x"), "server_metadata_url": url.format("b2f1a3c4-0000-4000-8000-1")}
    monkeypatch.setattr(st, "secrets", {"auth": section})
    server.check(settings)

    for bad in ({**section, "server_metadata_url": url.format(tenant)},
                {**section, "microsoft": {"server_metadata_url": url.format(tenant)}}):  # fmt: skip
        monkeypatch.setattr(st, "secrets", {"auth": bad})
        with pytest.raises(SettingError, match="people of every organisation"):
            server.check(settings)


def test_sign_in_opens_an_address_and_needs_a_provider(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSKIT_VIEWERS", "*@example.com")
    monkeypatch.setattr(st, "secrets", {})
    with pytest.raises(SettingError, match=r"nobody could sign in: .streamlit/secrets.toml has no section \[auth\]"):
        server.check(settings)
    section = dict.fromkeys(sign_in.KEYS, "x")
    for key in sign_in.KEYS:
        monkeypatch.setattr(st, "secrets", {"auth": {**section, key: ""}})
        with pytest.raises(SettingError, match=f"has no {key}$"):
            server.check(settings)
    monkeypatch.setattr(st, "secrets", {"auth": section})
    server.check(settings)

    monkeypatch.setattr(sign_in, "lacking", lambda: "")
    server.check(dataclasses.replace(settings, host="0.0.0.0"))


def test_refusing_to_start_is_one_sentence_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["opskit dashboard"])

    assert server.main(["--host", "0.0.0.0"]) == 1

    assert capsys.readouterr().err.count("\n") == 1


def test_operators_given_as_a_flag_are_asked_for_a_provider_as_those_of_the_environment_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["opskit dashboard"])
    monkeypatch.setattr(st, "secrets", {})
    monkeypatch.setattr(os, "environ", dict(os.environ))

    assert server.main(["--operators", "*@example.com"]) == 1

    assert "nobody could sign in" in capsys.readouterr().err


def test_the_launchers_options_are_the_packages() -> None:
    beside = HERE.parents[2] / ".streamlit" / "config.toml"

    assert beside.read_text() == (HERE / ".streamlit" / "config.toml").read_text()
