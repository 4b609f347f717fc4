"""Programs as processors: `opskit worker --exec`, with real programs, killed for real."""

from __future__ import annotations

import base64
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opskit.database import Database
from opskit.errors import Reject, SettingError
from opskit.files.command_line import Command
from opskit.files.workspace import Workspace, sweep_dead
from opskit.settings import Settings
from tests.support.nodes import Node, ask, counts, running_nodes, status, until
from tests.support.tables import attempts, files, opskit, put, row

Run = Callable[..., Node]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the nodes of a test keep their programs' folders."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def run(db: Database, tmp_path: Path, temporary: Path) -> Iterator[Run]:
    """Start a node that runs a program: a shell command, or the text of a Python program."""
    with running_nodes(db, tmp_path) as begin:

        def start(command: str, *flags: str, python: str = "", name: str = "node-a", **environ: str) -> Node:
            if python:
                program = tmp_path / "program.py"
                program.write_text(textwrap.dedent(python))
                command = f"{sys.executable} {program} {command}"
            return begin(name, *flags, OPSKIT_EXEC=command, OPSKIT_PROCESSOR="", TMPDIR=str(temporary), **environ)

        yield start


def stored(db: Database, folder: Path, name: str = "a.csv", content: bytes = b"a,b\n1,2\n", **columns: Any) -> str:
    """A queued file with bytes on this machine; its id."""
    path = folder / name.replace("/", "_")
    path.write_bytes(content)
    return files(db, name, storage_path=str(path), **columns)[0]


def drained(node: Node) -> str:
    """Wait until a node with --drain has ended well; its log."""
    assert node.end() == 0, node.log
    return node.log


def processes(token: str) -> list[int]:
    """The processes that were started for a claim, as the system tells them."""
    found = []
    for entry in os.scandir("/proc"):
        try:
            if entry.name.isdigit() and f"={token}".encode() in Path(entry.path, "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


# -- what a program is told, and what it tells -----------------------------------------------


def test_a_program_is_told_its_file_by_arguments_and_variables_and_its_result_is_stored(
    db: Database, run: Run, tmp_path: Path
) -> None:
    id = stored(db, tmp_path, "Müller & Söhne.csv")
    put(db, id, "file_size = 8")

    log = drained(run("--path {path} --id={id} {token} {attempt} {name}", "--drain", python="""
        import json, os, sys
        names = [name for name in os.environ if name.startswith("OPSKIT_")]
        with open(os.environ["OPSKIT_RESULT"], "w") as out:
            json.dump({"arguments": sys.argv[1:], "row": json.load(open(os.environ["OPSKIT_FILE_ROW"])),
                       "environ": {name: os.environ[name] for name in names}}, out)
    """, OPSKIT_API_TOKEN="a-secret-of-the-page"))  # fmt: skip

    found = row(db, id)
    assert found["processing_status"] == "completed", log
    result = found["processing_result"]
    path, token = str(tmp_path / "Müller & Söhne.csv"), str(found["processing_done_token"])
    assert result["arguments"] == ["--path", path, f"--id={id}", token, "1", "Müller & Söhne.csv"]
    told = result["environ"]
    assert (told["OPSKIT_FILE_ID"], told["OPSKIT_FILE_NAME"]) == (id, "Müller & Söhne.csv")
    assert (told["OPSKIT_FILE_PATH"], told["OPSKIT_FILE_TOKEN"]) == (path, token)
    assert (told["OPSKIT_FILE_ATTEMPT"], told["OPSKIT_SERVER_ID"]) == ("1", "node-a")
    assert "OPSKIT_API_TOKEN" not in told
    assert (result["row"]["file_size"], result["row"]["original_filename"]) == (8, "Müller & Söhne.csv")


def test_a_program_without_path_reads_the_bytes_on_stdin_and_may_leave_them(
    db: Database, run: Run, tmp_path: Path
) -> None:
    content = os.urandom(3_000_000)
    id, unread = stored(db, tmp_path, "a.bin", content), stored(db, tmp_path, "skip.bin", content)

    drained(run("", "--drain", python="""
        import hashlib, json, os, sys
        if not os.environ["OPSKIT_FILE_NAME"].startswith("skip"):
            data = sys.stdin.buffer.read()
            json.dump({"bytes": len(data)}, open(os.environ["OPSKIT_RESULT"], "w"))
    """))  # fmt: skip

    assert row(db, id)["processing_result"] == {"bytes": len(content)}
    assert row(db, unread)["processing_status"] == "completed"


def test_bytes_in_the_row_are_brought_to_a_path_which_is_gone_afterwards(
    db: Database, run: Run, temporary: Path
) -> None:
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN file_content text")
    (id,) = files(db, "letter.TXT", file_content=base64.b64encode(b"hello").decode())

    drained(run("{path}", "--drain", OPSKIT_CONTENT_ENCODING="base64", python="""
        import json, os, sys
        path = sys.argv[1]
        json.dump({"suffix": path[-4:], "text": open(path).read()}, open(os.environ["OPSKIT_RESULT"], "w"))
    """))  # fmt: skip

    assert row(db, id)["processing_result"] == {"suffix": ".txt", "text": "hello"}
    assert list(temporary.iterdir()) == []


def test_a_program_reports_progress_on_descriptor_three(db: Database, run: Run, tmp_path: Path) -> None:
    id = stored(db, tmp_path)

    node = run("{path}", python="""
        import os, time
        os.write(3, b"10 90\\nhalf of it\\n45 9")
        os.write(3, b"0\\n")
        time.sleep(60)
    """)  # fmt: skip

    def progress() -> Any:
        return [(found["progress_done"], found["progress_total"]) for found in db.run("nodes")] == [(45, 90)]

    until(progress)
    assert f"file {id}" in node.log
    assert "'half of it' on descriptor 3 is no progress" in node.log


def test_what_a_program_has_read_of_its_stdin_is_progress(db: Database, run: Run, tmp_path: Path) -> None:
    stored(db, tmp_path, content=bytes(100_000))

    run("", python="""
        import os, time
        os.read(0, 40_000)
        time.sleep(60)
    """)  # fmt: skip

    until(
        lambda: [(found["progress_done"], found["progress_total"]) for found in db.run("nodes")] == [(40_000, 100_000)]
    )


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[1, 2]", "its result is list, no JSON object"),
        ("{oops", "its result is no JSON"),
        ("NaN", "its result is float, no JSON object"),
    ],
)
def test_a_result_that_is_no_json_object_fails_its_attempt(
    db: Database, run: Run, tmp_path: Path, written: str, told: str
) -> None:
    id = stored(db, tmp_path)

    drained(run("""sh -c 'printf %s "$0" > "$OPSKIT_RESULT"' '""" + written + "'", "--drain", OPSKIT_MAX_FAILURES="1"))

    assert row(db, id)["processing_status"] == "failed"
    assert told in row(db, id)["processing_errors"]


