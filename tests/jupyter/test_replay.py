"""Replay: a failed attempt again, here, with the error that is stored, and a database that is as it was."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import tomllib
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

import opskit
from opskit import jupyter, processors
from opskit.database import Database, programs
from opskit.errors import CompletionError, OpskitError, ProcessorError
from opskit.queue.error_identity import of_exception
from opskit.queue.error_lines import last_line
from opskit.settings import DEFAULT_PROCESSOR, Settings
from tests.support import servers
from tests.support.http_servers import listening
from tests.support.tables import ROOT, application, files, psql_program, put, row

PROCESSORS = '''
import asyncio
import pathlib
import sys

import opskit
from opskit import processors


class Refused(Exception):
    """The partner's rule."""


def inner(n):
    raise ValueError(f"line {n} is no statement of account")


def process(file):
    name = file.name
    if name.startswith("load-"):
        return processors.load_table(file)
    if name.startswith("raises"):
        inner(17)
    if name.startswith("chained"):
        try:
            inner(4)
        except ValueError as error:
            raise Refused("the statement is refused") from error
    if name.startswith("rejects"):
        raise opskit.Reject("not a statement of account")
    if name.startswith("exits"):
        sys.exit("no more")
    if name.startswith("group"):
        raise ExceptionGroup("several", [KeyError("amount"), ValueError("no date")])
    if name.startswith("returns"):
        return [1, 2]
    if name.startswith("unique"):
        with file.completing() as tx:
            tx.execute("INSERT INTO ledger VALUES (1, 1)")
            tx.execute("INSERT INTO ledger VALUES (1, 1)")
    if name.startswith("swallows"):
        with file.completing() as tx:
            try:
                tx.execute("SELECT 1 / 0")
            except Exception:
                pass
    if name.startswith("deferred"):
        with file.completing() as tx:
            tx.execute("INSERT INTO entries VALUES (7, 4711)")
    if name.startswith("open"):
        file.completing().__enter__().execute("INSERT INTO ledger VALUES (5, 5)")
    if name.startswith("row"):
        raise Refused(f"customer {file.row()['customer']} owes {file.attempt}, {file.failures}")
    with file.open() as stream:
        stream.read().decode("utf-8")
    return {"decoded": True}
