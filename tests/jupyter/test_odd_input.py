"""Replay, watch, report and magics where what they are given is odd: each says what is wrong in one sentence."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import opskit
from opskit import jupyter, migration, queue, stats
from opskit.database import Database
from opskit.errors import NotMigratedError, OpskitError, ProcessorError, SettingError
from opskit.jupyter.report import hours_of
from opskit.settings import Settings
from opskit.stats import figures
from tests.support.nodes import ask
from tests.support.tables import files


def quiet(file: opskit.ClaimedFile) -> None:
    """A processor that does nothing."""


async def awaited(file: opskit.ClaimedFile) -> None:
    """What no node takes for a processor."""


@pytest.mark.parametrize("id", ["nope", "", None, 1.5, "9" * 40, "1\0", "\ud800", b"1", [1], "счёт", 99_999_999])
def test_a_replay_of_an_id_that_no_file_has_is_one_sentence(db: Database, id: object) -> None:
    files(db, "a.csv")

    with pytest.raises(OpskitError, match=r"^there is no file .* in dev_uploaded_files[^\n]*$"):
        opskit.replay(db, id, quiet)


@pytest.mark.parametrize(
    ("processor", "said"),
    [
        (3, "the processor 3 is int, not a function"),
        (awaited, "the processor awaited is an async function"),
        (lambda: None, "cannot be called with one argument, the file: too many positional arguments"),
        (lambda file, more: None, "cannot be called with one argument, the file: missing a required argument"),
        (dict, "the processor dict is a class"),
        ("nowhere:at_all", "the processor 'nowhere:at_all' cannot be loaded"),
    ],
)
def test_what_no_node_would_run_is_not_replayed_either(db: Database, processor: Any, said: str) -> None:
    (file,) = files(db, "a.csv")

    with pytest.raises(ProcessorError, match=said):
        opskit.replay(db, file, processor)


def test_one_id_is_one_file_to_try_and_an_unknown_one_is_named(db: Database) -> None:
    made = files(db, *(f"{number}.csv" for number in range(12)))

    assert jupyter.try_all(db, made[-1], quiet)["id"].tolist() == [str(made[-1])]
    assert jupyter.try_all(db, int(made[0]), quiet)["id"].tolist() == [str(made[0])]
    with pytest.raises(OpskitError, match="there is no file 'nope' in dev_uploaded_files"):
        jupyter.try_all(db, [made[0], "nope"], quiet)


@pytest.mark.parametrize("seconds", [0, -1, 0.1, float("nan"), float("inf"), 10_000, "1", None])
def test_a_panel_cannot_be_read_at_times_that_are_none(db: Database, seconds: Any) -> None:
    with pytest.raises(SettingError, match=r"^every_seconds is .*; it must be between 0.2 and 3600$"):
        opskit.watch(db, every_seconds=seconds)


def test_how_far_back_may_be_a_number_of_hours() -> None:
    assert (hours_of(24), hours_of(1.5), hours_of("12")) == (24, 1.5, 12)
    for odd in (0, -1, None, float("nan"), "٣h"):
        with pytest.raises(SettingError, match="it must be a time such as 90m, 24h or 7d"):
            hours_of(odd)  # type: ignore[arg-type]  # what somebody types


@pytest.mark.parametrize("id_type", ["uuid", "text"])
def test_a_table_whose_ids_are_no_numbers_is_replayed_watched_and_tried(settings: Settings, id_type: str) -> None:
    with Database(settings) as db:
        ask(
            db,
            f"""CREATE TABLE {settings.files} (id {id_type} PRIMARY KEY DEFAULT gen_random_uuid(), "имя клиента" text,
                original_filename text, file_content bytea)""",
        )
        migration.migrate(db)
        ask(
            db,
            f"""INSERT INTO {settings.files} (original_filename, file_content, processing_status, processing_errors,
                processing_completed_at)
                VALUES ('счёт №1 "<b>.csv', 'ю', 'failed',
                        E'Traceback:\n  File "x.py"\nValueError: нет суммы', now())""",
        )
        (row,) = db.run("replayed", id=stats.files(db)["id"].iloc[0])

        done = opskit.replay(db, row["id"], lambda file: {"bytes": len(file.open().read()), "of": file.row()})
        panel = opskit.watch(db)
        panel.stop()

        assert done.result is not None
        assert done.result["bytes"] == 2
        assert "имя клиента" in done.result["of"]
        assert "счёт №1" in repr(done)
        assert panel.state["failures"][0]["error"].startswith("ValueError: нет суммы")
        assert "счёт" in jupyter.try_all(db, [row["id"]], quiet)["original_filename"].iloc[0]
        shown = stats.files(db, status="failed")[["id", "processing_errors"]]._repr_html_()  # type: ignore[operator]
        assert "ValueError: нет суммы" in shown
        assert "Traceback" not in shown


def test_tables_that_are_not_migrated_are_said_in_the_panel_and_refuse_a_replay(settings: Settings) -> None:
    with Database(settings) as db:
        panel = opskit.watch(db)
        panel.stop()

        assert "not migrated" in panel.state["away"]
        assert "not migrated" in panel._repr_mimebundle_()[0]["text/html"]
        with pytest.raises(NotMigratedError):
            opskit.replay(db, 1, quiet)


def test_an_empty_database_has_figures_a_panel_and_answers_in_sentences(db: Database) -> None:
    panel = opskit.watch(db)
    panel.stop()

    assert "no file has failed" in panel._repr_mimebundle_()[0]["text/html"]
    assert queue.preview(db).message == "nothing is stale: a cleanup would end no claim"
    assert jupyter.try_all(db, [], quiet).attrs["empty"] == "no files to try"
    drawn = figures.bars([], [], title="Nothing [ms]", unit="ms")._repr_mimebundle_()
    assert 'alt="Nothing [ms]: nothing"' in drawn["text/html"]


@pytest.mark.slow
def test_a_scratch_of_a_connection_that_only_reads_is_on_a_server_of_its_own(
    db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    files(db, "a.csv", "b.csv")
    with Database(dataclasses.replace(db.settings, read_only=True)) as reading:
        made = jupyter.scratch(reading, rows=1)
        made.close()

    assert made.local
    assert made.copied == 1
    assert "this connection only reads: the scratch is on a server of its own" in capsys.readouterr().out


# -- magics and SQL of one's own -------------------------------------------------------------


def test_a_statistic_has_its_name_of_python_too_and_an_open_quotation_mark_is_told(shell: InteractiveShell) -> None:
    assert len(shell.run_line_magic("opskit", "stats longest_running")) == 0
    with pytest.raises(SettingError, match="a quotation mark is open in: %opskit stats 'files"):
        shell.run_line_magic("opskit", "stats 'files")


def test_a_frame_takes_any_name_that_python_takes_and_no_keyword(shell: InteractiveShell) -> None:
    shell.run_cell_magic("opskit_sql", "счета", "SELECT 1 AS a")

    assert shell.user_ns["счета"]["a"].tolist() == [1]
    with pytest.raises(SettingError, match="'class' is no name of a variable"):
        shell.run_cell_magic("opskit_sql", "class", "SELECT 1")


def test_a_percent_sign_beside_a_value_is_itself(db: Database) -> None:
    files(db, "a.csv", "b.csv")

    found = db.read(
        "SELECT original_filename AS name, 100 % 7 AS rest FROM dev_uploaded_files "
        "WHERE original_filename LIKE '%.csv' AND original_filename LIKE %(begin)s || '%'",
        begin="b",
    )

    assert found["name"].tolist() == ["b.csv"]
    assert found["rest"].tolist() == [2]


def test_a_value_inside_quotes_is_refused_because_it_would_be_text(db: Database) -> None:
    with pytest.raises(SettingError, match=r"'%\(name\)s%' is a text, in which %\(name\)s is no value"):
        db.read("SELECT 1 WHERE 'x' LIKE '%(name)s%' -- it's a comment", name="x")
    assert db.read("SELECT $$%(a)s$$ AS kept")["kept"].tolist() == ["%(a)s"]


def test_a_copy_is_refused_before_it_begins(db: Database) -> None:
    with pytest.raises(SettingError, match="COPY answers no rows"):
        db.read("-- all of it\ncopy dev_uploaded_files TO STDOUT")
    assert db.read("SELECT 1 AS a")["a"].tolist() == [1]