# -- exit codes ------------------------------------------------------------------------------


def test_exit_codes_say_how_an_attempt_ended(db: Database, run: Run, tmp_path: Path) -> None:
    ids = {name: stored(db, tmp_path, name) for name in ("good", "bad", "broken", "killed")}

    drained(run("{name}", "--drain", OPSKIT_MAX_FAILURES="1", python="""
        import os, signal, sys
        name = sys.argv[1]
        if name == "bad":
            print("reading it\\nno header in line 1\\n", file=sys.stderr)
            sys.exit(65)
        if name == "broken":
            raise ValueError("cannot parse line 17")
        if name == "killed":
            os.kill(os.getpid(), signal.SIGSEGV)
    """))  # fmt: skip

    def ended(name: str) -> tuple[str, str, str]:
        (event,) = attempts(db, ids[name])
        return event["outcome"], event["next_status"], event["reason"].splitlines()[-1]

    assert status(db, ids["good"]) == "completed"
    assert ended("bad") == ("rejected", "failed", "rejected: no header in line 1")
    assert ended("broken") == ("raised", "failed", "exit code 1: ValueError: cannot parse line 17")
    assert "Traceback" in row(db, ids["broken"])["processing_errors"]
    assert row(db, ids["broken"])["processing_failure"]["error"] == "exit code 1: ValueError: cannot parse line #"
    assert row(db, ids["broken"])["processing_failure"]["place"].endswith("program.py")
    assert ended("killed")[0] == "crashed"
    assert "killed by signal 11 (SIGSEGV)" in ended("killed")[2]


