"""Several fleets on one page: each is shown, changed and guarded as its own, and production is unmistakable."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from opskit import migration
from opskit.database import Database
from opskit.errors import SettingError
from opskit.settings import Settings
from opskit.web import server
from opskit.web.dashboard import fleets, readings
from tests.support.dashboard import Open, click, execute, fine, metric, said

LIVE = """
[live]
OPSKIT_ENV = "production"
[invoices]
OPSKIT_TABLE = "invoices"
OPSKIT_READ_ONLY = true
"""


@pytest.fixture
def pages(tmp_path: Path) -> str:
    path = tmp_path / "pages.toml"
    path.write_text(LIVE)
    return str(path)


def fleet_of(app: AppTest) -> str:
    """The fleet in the address."""
    found = app.query_params["fleet"]
    return str(found[0] if isinstance(found, list) else found)


@pytest.fixture
def live(db: Database, settings: Settings) -> Iterator[Database]:
    """The production fleet in the same database, with one queued file."""
    with Database(dataclasses.replace(settings, env="production")) as other:
        migration.migrate(other)
        execute(other, "INSERT INTO {files} (original_filename, processing_status) VALUES ('real.csv', 'queued')")
        yield other


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = ", "which is no TOML"),
        ("[own]", "is no name of a fleet"),
        ("['a b']", "is no name of a fleet"),
        ("live = 3", "it must be a section"),
        ("[live]\nOPSKIT_LEASE_SECONDS = 3", "sets 'OPSKIT_LEASE_SECONDS'; it may set DATABASE_URL"),
        ("[live]\nOPSKIT_ENV = 'prod'", "OPSKIT_ENV is 'prod'; it must be 'production' or 'development'"),
        ("[live]\nOPSKIT_TABLE = ['a']", "it must be one value"),
        ("[live]\nDATABASE_URL = '$LIVE_URL'", "the environment has no variable LIVE_URL"),
    ],
)
def test_a_file_of_fleets_that_cannot_be_used_is_refused_in_one_sentence(
    settings: Settings, tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "pages.toml"
    path.write_text(text)

    with pytest.raises(SettingError, match="OPSKIT_PAGES") as caught:
        fleets.load(dataclasses.replace(settings, pages=str(path)))

    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_a_file_of_fleets_that_is_not_there_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingError, match=r"OPSKIT_PAGES is '/nowhere\.toml', which cannot be read: No such file"):
        fleets.load(dataclasses.replace(settings, pages="/nowhere.toml"))


def test_a_fleet_takes_what_it_does_not_say_from_the_page_and_secrets_from_variables(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "pages.toml"
    path.write_text("[live]\nDATABASE_URL = '$LIVE_URL'\nOPSKIT_READ_ONLY = true\n")
    own = dataclasses.replace(settings, pages=str(path), api_token="own-token")

    found = fleets.load(own, {"LIVE_URL": "postgresql://live/db"})

    assert list(found) == ["own", "live"]
    assert found["live"].database_url == "postgresql://live/db"
    assert found["live"].read_only
    assert not own.read_only
    assert found["live"].api_token == "own-token"
    assert found["live"].table == own.table


def test_each_fleet_shows_its_own_numbers_and_production_is_unmistakable(
    open_page: Open, live: Database, pages: str
) -> None:
    app = open_page(OPSKIT_PAGES=pages)
    assert fleet_of(app) == "own"
    assert metric(app, "Queued") == "0"
    assert '<span class="production">' not in said(app)

    app.selectbox(key="fleet chosen").set_value("live").run()
    assert fine(app)
    assert fleet_of(app) == "live"
    assert metric(app, "Queued") == "1"
    assert '<span class="production">PRODUCTION</span>' in said(app)

    app.switch_page("views/files.py").run()
    assert fleet_of(app) == "live"
    assert "real.csv" in app.dataframe[0].value.to_string()

    app.query_params["fleet"] = "own"
    app.run()
    assert '<span class="production">' not in said(app)
    assert "No file meets this" in said(app)


@pytest.mark.slow
def test_an_act_changes_the_fleet_that_is_shown_alone(
    open_page: Open, live: Database, db: Database, pages: str
) -> None:
    app = open_page(OPSKIT_PAGES=pages)
    app.selectbox(key="fleet chosen").set_value("live").run()

    click(app, "pause_all")
    assert "This changes **PRODUCTION**" in said(app)
    click(app, "confirm_button")

    assert [row["scope"] for row in live.run("pauses")] == ["*"]
    assert db.run("pauses") == []


def test_each_fleet_has_its_own_rights(open_page: Open, db: Database, settings: Settings, pages: str) -> None:
    with Database(dataclasses.replace(settings, table="invoices")) as invoices:
        migration.migrate(invoices)
    app = open_page(OPSKIT_PAGES=pages)
    assert not app.button(key="pause_all").disabled

    app.selectbox(key="fleet chosen").set_value("invoices").run()

    assert fine(app)
    assert app.button(key="pause_all").disabled


def test_an_address_of_no_fleet_shows_nothing_of_another(open_page: Open, live: Database, pages: str) -> None:
    app = open_page(OPSKIT_PAGES=pages)

    app.query_params["fleet"] = "lvie"
    app.run()

    assert "There is no fleet 'lvie' on this page; it has own, live, invoices." in said(app)
    assert not app.metric
    assert not app.button


def test_a_page_of_one_fleet_has_no_choice(open_page: Open, db: Database) -> None:
    app = open_page()

    assert "fleet" not in app.query_params
    assert not [one for one in app.selectbox if one.key == "fleet chosen"]


def test_the_server_refuses_a_fleet_that_is_open_where_the_page_is_closed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pages.toml"
    path.write_text("[live]\nOPSKIT_API_TOKEN = ''\n")
    exposed = dataclasses.replace(settings, pages=str(path), host="0.0.0.0", api_token="a-good-long-token")
    with pytest.raises(SettingError, match=r"\[live\] of OPSKIT_PAGES can be reached by others"):
        server.check(exposed)

    path.write_text("[live]\nOPSKIT_OPERATORS = ''\nOPSKIT_VIEWERS = ''\n")
    monkeypatch.setenv("OPSKIT_OPERATORS", "ann@example.com")
    with pytest.raises(SettingError, match=r"\[live\] of OPSKIT_PAGES names neither operators nor viewers"):
        server.check(dataclasses.replace(settings, pages=str(path), operators="ann@example.com"))


def test_the_api_serves_the_page_s_own_fleet(
    db: Database, live: Database, settings: Settings, pages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    st.cache_resource.clear()
    for name, value in (settings.environ() | {"OPSKIT_PAGES": pages}).items():
        monkeypatch.setenv(name, value)

    assert set(fleets.known()) == {"own", "live", "invoices"}
    assert readings.settings().env == "development"
    assert readings.database().names == db.names
    st.cache_resource.clear()
