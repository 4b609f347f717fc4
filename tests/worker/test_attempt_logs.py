"""What attempts say: read from the child, told in the node's log, kept in the database, shown by every door."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opskit import queue, stats
from opskit.database import Database
from opskit.queue import attempt_logs
from opskit.worker.output import MOST_BEGINNING, MOST_END, AttemptLog
from tests.support.api import served
from tests.support.nodes import Node, add_files, ask, counts, running_nodes, status, until
from tests.support.tables import environ, opskit, put, row

Start = Callable[..., Node]


@pytest.fixture
def start(db: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a node with a processor written for the test: the body of its function, with `file`."""
    with running_nodes(db, tmp_path) as begin:

        def start(body: str, *flags: str, name: str = "node-a", head: str = "", **settings: str) -> Node:
            lines = textwrap.indent(textwrap.dedent(body), "    ")
            (tmp_path / "talker.py").write_text(f"import logging, os, sys, time\n{head}\ndef process(file):\n{lines}\n")
            return begin(name, *flags, act="talker:process", PYTHONPATH=str(tmp_path), **settings)

        yield start


def drained(node: Node) -> str:
    """Wait until a node with --drain has ended well; its log."""
    assert node.end() == 0, node.log
    return node.log


def said(db: Database, id: str) -> str:
    """All that is kept of what the attempts at a file have said."""
    return "".join(each.text for each in attempt_logs.read(db, id))


# -- who said what ---------------------------------------------------------------------------


def test_what_a_processor_prints_and_logs_is_kept_and_told_with_file_and_attempt(db: Database, start: Start) -> None:
    (id,) = add_files(db, "a")

    log = drained(start("""
        print("on stdout")
        print("on stderr, password=hunter2", file=sys.stderr)
        logging.getLogger("acme.ledger").info("of a library: %d", 17)
        logging.getLogger("acme.ledger").debug("too much")
        os.system("echo of a program")
        os.write(1, b"no end of line")
    """, "--drain"))  # fmt: skip

    kept = said(db, id)
    assert kept.splitlines() == [
        "on stdout", "on stderr, password=…", "INFO acme.ledger: of a library: 17", "of a program", "no end of line",
    ]  # fmt: skip
    lines = [line for line in log.splitlines() if f"file {id} attempt 1: " in line]
    assert [line.split(f"[node-a development] file {id} attempt 1: ")[1] for line in lines] == kept.splitlines()
    assert "hunter2" not in log


@pytest.mark.slow
def test_output_belongs_to_the_attempt_that_made_it_however_quickly_files_follow(db: Database, start: Start) -> None:
    ids = add_files(db, *(f"file-{number}" for number in range(300)))

    drained(start("""
        if file.attempt == 1 and int(file.id) % 7 == 0:
            print("first try of", file.id)
            raise ValueError("once")
        if int(file.id) % 3 == 0:
            os.write(1 + int(file.id) % 2, f"raw {file.id}\\n".encode())
        elif int(file.id) % 3 == 1:
            print("printed", file.id)
    """, "--drain", OPSKIT_QUARANTINE_AFTER="0"))  # fmt: skip

    for id in ids:
        number = int(id)
        wanted = [f"raw {id}"] if number % 3 == 0 else [f"printed {id}"] if number % 3 == 1 else []
        wanted = ([f"first try of {id}"] if number % 7 == 0 else []) + wanted
        assert said(db, id).splitlines() == wanted
    assert all(each.attempt == 2 for id in ids if int(id) % 21 == 0 for each in attempt_logs.read(db, id)[1:])


def test_a_silent_attempt_adds_no_statement_and_no_row(db: Database, start: Start) -> None:
    add_files(db, *(f"file-{number}" for number in range(50)))

    node = start("pass", "--drain")
    drained(node)

    assert counts(db) == {"completed": 50}
    assert ask(db, f"SELECT count(*) AS n FROM {db.names['logs']}") == [{"n": 0}]
    assert "file 1 attempt" not in node.log