def test_exit_code_75_defers_a_file_for_as_long_as_the_result_says(db: Database, run: Run, tmp_path: Path) -> None:
    id = stored(db, tmp_path)
    script = """sh -c 'echo busy >&2; printf %s "{\\"retryAfter\\": 120}" > "$OPSKIT_RESULT"; exit 75'"""

    node = run(script)

    until(lambda: attempts(db, id))
    (event,) = attempts(db, id)
    assert (event["outcome"], event["next_status"], event["reason"]) == ("deferred", "queued", "busy")
    assert row(db, id)["processing_failures"] == 0
    (due,) = ask(db, f"SELECT extract(epoch FROM processing_queued_at - now()) AS s FROM {db.settings.files}")
    assert 110 < due["s"] <= 120
    until(lambda: "deferred: busy; now queued, due in 120 s" in node.log)


def test_a_program_that_goes_away_is_the_worlds_fault_and_costs_no_file(db: Database, run: Run, tmp_path: Path) -> None:
    program = tmp_path / "convert"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    node = run(f"{program} {{path}}")
    (first,) = [stored(db, tmp_path, "first")]
    until(lambda: status(db, first) == "completed")

    program.rename(tmp_path / "elsewhere")
    ids = [stored(db, tmp_path, f"file-{number}") for number in range(6)]

    until(lambda: db.run("breaker", row_limit=10))
    assert "cannot be run: No such file or directory" in db.run("breaker", row_limit=10)[0]["reason"]
    (tmp_path / "elsewhere").rename(program)
    until(lambda: counts(db) == {"completed": 7})
    assert all(row(db, id)["processing_failures"] == 0 for id in ids), node.log


def test_a_program_may_complete_its_file_itself_in_its_own_transaction(db: Database, run: Run, tmp_path: Path) -> None:
    id = stored(db, tmp_path)
    ask(db, "CREATE TABLE effects (file_id text, token uuid)")

    log = drained(run("{id}", "--drain", python="""
        import os, psycopg
        from opskit.database import queries
        from opskit.database.names import names
        from opskit.settings import Settings
        statement = queries.statement("complete").compose(names(Settings.load()))
        with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
            id, token = os.environ["OPSKIT_FILE_ID"], os.environ["OPSKIT_FILE_TOKEN"]
            given = {"id": id, "token": token, "result": '{"rows": 3}'}
            assert connection.execute(statement, given).fetchone()[0] == "done"
            connection.execute("INSERT INTO effects VALUES (%s, %s)", (given["id"], given["token"]))
    """))  # fmt: skip

    assert (status(db, id), row(db, id)["processing_result"]) == ("completed", {"rows": 3}), log
    assert ask(db, "SELECT file_id FROM effects") == [{"file_id": id}]
    assert "1 completed, 0 failed" in log


# -- the end of a claim ----------------------------------------------------------------------

FAMILY = """
    import subprocess, sys, time
    children = [subprocess.Popen(["sleep", "300"]), subprocess.Popen(["sleep", "300"], start_new_session=True)]
    print("three of us", flush=True)
    time.sleep(300)
"""


def family(db: Database, id: str) -> list[int]:
    """The program, its child, and its child in another session, once all three are there."""
    token = until(lambda: row(db, id)["processing_token"])
    until(lambda: len(processes(str(token))) == 3)
    return processes(str(token))


def all_gone(pids: list[int]) -> bool:
    def alive(pid: int) -> bool:
        try:
            return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False

    return not any(alive(pid) for pid in pids)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("victim", ["supervisor", "child", "both"])
def test_a_program_and_all_that_it_has_started_die_with_their_node(
    db: Database, run: Run, tmp_path: Path, temporary: Path, victim: str
) -> None:
    id = stored(db, tmp_path)
    node = run("{path}", python=FAMILY)
    pids, child = family(db, id), node.own_child()

    if victim in ("child", "both"):
        os.kill(child, signal.SIGKILL)
    if victim in ("supervisor", "both"):
        node.kill()
        node.end()
        # What has left its group outlives a killed supervisor until the next node of the machine starts.
        drained(run("true {path}", "--drain", name="node-b"))

    until(lambda: all_gone(pids), what="the end of all three")
    if victim == "child":
        until(lambda: attempts(db, id))
        assert attempts(db, id)[0]["outcome"] == "crashed"
    else:
        assert list(temporary.iterdir()) == []


def test_a_program_over_its_limit_is_killed_with_its_group_and_its_attempt_says_why(
    db: Database, run: Run, tmp_path: Path
) -> None:
    id = stored(db, tmp_path)

    node = run("{path}", python=FAMILY, OPSKIT_HARD_LIMIT_SECONDS="2", OPSKIT_MAX_FAILURES="1")
    pids = family(db, id)

    until(lambda: status(db, id) == "failed")
    assert "over its hard limit of 2 s" in attempts(db, id)[0]["reason"]
    assert all_gone(pids)
    assert node.process.poll() is None


