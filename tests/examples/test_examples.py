"""Every example is run as its first lines say: by a real node, a real server, on a real PostgreSQL."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from opskit.database import Database
from tests.support.chromium import free_port, wait_for
from tests.support.nodes import add_files, ask
from tests.support.pages import ROOT, of

EXAMPLES = ROOT / "examples"


def run(db: Database, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A Python program, with the examples on its path."""
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        env={**os.environ, **db.settings.environ(), "PYTHONPATH": str(EXAMPLES), **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def process(db: Database, processor: str, **more: str) -> None:
    """A node works the queue off."""
    done = run(db, "-m", "opskit.worker", "--drain", "--processor", processor, **more)
    assert done.returncode == 0, done.stderr


def file(db: Database, path: Path) -> str:
    """Queue a file; its id."""
    (id,) = add_files(db, path.name)
    ask(db, f"UPDATE {db.settings.files} SET storage_path = %s WHERE id = %s", str(path), id)
    return id


def row(db: Database, id: str) -> dict[str, Any]:
    """A file as it stands now."""
    return dict(db.one("file", id=id))


def test_the_page_of_examples_names_each_and_each_has_a_test() -> None:
    there = {path.name for path in EXAMPLES.glob("*.py")}

    assert set(re.findall(r"^\| `(\w+\.py)` \|", (EXAMPLES / "README.md").read_text(), flags=re.MULTILINE)) == there
    tested = Path(__file__).read_text()
    assert all(f"def test_{name.removesuffix('.py')}_" in tested for name in there)


def test_ledger_writes_rows_and_completion_together_and_rejects_an_empty_file(db: Database, tmp_path: Path) -> None:
    (tmp_path / "book.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "empty.csv").touch()
    full, empty = file(db, tmp_path / "book.csv"), file(db, tmp_path / "empty.csv")

    process(db, "ledger:process")

    assert row(db, full)["processing_result"] == {"records": 2}
    lines = ask(db, "SELECT * FROM ledger ORDER BY line")
    assert lines == [{"file_id": full, "line": ["1", "2"]}, {"file_id": full, "line": ["3", "4"]}]
    assert (row(db, empty)["processing_status"], row(db, empty)["processing_attempt"]) == ("failed", 1)
    assert "the file is empty" in row(db, empty)["processing_errors"]


def test_ledger_is_the_processor_of_the_page() -> None:
    (shown,) = (
        block for block in of(ROOT / "docs" / "howto" / "processor.md", "python") if "# ledger.py" in block.text
    )
    code = shown.text.split("def process")[1].split(":\n", 1)[1]
    kept = (EXAMPLES / "ledger.py").read_text().split("def process")[1].split('neither."""\n', 1)[1]

    assert re.sub(r"  # .*", "", code) == re.sub(r"  # .*", "", kept)


def test_publish_once_publishes_the_copy_of_the_attempt_that_completed(db: Database, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear all\n")
    id = file(db, tmp_path / "letter.txt")
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    # What a killed attempt leaves behind: nobody knows it.
    (outbox / f"{id}-0.gz").write_bytes(b"half")

    process(db, "publish_once:process", OUTBOX=str(outbox))

    (published,) = ask(db, "SELECT * FROM published")
    assert published["file_id"] == id
    assert gzip.decompress(Path(published["path"]).read_bytes()) == b"dear all\n"
    assert row(db, id)["processing_result"] == {"published": Path(published["path"]).name}


def test_long_work_reports_its_progress(db: Database, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("x")
    id = file(db, tmp_path / "secret.txt")

    process(db, "long_work:process")

    assert len(row(db, id)["processing_result"]["key"]) == 64


@pytest.mark.slow
def test_upload_form_takes_an_upload_that_a_node_then_processes(db: Database, tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    port = free_port()
    ask(db, "CREATE VIEW uploaded_files AS SELECT * FROM dev_uploaded_files")
    environment = {**os.environ, **db.settings.environ(), "PYTHONPATH": str(EXAMPLES), "UPLOADS": str(uploads)}
    with (tmp_path / "form.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "upload_form:app", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/openapi.json", server, log.name)
            body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nn\n1\n\r\n--x--\r\n'
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            request = urllib.request.Request(f"{address}/uploads", data=body, headers=headers, method="POST")
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == 201
        finally:
            server.terminate()
            server.wait(10)

    process(db, "opskit.processors:inspect_file")

    (taken,) = ask(db, "SELECT * FROM dev_uploaded_files")
    assert (taken["original_filename"], taken["processing_status"]) == ("a.csv", "completed")
    assert taken["processing_result"]["size"] == 4


@pytest.mark.slow
def test_morning_report_lists_failures_and_queues_a_group_again(db: Database, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    id = file(db, tmp_path / "empty.csv")
    process(db, "ledger:process")

    told = run(db, str(EXAMPLES / "morning_report.py"))
    queued = run(db, str(EXAMPLES / "morning_report.py"), "--requeue", "1")

    assert told.returncode == 0, told.stderr
    assert "1. 1 file: " in told.stdout
    assert "1 file queued again" in queued.stdout
    assert row(db, id)["processing_status"] == "queued"