def test_an_attempt_can_be_read_while_it_runs_and_after_its_child_was_killed(db: Database, start: Start) -> None:
    (id,) = add_files(db, "a")
    node = start("""
        print("begun")
        sys.stdout.write("half a line")
        sys.stdout.flush()
        time.sleep(60)
    """, OPSKIT_MAX_FAILURES="1")  # fmt: skip

    until(lambda: said(db, id) == "begun\nhalf a line")
    assert status(db, id) == "processing"
    os.kill(node.own_child(), signal.SIGKILL)

    until(lambda: status(db, id) == "failed")
    (first, *_) = attempt_logs.read(db, id)
    assert (first.attempt, first.server_id, said(db, id)) == (1, "node-a", "begun\nhalf a line")


@pytest.mark.slow
def test_what_a_crash_leaves_on_stderr_is_kept(db: Database, start: Start) -> None:
    (id,) = add_files(db, "a")

    drained(start("import ctypes; ctypes.string_at(0)", "--drain", head="import faulthandler; faulthandler.enable()",
                  OPSKIT_MAX_FAILURES="1"))  # fmt: skip

    assert "Fatal Python error: Segmentation fault" in said(db, id)


@pytest.mark.slow
def test_a_processor_that_sets_up_logging_itself_is_left_to_it(db: Database, start: Start) -> None:
    (id,) = add_files(db, "a")

    drained(start("""
        logging.getLogger("acme").warning("seen")
        logging.getLogger("acme").info("not asked for")
    """, "--drain", head="logging.basicConfig(level='WARNING', format='mine: %(message)s')"))  # fmt: skip

    assert said(db, id) == "mine: seen\n"


@pytest.mark.slow
def test_of_100_mb_the_beginning_and_the_end_are_kept_and_the_node_beats_on(db: Database, start: Start) -> None:
    (id,) = add_files(db, "a")
    node = start("""
        print("the very beginning")
        line = "x" * 999
        for number in range(100_000):
            print(line)
        print("the very end")
    """, "--drain", OPSKIT_LEASE_SECONDS="3")  # fmt: skip
    late = 0.0
    while node.process.poll() is None:
        for each in ask(db, f"SELECT extract(epoch FROM now() - beat_at)::float8 AS age FROM {db.names['nodes']}"):
            late = max(late, each["age"])

    assert node.end() == 0
    found = attempt_logs.read(db, id)
    kept = sum(each.size for each in found)
    assert said(db, id).startswith("the very beginning\n")
    assert said(db, id).endswith("the very end\n")
    assert MOST_BEGINNING + MOST_END <= kept <= MOST_BEGINNING + MOST_END + 40_000
    assert kept + sum(each.left_out for each in found) == 100_000 * 1000 + len("the very beginning\nthe very end\n")
    assert late < 2
    assert node.log.count("x" * 999) == 100_000


def test_beginning_and_end_of_what_an_attempt_says_are_kept_as_bytes_of_whole_characters() -> None:
    one = AttemptLog("1", 1, "token")
    kept: dict[int, attempt_logs.Chunk] = {}
    text = "".join(f"{number} größer → ∞\n" for number in range(40_000))
    data = text.encode()

    for begin in range(0, len(data), 70_001):
        one.add(data[begin : begin + 70_001])
        for chunk in one.take():
            if chunk.over is not None:
                del kept[chunk.over]
            if chunk.sequence is not None:
                kept[chunk.sequence] = chunk
    one.settle()

    pieces = [kept[place] for place in sorted(kept)]
    beginning = "".join(kept[place].text for place in sorted(kept) if place < MOST_BEGINNING)
    end = "".join(kept[place].text for place in sorted(kept) if place >= MOST_BEGINNING)
    assert text.startswith(beginning)
    assert text.endswith(end)
    assert "\ufffd" not in beginning + end
    assert MOST_END <= len(end.encode()) <= MOST_END + (32 << 10)
    assert all(len(piece.text.encode()) == piece.size for piece in pieces)


