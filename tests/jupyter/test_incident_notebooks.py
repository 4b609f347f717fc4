"""The runbook of an incident and the place to develop a processor, run as notebooks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from opskit import jupyter, queue, stats
from opskit.database import Database
from tests.support.nodes import ask
from tests.support.notebooks import complaints, everything, execute, notebook, printed, run, scratches, shown

INCIDENT = {
    "claims": "[claim['verdict'] for claim in preview]",
    "groups": "failures['error'].tolist()",
    "ended": "[claim['outcome'] for claim in cleaned.ended]",
    "requeued": "[row['was'] for row in requeued]",
    "totals": "[int(before['total_files']), int(after['total_files'])]",
    "reasons": "acts['reason'].dropna().tolist()",
}


def incident(db: Database, folder: Path, **parameters: object) -> tuple[Any, dict[str, Any]]:
    """The runbook, run with parameters as papermill sets them."""
    book = notebook("03_incident")
    book.cells.insert(
        2, nbformat.v4.new_code_cell("\n".join(f"{key} = {value!r}" for key, value in parameters.items()))
    )
    values = ", ".join(f"{key!r}: {expression}" for key, expression in INCIDENT.items())
    book.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{values}}}, default=str))"))
    done = execute(book, folder, **db.settings.environ())
    return done, json.loads(done.cells.pop().outputs[0]["text"])


@pytest.fixture
def troubled(busy: Database) -> Database:
    """A node that is silent with a file in its hands, and one failed file."""
    ask(
        busy,
        f"UPDATE {busy.names['nodes']} SET beat_at = now() - interval '2 hours', "
        "lease_until = now() - interval '1 hour' WHERE server_id = 'node-c'",
    )
    return busy


@pytest.mark.slow
def test_the_runbook_changes_nothing_without_act_and_says_what_it_would_do(troubled: Database, tmp_path: Path) -> None:
    before = everything(troubled)
    with Database(dataclasses.replace(troubled.settings, read_only=True)) as viewer:
        (group,) = stats.failures(viewer)["error"].tolist()

        book, values = incident(viewer, tmp_path, error=group, server_id="node-c")

    assert complaints(book) == []
    assert values["claims"] == ["silent"]
    assert values["groups"] == [group]
    assert (values["ended"], values["requeued"]) == ([], [])
    assert printed(book).count("act is False: nothing was changed") == 2
    assert len(shown(book)) == 2
    assert everything(troubled) == before


@pytest.mark.slow
def test_the_runbook_acts_with_a_reason_and_proves_that_nothing_was_lost(troubled: Database, tmp_path: Path) -> None:
    (group,) = stats.failures(troubled)["error"].tolist()

    book, values = incident(troubled, tmp_path, error=group, act=True, reason="node-c lost its disk")

    assert complaints(book) == []
    assert values["ended"] == ["queued"]
    assert values["requeued"] == ["failed"]
    assert values["totals"] == [17, 17]
    assert "node-c lost its disk" in values["reasons"]
    assert stats.stale(troubled).empty
    assert stats.failures(troubled).empty
    ended = stats.events(troubled, kind="attempt")
    assert troubled.actor in ended["actor"].tolist()


@pytest.mark.slow
def test_the_runbook_does_not_act_without_a_reason(troubled: Database, tmp_path: Path) -> None:
    before = everything(troubled)

    with pytest.raises(CellExecutionError, match="the history wants to know why"):
        incident(troubled, tmp_path, act=True)

    assert everything(troubled) == before


@pytest.mark.slow
def test_a_processor_is_developed_against_a_file_that_failed_and_nothing_changes(db: Database, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"a,b\n\xff\n")
    with Database(dataclasses.replace(db.settings, processor="opskit.jupyter:refusing", max_failures=1)) as own:
        queue.enqueue(own, [tmp_path / "bad.txt"])
        jupyter.work(own, "node-a")
        before = everything(own)

        book, values = run(
            "06_processor", own.settings, tmp_path, seen="type(seen).__name__", same="seen.__notes__",
            answer="str(answer)", tried="tried['outcome'].tolist()", played="played",
        )  # fmt: skip

        assert complaints(book) == []
        assert values["seen"] == "UnicodeDecodeError"
        assert "the same error as the stored one" in values["same"]
        assert values["answer"] == "this is no text: byte 4"
        assert (values["tried"], values["played"]) == (["rejected"], False)
        assert everything(own) == before


@pytest.mark.slow
def test_where_no_file_has_failed_a_processor_is_developed_in_a_place_to_play(db: Database, tmp_path: Path) -> None:
    before = everything(db)

    book, values = run(
        "06_processor", db.settings, tmp_path, seen="type(seen).__name__", tried="tried['outcome'].tolist()",
        played="played",
    )  # fmt: skip

    assert complaints(book) == []
    assert values["played"] is True
    assert values["seen"] in ("UnicodeDecodeError", "IndexError")
    assert {"completed", "rejected"} <= set(values["tried"])
    assert everything(db) == before
    assert scratches(db) == []
