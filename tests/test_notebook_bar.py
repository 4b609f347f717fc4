"""Long calls in a notebook show a bar by themselves; nobody else sees one."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import nbformat
import pytest

from opskit import doctor, migration
from opskit.database import Database
from opskit.queue import claims
from opskit.support.progress import Progress, counting
from tests.support.notebooks import execute

CELLS = """
    import asyncio
    assert asyncio.get_running_loop().is_running()  # the kernel's own; no call of opskit's minds it
    import opskit
    from opskit import migration, queue, stats
    from opskit.support import progress
    progress.DELAY_SECONDS = 0
    db = opskit.connect()
    ---
    migration.rollback(db)
    migration.migrate(db)
    queue.insert(db, ((f"/{n}", f"{n}.csv", n) for n in range(12_000)))
    ---
    with db.connection() as connection:
        connection.execute(f"ALTER TABLE {db.settings.files} ALTER processing_status DROP DEFAULT")
        connection.execute(f"UPDATE {db.settings.files} SET processing_status = NULL")
    queue.adopt(db, "true", actor="notebook")
    ---
    async def within():
        return int(stats.concurrency(db)["queued"].iloc[0])
    await within()
"""


def text_of(output: Any) -> str:
    return str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))


def cells(text: str) -> Any:
    sources = [inspect.cleandoc(part) for part in inspect.cleandoc(text).split("---\n")]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


@pytest.mark.slow
def test_in_a_notebook_long_calls_show_a_bar_and_the_event_loop_is_not_in_the_way(db: Database, tmp_path: Path) -> None:
    book = execute(cells(CELLS), tmp_path, **db.settings.environ())

    # A line of text, or a widget where ipywidgets is installed, whose text says the same.
    shown = ["".join(map(text_of, cell.outputs)) for cell in book.cells]
    assert "migrating" in shown[1]
    assert "queueing" in shown[1]
    assert " files" in shown[1]
    assert "adopting" in shown[2]
    assert "/12000" in shown[2]
    assert [output for cell in book.cells for output in cell.outputs if output.get("name") == "stderr"] == []
    assert book.cells[3].outputs[0]["data"]["text/plain"] == "12000"


def test_outside_a_notebook_there_is_no_bar_and_ones_own_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[Progress] = []

    with counting("adopting", "row", total=9) as told:
        told(3)
    with counting("adopting", "row", total=9, on_progress=said.append) as told:
        told(3)
    with counting("queueing", "file", on_progress=said.append) as told:
        told(4)

    assert [(now.done, now.total, now.text) for now in said] == [
        (3, 9, "adopting: 3 of 9 rows"), (4, None, "queueing: 4 files"),
    ]  # fmt: skip
    assert capsys.readouterr() == ("", "")


def test_records_show_themselves_as_tables_with_everything_escaped(db: Database) -> None:
    row = {"id": "1", "original_filename": "<b>.csv"}
    shown = [
        claims.Answer("claimed", "a-token", row)._repr_html_(),
        claims.Answer("empty", "a-token")._repr_html_(),
        doctor.Finding(
            "warning", "a < b", "why", "opskit migrate", condition=doctor.Condition.NOT_MIGRATED
        )._repr_html_(),
        migration.Step("indexes", "build the indexes", "none", "CREATE INDEX", reads=2)._repr_html_(),
    ]

    assert "<caption>claim: claimed</caption>" in shown[0]
    assert ">&lt;b&gt;.csv</td>" in shown[0]
    assert "<caption>claim: empty</caption>" in shown[1]
    assert ">a &lt; b</td>" in shown[2]
    assert ">CREATE INDEX</td>" in shown[3]