# -- the database ----------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_said_while_the_database_refuses_does_not_stop_a_node(db: Database, start: Start) -> None:
    ids = add_files(db, "a", "b")
    ask(db, f"DROP TABLE {db.names['logs']}")

    log = drained(start("print('hello'); time.sleep(1.2)", "--drain"))

    assert [status(db, id) for id in ids] == ["completed", "completed"]
    assert log.count("what attempts say is not kept from now on") == 1
    assert "attempt 1: hello" in log


def test_nothing_is_kept_where_logs_are_kept_for_no_day(db: Database, start: Start) -> None:
    (id,) = add_files(db, "a")

    log = drained(start("print('hello')", "--drain", OPSKIT_LOG_DAYS="0"))

    assert said(db, id) == ""
    assert "attempt 1: hello" in log


@pytest.mark.slow
def test_prune_drops_logs_that_are_older_than_they_are_kept(db: Database, start: Start) -> None:
    old, new = add_files(db, "a", "b")
    drained(start("print('hello')", "--drain"))
    ask(db, f"UPDATE {db.names['logs']} SET at = now() - interval '15 days' WHERE token = %s",
        row(db, old)["processing_done_token"])  # fmt: skip

    gone = queue.prune(db)

    assert gone["logs"] == 1
    assert (said(db, old), said(db, new)) == ("", "hello\n")


@pytest.mark.slow
def test_logs_of_a_file_outlive_its_requeue(db: Database, start: Start) -> None:
    (id,) = add_files(db, "a")
    drained(start("print('try', file.attempt)", "--drain"))

    queue.requeue(db, [id], actor="test")
    drained(start("print('try', file.attempt)", "--drain", name="node-b"))

    assert [(each.attempt, each.server_id, each.text) for each in attempt_logs.read(db, id)] == [
        (1, "node-a", "try 1\n"), (2, "node-b", "try 2\n"),
    ]  # fmt: skip


# -- the doors -------------------------------------------------------------------------------


def keep(db: Database, id: str, *chunks: tuple[int, str]) -> None:
    """Keep what a claimed file's attempt says: places and texts."""
    token = str(row(db, id)["processing_token"])
    attempt_logs.keep(
        db,
        [attempt_logs.Chunk(token=token, sequence=place, size=len(text.encode()), text=text) for place, text in chunks],
    )


@pytest.fixture
def running(db: Database) -> str:
    """A file in processing whose attempt has said something; its id."""
    (id,) = add_files(db, "a")
    ask(
        db,
        f"UPDATE {db.settings.files} SET processing_status = 'processing', processing_server_id = 'node-a', "
        "processing_attempt = 1, processing_token = gen_random_uuid(), processing_epoch = 1, "
        "processing_started_at = now()",
    )
    keep(db, id, (0, "first\nsecond \x1b[2J\n"), (1000, "last\n"))
    return id


@pytest.mark.slow
def test_the_shell_shows_what_attempts_have_said(db: Database, running: str) -> None:
    shown = opskit(db.settings, "logs", running)

    assert shown.stdout.splitlines() == ["first", r"second \x1b[2J", "last"]
    assert shown.stderr.splitlines() == ["-- attempt 1 on node-a", "-- 982 bytes are not kept"]
    lines = [json.loads(line) for line in opskit(db.settings, "logs", running, "--json").stdout.splitlines()]
    assert [(line["attempt"], line["sequence"], line["left_out"]) for line in lines] == [(1, 0, 0), (1, 1000, 982)]
    assert opskit(db.settings, "logs", running, "--attempt", "2").stdout == ""


def test_a_file_that_is_not_there_has_no_logs(db: Database) -> None:
    shown = opskit(db.settings, "logs", "4711")

    said = "opskit: there is no file with the id or the name '4711' (development)"
    assert (shown.returncode, shown.stderr.strip()) == (1, said)


