"""What a migration says before and while it runs: estimates, who is in the way, how far a long statement is."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from opskit import migration
from opskit.database import Database
from opskit.errors import DatabaseError
from opskit.migration import applying, progress
from opskit.settings import Settings
from opskit.support import console
from opskit.support.progress import Progress
from tests.support.nodes import ask, until
from tests.support.tables import Shape, application, boot, files, opskit

TABLE = "dev_uploaded_files"


@pytest.fixture
def bare(settings: Settings) -> Iterator[Database]:
    """The application's table, not migrated."""
    with Database(settings, pooled=False) as db:
        with application(settings) as connection:
            Shape("identity", "plain").create(connection, TABLE)
        yield db


def blockers(db: Database) -> list[dict[str, Any]]:
    return list(migration.survey(db)["in_the_way"])


# -- estimates -----------------------------------------------------------------------------------


def test_a_plan_estimates_every_statement_and_says_how(bare: Database) -> None:
    ask(bare, f"INSERT INTO {TABLE} (original_filename) SELECT 'file-' || n FROM generate_series(1, 20000) AS n")
    ask(bare, f"ANALYZE {TABLE}")

    (answer,) = json.loads(opskit(bare.settings, "migrate", "--plan", "--json").stdout)

    seconds = {step["sql"].split('"')[1]: step["seconds"] for step in answer["plan"] if step["part"] == "indexes"}
    others = [step["seconds"] for step in answer["plan"] if not step["reads"]]
    assert {0, 2} <= {step["reads"] for step in answer["plan"]}
    assert seconds[f"{TABLE}_processing_queue"] > seconds["dev_processing_events_by_time"] == max(others)
    assert answer["estimate"]["seconds"] == pytest.approx(sum(step["seconds"] for step in answer["plan"]))
    assert "MB/s: an index reads the table twice" in answer["estimate"]["how"]
    assert migration.missing(bare) != []


def test_rows_that_go_into_an_index_cost_more_than_those_that_do_not(bare: Database) -> None:
    ask(bare, f"ALTER TABLE {TABLE} ADD COLUMN processing_status text DEFAULT 'completed'")
    ask(bare, f"INSERT INTO {TABLE} (original_filename) SELECT 'file-' || n FROM generate_series(1, 5000) AS n")
    ask(bare, f"ANALYZE {TABLE}")

    sample = bare.one("migrate/sample", pages=8)

    assert (sample["share"], sample["rows"]) == (1.0, 5000)
    assert sample["sampled"] == 3 * 8 * 8192
    assert 0 < sample["seen"] < 5000


def test_people_read_the_same_plan(bare: Database) -> None:
    done = opskit(bare.settings, "migrate", "--plan")

    assert f"; reads {TABLE} twice, rewrites nothing, about 1 s" in done.stdout
    assert "; reads and rewrites nothing" in done.stdout
    assert "the table is small: no statement takes long" in done.stderr


def test_the_way_back_has_a_plan_too_and_needs_no_answer(db: Database) -> None:
    done = opskit(db.settings, "migrate", "--rollback", "--plan")

    assert done.returncode == 0, done.stderr
    assert f'DROP TRIGGER IF EXISTS "{TABLE}_processing_wake"' in done.stdout
    assert migration.missing(db) == []


# -- who is in the way -----------------------------------------------------------------------------


def test_whoever_holds_a_lock_or_a_snapshot_is_named(bare: Database) -> None:
    url = bare.settings.database_url or ""
    ask(bare, "CREATE TABLE elsewhere (id int)")
    with psycopg.connect(url, application_name="reports") as reader, psycopg.connect(url) as other:
        pids = (reader.info.backend_pid, other.info.backend_pid)
        reader.execute(f"SELECT count(*) FROM {TABLE}")
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM elsewhere")

        found = until(lambda: len(blockers(bare)) == 2 and blockers(bare))
        shown = opskit(bare.settings, "migrate", "--plan").stderr

    assert [(one["pid"], one["lock"]) for one in found] == [
        (pids[0], "AccessShareLock"), (pids[1], None),
    ]  # fmt: skip
    assert f"in the way now: process {pids[0]} of opskit (reports), idle in transaction" in shown
    assert "it holds AccessShareLock: every statement has to wait for it" in shown
    assert "it has a snapshot: an index has to wait for it" in shown


