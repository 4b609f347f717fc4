"""`opskit watch`: the Overview in a terminal, on a pty that a terminal's emulator reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

from opskit import migration, queue
from opskit.database import Database
from opskit.settings import Settings
from tests.support import python_programs
from tests.support.cluster import running_cluster
from tests.support.nodes import ask, until
from tests.support.tables import claimed, fail, files, put_node

DEAD = "beat_at = now() - interval '2 hours', lease_until = now() - interval '1 hour'"
COMMAND = [sys.executable, "-m", "opskit", "watch", "--every", "0.3"]


class Terminal:
    """`opskit watch` on a terminal of its own."""

    def __init__(self, settings: Settings, *flags: str, columns: int = 100, lines: int = 40) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        # A size that some shell has set long ago is not the size of this terminal.
        environ = {**os.environ, **settings.environ(), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        self.child = pexpect.spawn(
            COMMAND[0], [*COMMAND[1:], *flags], env=environ, dimensions=(lines, columns), timeout=30,
        )  # fmt: skip
        self.manners = termios.tcgetattr(self.child.child_fd)

    @property
    def text(self) -> str:
        """What stands on the screen now."""
        try:
            while True:
                read = self.child.read_nonblocking(65536, timeout=0.05)
                self.raw += read
                self._stream.feed(read)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return "\n".join(line.rstrip() for line in self.screen.display)

    def ends(self) -> int:
        """Wait for its end; the exit code, or minus the signal that ended it."""
        until(lambda: self.text is None or not self.child.isalive(), 15)
        self.child.close()
        status: int = -self.child.signalstatus if self.child.exitstatus is None else self.child.exitstatus
        return status


@pytest.fixture
def fleet(db: Database) -> Database:
    """A queue, a node at work, one that is gone, and a file that failed."""
    files(db, "waits.csv", "waits-too.csv")
    id, token = claimed(db, "node-bad")
    fail(db, id, token, outcome="rejected", error="line 17 is bad")
    id, token = claimed(db, "node-live")
    progress = f"token = '{token}', progress_done = 7, progress_total = 10"
    put_node(db, "node-live", f"{progress}, lease_until = now() + interval '1 hour'")
    claimed(db, "node-gone")
    put_node(db, "node-gone", DEAD)
    return db


@pytest.fixture
def terminal(fleet: Database) -> Iterator[Terminal]:
    """`opskit watch` on that fleet."""
    made = Terminal(fleet.settings)
    yield made
    made.child.close(force=True)


def sessions(db: Database) -> int:
    """How many sessions `opskit watch` has."""
    query = (
        "SELECT 1 AS one FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%watch'"
    )
    return len(ask(db, query))


def page(db: Database, *flags: str) -> subprocess.CompletedProcess[str]:
    """What it prints where there is no terminal."""
    return python_programs.run(
        [*COMMAND, *flags], env={**os.environ, **db.settings.environ()}, capture_output=True, text=True, check=False,
        timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_screen_shows_needs_queue_nodes_and_failures_and_follows_them(fleet: Database, terminal: Terminal) -> None:
    until(lambda: "line # is bad" in terminal.text)  # the last line of the first picture
    text = terminal.text

    assert text.startswith("opskit  development  dev_uploaded_files")
    assert "2 queued · 2 processing · 0 completed · 1 failed" in text
    lines = text.splitlines()
    assert lines[lines.index("What needs a person") + 1].startswith("error")
    (gone,) = [line for line in lines if line.startswith("node-gone ")]
    (live,) = [line for line in lines if line.startswith("node-live ")]
    assert lines.index(gone) < lines.index(live)
    assert "dead" in gone
    assert "70%" in live
    assert "file-of-node-live" in live
    assert any("line # is bad" in line for line in lines)
    assert sessions(fleet) == 1

    files(fleet, "comes.csv")

    until(lambda: "3 queued" in terminal.text)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("how", ["q", "Ctrl-C", "SIGTERM", "SIGHUP", "Ctrl-Z"])
def test_a_screen_gives_the_terminal_back_however_it_ends(terminal: Terminal, fleet: Database, how: str) -> None:
    until(lambda: "Failures" in terminal.text)
    assert b"\x1b[?1049h" in terminal.raw
    assert b"\x1b[?25l" in terminal.raw

    if how == "Ctrl-Z":
        terminal.child.send(b"\x1a")
        until(lambda: terminal.text is not None and terminal.raw.endswith(b"\x1b[?1049l"))
        terminal.child.kill(signal.SIGCONT)
        until(lambda: terminal.text is not None and terminal.raw.count(b"\x1b[?1049h") == 2)
        until(lambda: "Failures" in terminal.text)
        terminal.child.send(b"q")
    elif how in ("q", "Ctrl-C"):
        terminal.child.send(b"q" if how == "q" else b"\x03")
    else:
        terminal.child.kill(getattr(signal, how))

    until(lambda: terminal.text is not None and terminal.raw.rstrip().endswith(b"\x1b[?1049l"))
    assert b"\x1b[?25h" in terminal.raw
    assert termios.tcgetattr(terminal.child.child_fd) == terminal.manners
    assert terminal.ends() == {"SIGTERM": 143, "SIGHUP": 129}.get(how, 0)
    assert b"Traceback" not in terminal.raw
    until(lambda: sessions(fleet) == 0)


def test_other_keys_change_nothing(terminal: Terminal) -> None:
    until(lambda: "Failures" in terminal.text)

    terminal.child.send(b"x\x1b[A quit\n")

    until(lambda: "as of" in terminal.text)
    assert terminal.child.isalive()


def test_names_that_a_terminal_would_obey_are_written_out(db: Database) -> None:
    (id,) = files(db, "\x1b[2J\x1b]0;gotcha\x07[red]x.csv")
    claimed(db, "node-a")
    with db.connection() as connection:
        connection.execute(
            f"UPDATE dev_uploaded_files SET original_filename = (SELECT original_filename FROM dev_uploaded_files "
            f"WHERE id = {id}) WHERE processing_status = 'processing'".encode()
        )
    shown = Terminal(db.settings)
    try:
        until(lambda: "Failures" in shown.text)
        assert "\\x1b[2J\\x1b]0;gotcha\\x07[red]x.csv" in shown.text
        assert b"\x1b]0;" not in shown.raw
    finally:
        shown.child.close(force=True)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("columns", "lines"), [(60, 20), (200, 60)])
def test_a_screen_fits_whatever_its_size(db: Database, columns: int, lines: int) -> None:
    for number in range(30):
        claimed(db, f"node-{number:02d}-{'x' * 40}")
    shown = Terminal(db.settings, columns=columns, lines=lines)

    def fits() -> bool:
        text = shown.text.splitlines()
        titles = [line == "Nodes" for line in text if line.startswith("Nodes")]
        begins = text[0].startswith("opskit  development")
        return begins and "no file has failed" in text and titles == [lines == 60]

    try:
        until(fits)  # the terminal has its size a moment after the first picture
    finally:
        shown.child.close(force=True)


@pytest.mark.slow
def test_where_there_is_no_terminal_one_plain_page_is_printed(fleet: Database) -> None:
    done = page(fleet)

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.startswith("opskit  development  dev_uploaded_files")
    assert "q ends it" not in done.stdout
    assert "opskit cleanup" in done.stdout
    assert page(fleet, "--once").stdout.splitlines()[1:] != []


@pytest.mark.slow
def test_json_is_one_object_for_each_look(fleet: Database) -> None:
    once = page(fleet, "--json", "--once")

    (line,) = once.stdout.splitlines()
    seen = json.loads(line)
    assert seen["environment"] == "development"
    assert (seen["numbers"]["queued"], seen["numbers"]["failed"], seen["away"]) == (2, 1, "")
    assert {node["server_id"]: node["state"] for node in seen["nodes"]}["node-gone"] == "dead"
    assert seen["as_of"].endswith("Z")
    assert seen["failures"][0]["file_count"] == 1
    assert "no-node" in str(seen["needs"]) or seen["needs"]

    environ = {**os.environ, **fleet.settings.environ()}
    with python_programs.Program([*COMMAND, "--json"], env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        assert first["as_of"] < second["as_of"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_reader_that_has_had_enough_ends_it(fleet: Database) -> None:
    environ = {**os.environ, **fleet.settings.environ()}
    with python_programs.Program(
        [*COMMAND, "--json"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == b""


def test_a_database_that_is_not_there_at_the_start_is_an_error_of_one_sentence(db: Database, tmp_path: Path) -> None:
    environ = {**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "OPSKIT_HOME": str(tmp_path)}
    done = python_programs.run(
        [*COMMAND, "--once"], env=environ, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 1
    assert done.stderr.startswith("opskit: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("value", ["0", "soon", "-1"])
def test_an_interval_that_is_none_is_refused(value: str) -> None:
    done = python_programs.run(
        [*COMMAND[:-2], f"--every={value}"], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 2
    assert value in done.stderr


def test_a_viewer_sees_it_and_changes_nothing(fleet: Database) -> None:
    queue.pause(fleet, reason="a deploy")
    before = ask(fleet, "SELECT * FROM dev_processing_nodes ORDER BY server_id")

    done = page(fleet, "--read-only")

    assert done.returncode == 0
    assert "paused" in done.stdout
    assert ask(fleet, "SELECT * FROM dev_processing_nodes ORDER BY server_id") == before


@pytest.mark.slow
def test_a_restart_of_postgresql_is_said_in_a_sentence_and_the_screen_goes_on(tmp_path: Path) -> None:
    with running_cluster() as cluster:
        settings = Settings.load({}, database_url=cluster.create_database(), env="development", home=str(tmp_path))
        with Database(settings) as db:
            migration.migrate(db)
            files(db, "waits.csv")
        shown = Terminal(settings)
        until(lambda: "1 queued" in shown.text)

        cluster.pg_ctl("stop", "-m", "fast", "-w")

        until(lambda: "going on as soon as it answers" in shown.text)
        assert "1 queued" in shown.text
        cluster.launch()
        cluster.wait()
        until(lambda: "going on as soon as it answers" not in shown.text)
        with Database(settings) as db:
            files(db, "comes.csv")
        until(lambda: "2 queued" in shown.text)
        shown.child.send(b"q")
        assert shown.ends() == 0
        assert b"Traceback" not in shown.raw
