"""The documentation's first ten minutes of an analyst, run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from opskit import jupyter, queue
from opskit.database import Database
from tests.support.nodes import ask
from tests.support.pages import DOCS, of
from tests.support.tables import environ

PAGE = DOCS / "howto" / "notebooks.md"
SHOW = """
def show(value):
    for name in ("_repr_html_", "_repr_mimebundle_"):
        if hasattr(value, name):
            assert getattr(value, name)()
    print(repr(value)[:400])
"""


def displayed(text: str) -> str:
    """A cell's code; what stands on its last line is shown, as a notebook does."""
    import ast

    tree = ast.parse(text)
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        call = ast.Call(ast.Name("show", ast.Load()), [last.value], [])
        tree.body[-1] = ast.fix_missing_locations(ast.copy_location(ast.Expr(call), last))
    return ast.unparse(ast.fix_missing_locations(tree))


@pytest.mark.slow
def test_an_analysts_first_ten_minutes_run_as_the_page_says(db: Database, tmp_path: Path) -> None:
    queue.enqueue(db, jupyter.samples())
    jupyter.work(db, "node-a")
    ask(
        db,
        "UPDATE dev_uploaded_files SET processing_status = 'failed', processing_errors = 'KeyError: ''amount''', "
        "processing_done_token = NULL WHERE id = 3",
    )
    cells = [displayed(block.text) for block in of(PAGE, "python")]
    assert len(cells) > 8
    (tmp_path / "page.py").write_text("\n".join([SHOW, *cells]))

    done = subprocess.run(
        [sys.executable, "-W", "error", "page.py"], env=environ(db.settings), cwd=tmp_path, capture_output=True,
        text=True, timeout=100, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "True" in done.stdout.splitlines()
    assert "its stored error did not come again: KeyError: 'amount'" in done.stdout
    assert "Files by server and state [files]: queued: 0, processing: 0, completed: 12, failed: 1" in done.stdout
    table = pd.read_excel(tmp_path / "failures.xlsx", engine="openpyxl")
    assert table["file_count"].tolist() == [1]
    assert "latest [UTC]" in table.columns