def test_a_migration_that_gives_up_says_who_was_in_the_way(bare: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "PATIENCE_SECONDS", 1.5)
    said: list[str] = []
    with psycopg.connect(bare.settings.database_url or "", application_name="reports") as reader:
        reader.execute(f"SELECT count(*) FROM {TABLE}")
        until(lambda: blockers(bare))

        with pytest.raises(
            DatabaseError,
            match=r"in the way: process \d+ of opskit \(reports\), idle in trans.* again when .*_backend\(PROCESS\)$",
        ):
            migration.migrate(bare, on_line=said.append)

    assert any("steps back and tries again; process" in line for line in said)
    migration.migrate(bare)
    assert migration.missing(bare) == []


# -- how far it is ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_how_far_an_index_is_is_told_while_it_is_built_and_whom_it_waits_for(db: Database) -> None:
    files(db, "one")
    ask(db, f"DROP INDEX {TABLE}_processing_queue")
    told: list[Progress] = []
    with (
        Database(db.settings, pooled=False) as own,
        psycopg.connect(db.settings.database_url or "", application_name="writer") as writer,
    ):
        pid = writer.info.backend_pid
        writer.execute(f"UPDATE {TABLE} SET file_size = 1")
        migrating = threading.Thread(target=migration.migrate, args=(own,), kwargs={"on_progress": told.append})
        migrating.start()
        waiting = until(lambda: [each for each in told if isinstance(each, migration.StepProgress) and each.waits_for])
        writer.commit()
        migrating.join(30)

    assert waiting[0].phase == "waiting for writers before build"
    assert (waiting[0].share, waiting[0].step.part) == (0.0, "indexes")
    assert f"process {pid} of opskit (writer)" in waiting[0].waits_for
    assert waiting[-1].seconds > 0
    assert migration.missing(db) == []


@pytest.mark.parametrize(
    ("phase", "share", "whole"),
    [
        ("initializing", None, None),
        ("building index: scanning table", 0.5, 0.2),
        ("building index: loading tuples in tree", 1.0, 0.5),
        ("index validation: scanning index", None, 0.5),
        ("index validation: scanning table", 0.5, 0.8),
        ("waiting for old snapshots", 0.5, 1.0),
    ],
)
def test_a_phase_is_a_part_of_the_whole(phase: str, share: float | None, whole: float | None) -> None:
    assert progress._whole(phase, share) == whole


def test_who_cannot_look_does_not_disturb_the_work(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(db, f"DROP INDEX {TABLE}_processing_queue")
    real = Database.run

    def refused(self: Database, name: str, /, **values: object) -> Any:
        if name == "migrate/progress":
            raise DatabaseError("no more connections")
        return real(self, name, **values)

    monkeypatch.setattr(Database, "run", refused)
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.001)

    migration.migrate(db, on_progress=lambda _: None)

    assert migration.missing(db) == []


def test_a_terminal_gets_a_bar_a_log_lines_now_and_then_and_a_program_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(*, terminal: bool, quiet: bool = False) -> str:
        out = io.StringIO()
        monkeypatch.setattr(console, "err", console.Terminal(file=out, force_terminal=terminal, width=100))
        monkeypatch.setattr(console.Bar, "LINE_SECONDS", 0)
        with console.progress(quiet=quiet) as bar:
            bar.line("one [line]")
            bar.at(Progress(text="building [x]", share=0.25))
            bar.at(Progress(text="validating"))
        return out.getvalue()

    terminal = shown(terminal=True)
    assert "one [line]" in terminal
    assert "validating" in terminal
    assert shown(terminal=False) == "one [line]\n  building [x], 25%\n  validating\n"
    assert shown(terminal=True, quiet=True) == ""


def test_json_is_all_that_stands_on_stdout(bare: Database) -> None:
    done = opskit(bare.settings, "migrate", "--json")

    (answer,) = json.loads(done.stdout)
    assert answer["missing"] == []
    assert done.stderr == ""
    boot(bare)
