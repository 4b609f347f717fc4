"""%load_ext opskit in a real IPython: verbs, SQL, completion, on the notebook's own connection."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from opskit import queue, stats
from opskit.database import Database
from opskit.errors import DatabaseError, SettingError
from tests.support.tables import files


def test_a_statistic_is_a_frame_and_the_doctor_answers_findings(shell: InteractiveShell, db: Database) -> None:
    files(db, "a.csv")

    frame = shell.run_line_magic("opskit", "stats files")

    assert frame["original_filename"].tolist() == ["a.csv"]
    assert any(finding.check == "queue" for finding in shell.run_line_magic("opskit", "doctor"))
    with pytest.raises(SettingError, match="there is no statistic 'nothing'; there are concurrency, distribution"):
        shell.run_line_magic("opskit", "stats nothing")


def test_any_other_verb_acts_on_the_notebooks_own_database(
    shell: InteractiveShell, db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_line_magic("opskit", "pause --all --reason 'a deploy'")

    assert stats.pauses(db)["reason"].tolist() == ["a deploy"]
    assert "every node paused (development)" in capsys.readouterr().out
    shell.run_line_magic("opskit", "no-such-verb")
    assert "there is no verb" in capsys.readouterr().err


def test_a_cell_of_sql_is_a_frame_with_the_notebooks_variables(shell: InteractiveShell, db: Database) -> None:
    files(db, "a.csv", "b.csv")
    shell.user_ns["wanted"] = "b.csv"
    query = "SELECT original_filename FROM dev_uploaded_files WHERE original_filename = %(wanted)s"

    frame = shell.run_cell_magic("opskit_sql", "found", query)

    assert frame["original_filename"].tolist() == ["b.csv"]
    assert shell.user_ns["found"] is frame
    with pytest.raises(DatabaseError, match="read-only"):
        shell.run_cell_magic("opskit_sql", "", "DELETE FROM dev_uploaded_files")
    with pytest.raises(SettingError, match="no variable 'nobody'"):
        shell.run_cell_magic("opskit_sql", "", "SELECT %(nobody)s")
    with pytest.raises(SettingError, match="no name of a variable"):
        shell.run_cell_magic("opskit_sql", "a b", "SELECT 1")
    assert len(stats.files(db)) == 2
    assert queue.preview(db) == []


@pytest.mark.parametrize(
    ("line", "symbol", "offered"),
    [
        ("%opskit ", "", {"stats", "cleanup", "requeue"}), ("%opskit st", "st", {"stats"}),
        ("%opskit stats ", "", {"failures", "nodes"}), ("%opskit requeue --", "--", {"--failed", "--reason"}),
        ("%opskit nothing ", "", set()),
    ],
)  # fmt: skip
def test_verbs_statistics_and_flags_are_completed(
    shell: InteractiveShell, line: str, symbol: str, offered: set[str]
) -> None:
    class Event:
        pass

    event: Any = Event()
    event.line, event.symbol = line, symbol
    from opskit.jupyter import magics

    found = set(magics._loaded[id(shell)].complete(shell, event))

    assert offered <= found
    assert bool(offered) == bool(found)
