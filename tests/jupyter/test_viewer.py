"""Somebody who may only read opens every notebook, and can change nothing with any of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from opskit import jupyter, migration, queue, stats
from opskit.database import Database
from opskit.errors import OpskitError
from tests.migration.test_roles import As, become
from tests.support.nodes import ask
from tests.support.notebooks import NAMES, code_cells, complaints, everything, execute, notebook, printed
from tests.support.tables import claimed, fail, put_node

__all__ = ["become"]
DEAD = "beat_at = now() - interval '2 hours', lease_until = now() - interval '1 hour'"


@pytest.fixture
def troubled(db: Database) -> Database:
    """Files that were processed, one that failed, and a claim that nobody works on."""
    queue.enqueue(db, jupyter.samples())
    jupyter.work(db, "node-a", max_files=3)
    id, token = claimed(db, "node-bad")
    fail(db, id, token, outcome="rejected", error="line 17 is bad")
    claimed(db, "node-gone")
    put_node(db, "node-gone", DEAD)
    return db


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_viewer_opens_every_notebook_by_run_all_and_changes_nothing(
    troubled: Database, become: As, tmp_path: Path, name: str
) -> None:
    before = everything(troubled)
    viewer = become("viewer")

    done = execute(notebook(name), tmp_path, **viewer.environ())

    assert complaints(done) == []
    assert all(cell.execution_count for cell in code_cells(done))
    assert everything(troubled) == before
    if name in ("01_migration", "05_drill"):
        assert "on this machine" in printed(done)


@pytest.mark.slow
def test_a_viewer_acts_by_no_function_and_by_no_button(troubled: Database, become: As) -> None:
    before = everything(troubled)
    with Database(become("viewer")) as viewer:
        panel = jupyter.panel.Panel(viewer).read()
        assert (panel["may_act"], panel["may_not"]) == (False, "this role may only read")
        assert panel["unread"] == "this role may not read what attempts say"
        for action in panel["actions"]:
            with pytest.raises(OpskitError):
                jupyter.panel.act(viewer, action["verb"], action["values"], reason="test")
        assert not stats.failures(viewer).empty
        assert {action["verb"] for action in panel["actions"]} == {"cleanup", "requeue", "cancel", "pause"}

    assert everything(troubled) == before


@pytest.mark.slow
def test_a_scratch_of_a_viewer_has_the_rows_and_ends_with_its_server(troubled: Database, become: As) -> None:
    ask(troubled, "CREATE TYPE mood AS ENUM ('calm', 'grim')")
    added = "ADD COLUMN mood mood DEFAULT 'grim', ADD COLUMN body bytea NOT NULL DEFAULT ''"
    ask(troubled, f"ALTER TABLE dev_uploaded_files {added}")
    with Database(become("viewer")) as viewer:
        scratch = jupyter.scratch(viewer, rows=2)
        assert scratch.local
        assert scratch.copied == 2
        migration.migrate(scratch)
        shown = ask(scratch, "SELECT id, original_filename, mood FROM dev_uploaded_files ORDER BY id DESC")
        home = scratch.settings.home_path
        scratch.close()

    newest = ask(troubled, "SELECT id, original_filename, mood FROM dev_uploaded_files ORDER BY id DESC LIMIT 2")
    assert shown == newest
    assert not home.exists()