@pytest.mark.slow
def test_the_shell_follows_an_attempt_until_its_file_has_ended(db: Database, running: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "opskit", "logs", running, "--follow"],
        env=environ(db.settings), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as follower:  # fmt: skip
        assert follower.stdout is not None
        assert [follower.stdout.readline() for _ in range(3)][2] == "last\n"

        keep(db, running, (1005, "more\n"))
        assert follower.stdout.readline() == "more\n"
        keep(db, running, (1010, "the end\n"))
        put(db, running, "processing_status = 'failed', processing_completed_at = now()")

        assert follower.stdout.read() in ("the end\n", "")
        assert follower.wait(10) == 0


def test_python_answers_a_frame_and_reads_on_where_it_was(db: Database, running: str) -> None:
    frame = stats.logs(db, running)

    assert frame.dtypes.astype(str).to_dict().keys() == stats.LOGS.keys()
    assert frame["text"].tolist() == ["first\nsecond \x1b[2J\n", "last\n"]
    keep(db, running, (1005, "more\n"))
    (first, *_, last) = attempt_logs.read(db, running)
    assert [each.text for each in attempt_logs.read(db, running, after=first.place)] == ["last\n", "more\n"]
    assert attempt_logs.read(db, running, after=attempt_logs.Place.of(str(last.place))) == []
    assert list(stats.logs(db, "4711").columns) == list(stats.LOGS)


# -- the node's own log ----------------------------------------------------------------------


def test_a_log_in_json_has_server_file_attempt_and_token_as_fields(db: Database, start: Start) -> None:
    good, bad = add_files(db, "good", "bad")

    log = drained(start("""
        print("hello \\x1b[2J", file.original_filename)
        if file.original_filename == "bad":
            raise ValueError("no")
    """, "--drain", OPSKIT_LOG_FORMAT="json", OPSKIT_MAX_FAILURES="1"))  # fmt: skip

    records = [json.loads(line) for line in log.splitlines()]
    assert {record["serverId"] for record in records} == {"node-a"}
    assert {record["environment"] for record in records} == {"development"}
    assert all(record["time"].endswith("Z") and record["level"] in ("INFO", "WARNING") for record in records)
    (hello,) = [record for record in records if record["message"] == "hello \x1b[2J good"]
    assert (hello["file"], hello["attempt"], hello["token"]) == (good, 1, str(row(db, good)["processing_done_token"]))
    (failed,) = [
        record for record in records if record["message"].startswith(f"file {bad} (bad) attempt 1: ValueError")
    ]
    assert (failed["level"], failed["file"], failed["attempt"]) == ("WARNING", bad, 1)


def test_the_api_answers_logs_to_operators_and_to_viewers_by_setting(db: Database, running: str) -> None:
    path = f"/api/processing/files/{running}/logs"
    near, far = served(db, db.settings), served(db, db.settings, client="10.0.0.9", host="ops.example.com")
    opened = served(db, dataclasses.replace(db.settings, viewers_see_files=True), client="10.0.0.9", host="ops")

    answer = near.get(path)

    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [(each["attempt"], each["leftOut"], each["text"]) for each in found["chunks"]] == [
        (1, 0, "first\nsecond \x1b[2J\n"), (1, 982, "last\n"),
    ]  # fmt: skip
    assert near.get(f"{path}?after={found['next']}").json() == {"chunks": [], "next": found["next"]}
    assert near.get(f"{path}?after=1/2").status_code == 422
    assert (far.get(path).status_code, opened.get(path).status_code) == (403, 200)
    token = served(db, dataclasses.replace(db.settings, api_token="secret"), client="10.0.0.9", host="ops")
    assert token.get(path).status_code == 401
    assert token.request("GET", path, headers={"Authorization": "Bearer secret"}).status_code == 200
