"""Notebooks as people and papermill run them, and what they show."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from opskit.database import Database
from opskit.settings import Settings
from tests.support.nodes import ask
from tests.support.tables import tables_of

ROOT = Path(__file__).parents[2]


NAMES = ("01_migration", "02_verification", "03_incident", "04_capacity", "05_drill", "06_processor", "07_report")


FIGURE = "application/vnd.plotly.v1+json"


SECONDS = 60  # the longest that one cell may take


def notebook(name: str) -> Any:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code_cells(book: Any) -> list[Any]:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def execute(book: Any, folder: Path, **environ: str) -> Any:
    client = NotebookClient(book, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    return client.execute(env={**os.environ, **environ})


def run(name: str, settings: Settings, folder: Path, **wanted: str) -> tuple[Any, dict[str, Any]]:
    """Run a notebook on a database; answers it, and the values of the expressions *wanted* at its end."""
    book = notebook(name)
    values = ", ".join(f"{key!r}: {expression}" for key, expression in wanted.items())
    book.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{values}}}, default=str))"))
    done = execute(book, folder, **settings.environ())
    return done, json.loads(done.cells.pop().outputs[0]["text"])


def outputs(book: Any) -> list[Any]:
    return [output for cell in code_cells(book) for output in cell.outputs]


def shown(book: Any) -> list[Any]:
    """The figures that a notebook shows."""
    return [output["data"][FIGURE] for output in outputs(book) if FIGURE in output.get("data", {})]


def printed(book: Any) -> str:
    return "".join(output["text"] for output in outputs(book) if output["output_type"] == "stream")


def complaints(book: Any) -> list[str]:
    """What a reader would take for an alarm: errors and whatever stands on stderr."""
    return [
        str(output.get("text") or output.get("evalue"))
        for output in outputs(book)
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]


def everything(db: Database) -> dict[str, list[str]]:
    """All rows of one environment's tables, as text."""
    return {
        table: [row["row"] for row in ask(db, f'SELECT t::text AS row FROM "{table}" AS t ORDER BY 1')]
        for table in tables_of(db.settings)
    }


def scratches(db: Database) -> list[str]:
    return [row["nspname"] for row in ask(db, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'opskit_scratch%'")]