'''
TABLES = """
    CREATE TABLE ledger (id int PRIMARY KEY, amount int);
    CREATE TABLE entries (id int PRIMARY KEY, ledger int REFERENCES ledger DEFERRABLE INITIALLY DEFERRED);
    ALTER TABLE {} ADD COLUMN IF NOT EXISTS customer text, ADD COLUMN IF NOT EXISTS file_content bytea
"""


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the processor that fails in many ways, in the current folder."""
    (tmp_path / "partner.py").write_text(PROCESSORS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "partner:process"
    sys.modules.pop("partner", None)


@pytest.fixture
def play(db: Database, processor: str) -> Iterator[Database]:
    """The database with tables of the processor's own; a file fails with its first attempt."""
    with application(db.settings) as connection:
        connection.execute(TABLES.replace("{}", db.settings.files).encode())
    with Database(dataclasses.replace(db.settings, processor=processor, max_failures=1)) as own:
        yield own


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server whose files are uploads, too."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "latin.txt").write_bytes("Grüße".encode("latin-1"))

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "www"), **more)

        def log_message(self, *_: object) -> None:
            pass

    with listening(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def dump(settings: Settings) -> str:
    """The whole database as pg_dump writes it, without the values of sequences and pg_dump's own random lines."""
    program = shutil.which("pg_dump", path=programs.find_binaries(Settings.load({}, pg_bin=servers.PG_BIN)))
    assert program
    assert settings.database_url
    text = subprocess.run([program, settings.database_url], capture_output=True, text=True, check=True).stdout
    return re.sub(r"(?m)^(\\(un)?restrict .*|SELECT pg_catalog\.setval\(.*)$", "", text)


def run_pytest(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "opskit.files.pytest_plugin", "-p", "no:cacheprovider", "."]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    return subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, check=False)


def stored(db: Database, id: str) -> dict[str, Any]:
    found = row(db, id)["processing_failure"]
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_a_replay_raises_what_is_stored_and_leaves_the_database_as_it_was(
    play: Database, tmp_path: Path, web: str
) -> None:
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3,4,5\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 is not enough")
    (tmp_path / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    kinds = {
        "raises.txt": {}, "chained.txt": {}, "rejects.txt": {}, "exits.txt": {}, "group.txt": {}, "returns.txt": {},
        "unique.txt": {}, "swallows.txt": {}, "deferred.txt": {}, "open.txt": {}, "row.txt": {"customer": "acme"},
        "load-ragged.csv": {"storage_path": str(tmp_path / "ragged.csv")},
        "load-broken.parquet": {"storage_path": str(tmp_path / "broken.parquet")},
        "latin.txt": {"storage_path": str(tmp_path / "latin.txt")},
        "missing.txt": {"storage_path": str(tmp_path / "nowhere.txt")},
        "remote.txt": {"storage_path": f"{web}/latin.txt"},
        "remote missing.txt": {"storage_path": f"{web}/nowhere.txt"},
        "in the row.txt": {"file_content": b"Gr\xfc\xdfe"},
        "in no row.txt": {},
    }  # fmt: skip
    ids = {name: files(play, name, **columns)[0] for name, columns in kinds.items()}  # type: ignore[arg-type]
    # No more than four each: a node whose attempts all end badly rests between claims.
    jupyter.work(play, *"abcde", max_files=4)
    before = dump(play.settings)

    for name, id in ids.items():
        assert row(play, id)["processing_status"] == "failed", name
        with pytest.raises(BaseException) as raised:  # noqa: PT011 - each its own
            opskit.replay(play, id)
        error = raised.value.with_traceback(raised.tb.tb_next)  # from the replay on, without the test's own frame
        here = of_exception(error, home="partner", known=(id, name, kinds[name].get("storage_path")))  # type: ignore[attr-defined]
        assert (here.error, here.place) == (stored(play, id)["error"], stored(play, id)["place"]), name
        notes = "\n".join(raised.value.__notes__)
        assert f"replay of file {id} ({name}), attempt 1: nothing was written" in notes
        assert "the same error as the stored one" in notes, (name, notes)

    assert dump(play.settings) == before


def test_a_replayed_processor_sees_the_attempt_as_it_was(play: Database) -> None:
    (id,) = files(play, "row.txt", customer="acme")
    jupyter.work(play, "node-a")

    with pytest.raises(Exception, match="customer acme owes 1, 0"):
        opskit.replay(play, id)


def test_a_mended_processor_returns_in_a_replay_and_nothing_is_loaded(play: Database, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("a,b\n1,2\n3,4\n")
    (id,) = files(play, "load-good.csv", storage_path=str(tmp_path / "good.csv"), processing_failures=2)
    before = dump(play.settings)

    done = opskit.replay(play, id, "opskit.processors:load_table")

    assert {name: done.result[name] for name in ("table", "rows", "columns")} == {
        "table": "dev_loaded_load_good", "rows": 2, "columns": ["a", "b"],
    }  # fmt: skip
    assert done.progress == (12, 12)
    assert done.outside == []
    assert "nothing was written to the database" in repr(done)
    assert "load-good.csv" in done._repr_html_()
    assert dump(play.settings) == before


def test_no_commit_of_the_processors_own_gets_through(play: Database) -> None:
    (id,) = files(play, "x.txt")
    before = dump(play.settings)
    tries = {
        "COMMIT": "cannot be committed",
        "COMMIT AND CHAIN": "cannot be committed",
        "INSERT INTO ledger VALUES (3, 3); COMMIT": "cannot be committed",
        "PREPARE TRANSACTION 'x'": "",
        "ROLLBACK; INSERT INTO ledger VALUES (3, 3)": "read-only",
        "ROLLBACK; BEGIN; INSERT INTO ledger VALUES (3, 3); COMMIT": "read-only",
        "ROLLBACK": "ended the transaction",
    }
    for text, told in tries.items():

        def process(file: opskit.ClaimedFile, text: str = text) -> None:
            with file.completing() as tx:
                tx.execute(text.encode())

        with pytest.raises(Exception, match=r".") as raised:
            opskit.replay(play, id, process)
        assert told in "\n".join([str(raised.value), *raised.value.__notes__]), text
    for call in ("commit", "rollback"):

        def calls(file: opskit.ClaimedFile, call: str = call) -> None:
            with file.completing() as tx:
                getattr(tx, call)()

        with pytest.raises(psycopg.ProgrammingError, match="is not for a processor"):
            opskit.replay(play, id, calls)
    assert dump(play.settings) == before


def test_a_commit_that_got_through_all_the_same_is_found(play: Database) -> None:
    (id,) = files(play, "x.txt")

    def process(file: opskit.ClaimedFile) -> None:
        with file.completing() as tx:
            tx.execute("ROLLBACK; BEGIN READ WRITE; INSERT INTO ledger VALUES (3, 3); COMMIT")

    with pytest.raises(CompletionError, match="ended the transaction") as raised:
        opskit.replay(play, id, process)

    notes = "\n".join(raised.value.__notes__)
    assert "what it committed in its own words stays" in notes
    assert "nothing was written" not in notes


@pytest.mark.slow
def test_a_replay_names_what_it_cannot_take_back(play: Database, tmp_path: Path) -> None:
    (id,) = files(play, "x.txt")
    with application(play.settings) as connection:
        connection.execute("CREATE SEQUENCE invoice_number; CREATE SEQUENCE untouched")

    def process(file: opskit.ClaimedFile) -> None:
        (tmp_path / "side effect.txt").write_text("x")
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        with psycopg.connect(play.settings.database_url or "") as own:
            assert own.execute("SELECT 1").fetchone() == (1,)
        with file.completing() as tx:
            tx.execute("SELECT nextval('invoice_number')")

    told = opskit.replay(play, id, process).outside

    assert "the sequence public.invoice_number moved on" in told
    assert not [line for line in told if "untouched" in line]
    assert any("a connection of its own to" in line for line in told)
    assert f"file {tmp_path / 'side effect.txt'} opened for writing" in told
    assert any(line.startswith("program ") for line in told)


def test_a_connection_of_the_processors_own_only_reads_in_a_replay_and_writes_after_it(play: Database) -> None:
    (id,) = files(play, "x.txt")
    before = dump(play.settings)

    def process(file: opskit.ClaimedFile) -> None:
        with psycopg.connect(play.settings.database_url or "") as own:
            own.execute("INSERT INTO ledger VALUES (9, 9)")

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as raised:
        opskit.replay(play, id, process)

    assert "read-only in a replay" in "\n".join(raised.value.__notes__)
    assert dump(play.settings) == before
    process(opskit.claimed(b""))
    assert dump(play.settings) != before


def test_a_replay_locks_no_row_and_a_rest_in_its_block_ends(play: Database) -> None:
    (id,) = files(play, "x.txt")

    def process(file: opskit.ClaimedFile) -> None:
        with file.completing() as tx:
            (rest,) = tx.execute("SHOW idle_in_transaction_session_timeout").fetchone().values()  # type: ignore[union-attr]
            assert rest == "5min"
            other = threading.Thread(target=put, args=(play, id, "customer = 'meanwhile'"), daemon=True)
            other.start()
            other.join(10)
            assert not other.is_alive()

    opskit.replay(play, id, process)

    assert row(play, id)["customer"] == "meanwhile"


def test_a_read_only_connection_replays_and_the_processor_reads(play: Database) -> None:
    (id,) = files(play, "x.txt")
    with Database(dataclasses.replace(play.settings, read_only=True)) as viewer:

        def process(file: opskit.ClaimedFile) -> None:
            with file.completing() as tx:
                tx.execute("INSERT INTO ledger VALUES (9, 9)")

        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            opskit.replay(viewer, id, process)

        assert opskit.replay(viewer, id, lambda file: {"name": file.name}).result == {"name": "x.txt"}


def test_a_file_or_processor_that_is_not_there_is_told_in_one_sentence(play: Database) -> None:
    with pytest.raises(OpskitError, match="there is no file '4711' in dev_uploaded_files"):
        opskit.replay(play, 4711)
    with pytest.raises(OpskitError, match="ids look different"):
        opskit.replay(play, "not a number")
    (id,) = files(play, "x.txt")
    with pytest.raises(ProcessorError, match="cannot be loaded"):
        opskit.replay(play, id, "nowhere:process")


def test_a_second_block_is_refused_as_on_a_node(play: Database) -> None:
    (id,) = files(play, "x.txt")

    def process(file: opskit.ClaimedFile) -> None:
        with file.completing():
            pass
        with file.completing():
            pass

    with pytest.raises(CompletionError, match="completed already"):
        opskit.replay(play, id, process)


# -- files of tests --------------------------------------------------------------------------


def test_a_claimed_file_is_made_of_bytes_of_a_path_and_of_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")

    for file in (
        opskit.claimed(b"a\n1\n", name="a.csv"),
        opskit.claimed(tmp_path / "a.csv"),
        opskit.claimed(row={"original_filename": "a.csv", "file_content": b"a\n1\n", "customer": "acme"}),
        opskit.claimed(row={"storage_path": str(tmp_path / "a.csv"), "id": 7}),
    ):
        found = processors.inspect_file(file)
        assert (found["rows"], found["size"], file.name, file.file_size) == (1, 4, "a.csv", 4)
        assert file.desk.progress_reports[-1] == (4, 4)  # type: ignore[attr-defined]
    assert file.id == "7"
    row = opskit.claimed(row={"customer": "acme", "file_content": b"x"}).row()
    assert (row["customer"], "file_content" in row) == ("acme", False)


def test_completing_of_a_claimed_file_is_a_transaction_of_the_tests_own_connection(db: Database) -> None:
    with psycopg.connect(db.settings.database_url or "") as connection:
        connection.execute("CREATE TABLE ledger (id int)")
        file = opskit.claimed(b"", connection=connection)
        with file.completing({"rows": 1}) as tx:
            tx.execute("INSERT INTO ledger VALUES (1)")
        with pytest.raises(CompletionError, match="one block a file"), file.completing():
            pass
        assert connection.execute("SELECT id FROM ledger").fetchall() == [(1,)]
        assert file.desk.results == [{"rows": 1}]  # type: ignore[attr-defined]
        connection.rollback()
    with pytest.raises(OpskitError, match="connection="), opskit.claimed(b"").completing():
        pass


@pytest.mark.slow
def test_the_fixture_is_found_by_pytest_where_opskit_is_installed(tmp_path: Path) -> None:
    test = """
        from opskit.processors import inspect_file

        def test_a_table_has_a_row(opskit_file):
            file = opskit_file(b"a,b\\n1,2\\n", name="x.csv")
            assert inspect_file(file)["rows"] == 1
            assert file.desk.progress_reports == [(8, 8)]
    """
    (tmp_path / "test_mine.py").write_text(textwrap.dedent(test))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "opskit.files.pytest_plugin", "-p", "no:cacheprovider", "."]

    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}

    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)

    assert "1 passed" in done.stdout, done.stdout + done.stderr
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert declared == {"opskit.files.pytest_plugin": "opskit.files.pytest_plugin"}


def test_the_page_on_testing_is_true(database_url: str, tmp_path: Path) -> None:
    """Its tests of the processor of docs/howto/processor.md pass."""
    page = (ROOT / "docs" / "howto" / "testing-processors.md").read_text(encoding="utf-8")
    processor = (ROOT / "docs" / "howto" / "processor.md").read_text(encoding="utf-8")
    (ledger,) = re.findall(r"```python\n# ledger.py\n(.*?)```", processor, flags=re.DOTALL)
    (tests,) = re.findall(r"```python\n# test_ledger.py\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "ledger.py").write_text(ledger)
    (tmp_path / "test_ledger.py").write_text(tests)
    (tmp_path / "conftest.py").write_text(
        f"import pytest\n\n@pytest.fixture\ndef database_url():\n    return {database_url!r}\n"
    )

    done = run_pytest(tmp_path)

    assert "2 passed" in done.stdout, done.stdout + done.stderr


# -- programs and servers --------------------------------------------------------------------

PROGRAM = """
case "$1" in
  reject*) echo "not a statement of account" >&2; exit 65;;
  fail*) echo "line 17 is bad" >&2; exit 3;;
  killed*) kill -9 $$;;
  result*) echo '{"rows": 7}' > "$OPSKIT_RESULT"; echo "7 7" >&3;;
  writes*) psql "$URL" -c "INSERT INTO ledger VALUES (1, 1)" >&2 || exit 3;;
esac
"""


@pytest.mark.slow
def test_a_program_is_replayed_with_the_end_that_is_stored_and_writes_nothing(
    play: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work.sh").write_text(PROGRAM)
    monkeypatch.setenv("PATH", f"{Path(psql_program()).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("URL", play.settings.database_url or "")
    exec = f"sh {tmp_path / 'work.sh'} {{name}}"
    with Database(
        dataclasses.replace(play.settings, processor=DEFAULT_PROCESSOR, exec=exec, storage=str(tmp_path))
    ) as db:
        ids = {name: files(db, name, file_content=b"x")[0] for name in ("reject", "fail", "killed")}
        jupyter.work(db, "node-a")
        (result,), (writes,) = files(db, "result", file_content=b"x"), files(db, "writes", file_content=b"x")
        before = dump(db.settings)

        for name, id in ids.items():
            with pytest.raises(Exception, match=r".") as raised:
                opskit.replay(db, id)
            assert last_line(row(db, id)["processing_errors"]).endswith(str(raised.value).splitlines()[-1]), name
            assert "the same error as the stored one" in "\n".join(raised.value.__notes__), name
        done = opskit.replay(db, result)
        with pytest.raises(Exception, match="read-only transaction"):
            opskit.replay(db, writes)

        assert done.result == {"rows": 7}
        assert done.progress == (7, 7)
        assert any(line.startswith("program ") for line in done.outside)
        assert dump(db.settings) == before


def test_a_server_that_processes_files_is_not_asked_by_a_replay(play: Database) -> None:
    (id,) = files(play, "x.txt")
    with (
        Database(
            dataclasses.replace(play.settings, processor=DEFAULT_PROCESSOR, post="http://127.0.0.1:9/process")
        ) as db,
        pytest.raises(OpskitError, match="which would do the work in earnest"),
    ):
        opskit.replay(db, id)
