"""What a newcomer gets: samples, and the database of the shell."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from opskit import jupyter, stats
from opskit.database import Database, embedded
from opskit.errors import SettingError
from opskit.jupyter import notebooks
from opskit.settings import Settings
from tests.support.nodes import add_files, ask
from tests.support.notebooks import ROOT, printed

# -- the scratch -----------------------------------------------------------------------------


def test_a_database_that_is_not_embedded_gets_no_samples(db: Database) -> None:
    assert jupyter.welcome(db) == 0
    assert db.run("any_file") == []


@pytest.fixture
def as_embedded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty database that counts as the embedded server's."""
    monkeypatch.setattr(embedded, "url", lambda _: database_url)
    return Settings.load({}, database_url=database_url, processor="processors:nothing", poll_seconds=0.2)


def test_production_gets_no_samples_and_not_even_tables(as_embedded: Settings) -> None:
    with Database(dataclasses.replace(as_embedded, env="production")) as db:
        assert jupyter.welcome(db) == 0
        assert ask(db, "SELECT FROM pg_tables WHERE schemaname = current_schema()") == []


@pytest.mark.slow
def test_the_samples_are_processed_by_the_built_in_processor_whatever_the_settings_and_the_shell_say(
    as_embedded: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSKIT_PROCESSOR", "processors:nothing")
    monkeypatch.setenv("OPSKIT_ENV", "production")

    with Database(as_embedded) as db:
        count = jupyter.welcome(db)
        rows = [db.one("file", id=row["id"]) for row in stats.records(stats.files(db))]
        again = jupyter.welcome(db)

    assert count == len(jupyter.samples())
    assert again == 0
    assert {row["processing_status"] for row in rows} == {"completed"}
    assert all(row["processing_result"]["sha256"] for row in rows)
    assert capsys.readouterr().out == (
        f"dev_uploaded_files (development) was migrated, got {count} sample files, and two nodes processed them\n"
    )


@pytest.mark.slow
def test_three_who_welcome_at_once_give_each_sample_once(as_embedded: Settings) -> None:
    program = (
        "from opskit import jupyter\nfrom opskit.database import embedded\nfrom opskit.database import Database\n"
        "from opskit.settings import Settings\nsettings = Settings.load()\n"
        "embedded.url = lambda _: settings.database_url\nprint(jupyter.welcome(Database(settings)))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, **as_embedded.environ()},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]

    said = [one.communicate(timeout=60)[0].splitlines()[-1] for one in started]

    count = len(jupyter.samples())
    assert sorted(said, key=int) == ["0", "0", str(count)]
    with Database(as_embedded) as db:
        assert stats.records(stats.concurrency(db))[0]["total_files"] == count


@pytest.mark.slow
def test_a_notebook_takes_the_name_of_the_variable_that_holds_the_url(db: Database, tmp_path: Path) -> None:
    import papermill  # loads the clients of three clouds: two seconds

    add_files(db, "a.csv")
    made = tmp_path / "made.ipynb"

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ORDERS_DATABASE", db.settings.database_url or "")
        papermill.execute_notebook(
            str(ROOT / "notebooks" / "02_verification.ipynb"), str(made), progress_bar=False, cwd=str(tmp_path),
            parameters={"database_env": "ORDERS_DATABASE"},
        )  # fmt: skip

    assert "dev_uploaded_files (development): nothing is missing" in printed(nbformat.read(made, as_version=4))
    password = (db.settings.database_url or "").split("@")[0].rpartition(":")[2]
    assert len(password) > 10
    assert password not in made.read_text()


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notebooks.url_in("") is None
    with pytest.raises(SettingError, match="database_env is 'NO_SUCH', and there is no such environment variable"):
        notebooks.url_in("NO_SUCH")