def test_what_a_program_has_left_running_in_its_group_ends_with_it(db: Database, run: Run, tmp_path: Path) -> None:
    id = stored(db, tmp_path)

    drained(run("sh -c 'sleep 300 & echo $! > \"$0\"' " + str(tmp_path / "pid"), "--drain"))

    assert status(db, id) == "completed"
    assert all_gone([int((tmp_path / "pid").read_text())])


def test_a_node_that_is_told_to_stop_lets_its_program_finish(db: Database, run: Run, tmp_path: Path) -> None:
    id = stored(db, tmp_path)
    node = run("sh -c 'sleep 1.5'")
    until(lambda: status(db, id) == "processing")

    node.kill(signal.SIGTERM)

    assert node.end() == 0
    assert status(db, id) == "completed"


def test_folders_of_nodes_that_live_are_left_alone() -> None:
    workspace = Workspace()
    try:
        (workspace.path / "token").mkdir()

        sweep_dead()

        assert (workspace.path / "token").is_dir()
    finally:
        workspace.close()
    assert not workspace.path.exists()


# -- what a command may be -------------------------------------------------------------------


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("nosuchprogram {path}", "'nosuchprogram' of OPSKIT_EXEC is not there (looked for in PATH)"),
        ("./nosuch/program", "is not there"),
        ("/etc/passwd {path}", "is no program that may be run"),
        ("sh 'unfinished", "no shell could read"),
        ("''", "it must be a program and its arguments"),
        ("{path} now", "must not be what a file says"),
        ("cat {file}", "has {file}, which nothing stands for"),
        ("sh -c 'cat {path}'", "is run as code"),
        ("bash -euc 'cat {name}'", "is run as code"),
        ("bash -o pipefail -c 'cat {name}'", "is run as code"),
        ("env LANG=C sh -c 'cat {name}'", "is run as code"),
        ("timeout 5 bash -lc 'cat {name} | wc'", "is run as code"),
        ("python3 -c 'print(\"{name}\")'", "is run as code"),
        ("node --eval 'console.log(`{name}`)'", "is run as code"),
        ("node --eval='console.log(`{name}`)'", "is run as code"),
        ("perl -pe 's/x/{id}/'", "is run as code"),
        ("perl -e'print {id}'", "is run as code"),
        ("ssh host cat {path}", "is run as code"),
        ("awk '/{name}/' x", "is run as code"),
        ("psql -c \"INSERT INTO t VALUES ('{name}')\"", "is run as code"),
        ("env -S 'cat {name}'", "is run as code"),
    ],
)
def test_a_program_that_cannot_be_meant_is_refused_before_a_node_registers(
    db: Database, settings: Settings, command: str, told: str
) -> None:
    done = opskit(settings, "worker", "--drain", "--exec", command)

    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert db.run("nodes") == []


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'cat \"$1\"' sh {path}",
        "sh convert.sh {path} {name}",
        "python3 -m convert -c {path}",
        "perl -ne 'print' {path}",
        "awk -f sum.awk {path}",
        "node --experimental-strip-types convert.ts {path} --out={token}.csv",
        "tool -c {path}",
        "tool -e {id}.out",
        "awk '{ print $1 }' {path}",
    ],
)
def test_a_placeholder_that_is_an_argument_of_its_own_is_taken(command: str) -> None:
    words = Command(command).arguments(dict.fromkeys(("path", "id", "token", "attempt", "name"), "/x y'z"))

    assert any("/x y'z" in word for word in words)


def test_a_value_that_begins_with_a_hyphen_is_no_option() -> None:
    values = {"path": "/data/a", "id": "-5", "token": "t", "attempt": "1", "name": "-rf"}

    assert Command("tool {name} --name={name} -n{name}").arguments(values) == ["tool", "./-rf", "--name=-rf", "-n-rf"]
    with pytest.raises(Reject, match="begins with a hyphen"):
        Command("tool {id}").arguments(values)


def test_program_and_processor_together_are_refused() -> None:
    with pytest.raises(SettingError, match="OPSKIT_EXEC and OPSKIT_PROCESSOR are set"):
        Settings.load({}, exec="cat", processor="mine:process")
