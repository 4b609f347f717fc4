"""An error has an identity: what makes two failures the same, made where the exception still is one."""

from __future__ import annotations

import dataclasses
import errno
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import Reject
from opskit.queue import claims, requeue, stored
from opskit.queue.error_identity import (
    Identity,
    headline,
    kind_of,
    kind_of_status,
    normalised,
    of_exception,
    of_text,
)
from opskit.queue.error_lines import last_line
from opskit.queue.error_text import told
from opskit.queue.interruptions import interrupt
from tests.support.nodes import add_files, running_nodes
from tests.support.tables import attempts, boot, claimed, fail, put, put_node, row

SAME = [
    ("line 17 is bad", "line 1,234 is bad"),
    ("amount is -3.50", "amount is 1e-7"),
    ("could not convert string to float: 'abc'", 'could not convert string to float: "it\'s"'),
    ("file 123e4567-e89b-12d3-a456-426614174000 is gone", "file 00000000-0000-0000-0000-00000000000a is gone"),
    ("[Errno 13] Permission denied: '/data/a b.csv'", "[Errno 13] Permission denied: '/mnt/c'"),
    ("cannot read /srv/in/1.csv", "cannot read /srv/out/deep/er.csv"),
    (r"cannot read C:\data\x.csv", r"cannot read D:\y"),
    ("no header in müller-gmbh.csv", "no header in smith_ltd.csv"),
    ("late since 2026-11-28T08:35:56.12Z", "late since 2026-11-29"),
    ("late since 28 Nov 2026", "late since 3 January 2027"),
    ("<Row object at 0x7f3a2b>", "<Row object at 0x11>"),
    ("checksum deadbeef12345678 is wrong", "checksum 0123456789abcdef is wrong"),
    ("row [1, 2, 3] is short", "row [4] is short"),
    ("customer 01ARZ3NDEKTSV4RRFFQ69G5FAV is unknown", "customer 01BX5ZZKBKACTAV9WEVGEMMVRZ is unknown"),
    ("no answer from https://api.example/v1/files/17?x=1", "no answer from https://api.example/v2"),
    ("user jane@example.com is unknown", "user joe.doe@example.org is unknown"),
    ("column 'amount_1' is missing", "column 'amount_2' is missing"),
    ("two\n  lines of 3", "two\n\n  lines of 4"),
]
DIFFERENT = [
    ("line 17 is bad", "row 17 is bad"),
    ("column 'amount' is missing", "column 'date' is missing"),
    ("No module named 'yaml'", "No module named 'numpy'"),
    ("'NoneType' object has no attribute 'strip'", "'NoneType' object has no attribute 'split'"),
    ('violates unique constraint "a_key"', 'violates unique constraint "b_key"'),
    ("[Errno 13] Permission denied: '/x'", "[Errno 28] No space left on device: '/x'"),
    ("HTTP Error 404: oh", "HTTP Error 503: oh"),
    ("returned exit status 1", "returned exit status 137"),
    ("no answer from https://a.example/1", "no answer from https://b.example/1"),
    ("'utf-8' codec can't decode", "'utf-16' codec can't decode"),
    ("two\nlines", "two\nrows"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_messages_that_differ_in_what_belongs_to_a_file_are_the_same(one: str, other: str) -> None:
    assert of_exception(ValueError(one)) == of_exception(ValueError(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_messages_that_differ_otherwise_are_two(one: str, other: str) -> None:
    assert of_exception(ValueError(one)) != of_exception(ValueError(other))


def test_what_is_known_of_the_file_is_taken_out_of_the_message() -> None:
    one = normalised("Müller & Co has no header", known=("Müller & Co", None, ""))
    other = normalised("cust-b has no header", known=("cust-b",))

    assert one == other == "… has no header"


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    "text", ["'" * 9999, '"a' * 9999, "/a" * 9999, "a.b" * 9999, "x@" * 9999, "(" * 9999, "a1" * 9999, "name '" * 9999]
)
def test_a_hostile_message_is_normalised_in_a_moment(text: str) -> None:
    begun = time.process_time()

    assert len(normalised(text)) <= 300

    assert time.process_time() - begun < 0.5


# -- exceptions of every kind ----------------------------------------------------------------------


class Mute(Exception):
    """Its __str__ raises."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def chained() -> None:
    try:
        json.loads("{x")
    except ValueError as error:
        raise RuntimeError("could not process") from error


def grouped() -> None:
    raise ExceptionGroup("many", [KeyError("a"), ExceptionGroup("inner", [TypeError("b"), KeyError("a")])])


def noted() -> None:
    error = ValueError("bad")
    error.add_note("seen at 7")
    raise error


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


KINDS: dict[str, tuple[Callable[[], Any], str, str]] = {
    # name: what raises it, its line, what it is grouped by
    "key": (raising(KeyError("amount")), "KeyError: 'amount'", "KeyError: 'amount'"),
    "sentence as a key": (
        raising(KeyError("column 'amount_7' is missing")),
        "KeyError: column 'amount_7' is missing",
        "KeyError: column 'amount_#' is missing",
    ),
    "no message": (raising(ValueError()), "ValueError", "ValueError"),
    "blank message": (raising(ValueError(" \n ")), "ValueError", "ValueError"),
    "several lines": (raising(ValueError("one\n two 2\n\n 3 three\nfour")), "ValueError: one",
                      "ValueError: one | two # | four"),
    "mute": (raising(Mute()), f"{__name__}.Mute: <exception str() failed>",
             f"{__name__}.Mute: <exception str() failed>"),
    "exit": (raising(SystemExit(3)), "SystemExit: 3", "SystemExit: 3"),
    "exit without a code": (raising(SystemExit()), "SystemExit", "SystemExit"),
    "syntax": (lambda: compile("a b c", "x", "exec"), "SyntaxError: invalid syntax", "SyntaxError: invalid syntax"),
    "note": (noted, "ValueError: bad", "ValueError: bad"),
    "cause": (
        chained,
        "RuntimeError: could not process",
        "RuntimeError: could not process (from json.decoder.JSONDecodeError: Expecting property name enclosed in "
        "double quotes: line # column # (char #))",
    ),
    "group": (grouped, "ExceptionGroup: many (2 sub-exceptions)",
              "ExceptionGroup: many (# sub-exceptions): KeyError: 'a'; TypeError: b"),
    "controls": (raising(ValueError("a\x1b[31m\x00b\ud800")), "ValueError: a [31m b", "ValueError: a [#m b"),
    "secret": (raising(OSError("postgresql://me:hunter2@db/x password=hunter2")),
               "OSError: postgresql://me:…@db/x password=…", "OSError: postgresql://me:…@db/… password=…"),
    "rejected": (raising(Reject("no statement\nof account 7")), "rejected: no statement",
                 "rejected: no statement | of account #"),
}  # fmt: skip


@pytest.mark.parametrize(("act", "line", "grouped_by"), KINDS.values(), ids=KINDS)
def test_an_exception_of_any_kind_has_one_line_and_an_identity(
    act: Callable[[], Any], line: str, grouped_by: str
) -> None:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 -- any of them
        act()

    text = stored.clean_error(told(caught.value))

    assert headline(caught.value) == line
    assert of_exception(caught.value).error == grouped_by
    assert last_line(text) == line
    assert "hunter2" not in text


def test_an_error_of_postgresql_is_told_by_its_message_not_by_its_caret(db: Database) -> None:
    assert db.settings.database_url is not None
    with psycopg.connect(db.settings.database_url) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute("SELEC 1")

    text = told(caught.value)

    assert "^" in text, "the whole story is kept"
    assert last_line(text) == 'psycopg.errors.SyntaxError: syntax error at or near "SELEC"'
    assert of_exception(caught.value).error == "psycopg.errors.SyntaxError: syntax error at or near '…'"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Traceback:\n  File x\npsycopg.Error: no\nLINE 1: SELEC 1\n        ^", "psycopg.Error: no"),
        ("psycopg.Error: twice\nDETAIL:  Key (a)=(1) already exists.", "psycopg.Error: twice"),
        ("Processing timeout: no progress for 60 minutes on a", "Processing timeout: no progress for 60 minutes on a"),
        ("", ""),
        (None, ""),
        ("^", "^"),
    ],
)  # fmt: skip
def test_the_text_of_an_older_node_is_told_by_its_last_line_that_says_something(text: str | None, line: str) -> None:
    assert last_line(text) == line


# -- the place -------------------------------------------------------------------------------------


def module_at(path: Path, name: str, text: str) -> ModuleType:
    """A module of that name, from a file at that path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def raised(act: Callable[..., Any], *values: Any) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 -- any of them
        act(*values)
    return caught.value


def test_the_place_is_the_innermost_frame_of_the_processors_own_code(tmp_path: Path) -> None:
    text = (
        "import json\n\n\nclass Ledger:\n    def read(self, text):\n"
        "        return [(lambda: json.loads(text))() for _ in '1']\n"
    )
    module = module_at(tmp_path / "acme" / "ledger.py", "acme.ledger", text)

    error = raised(module.Ledger().read, "{")

    assert of_exception(error).place == "acme/ledger.py in Ledger.read.<lambda>"


def test_the_place_outlives_a_deploy(tmp_path: Path) -> None:
    text = "def process(file):\n    return 1 / 0\n"
    before = module_at(tmp_path / "release-1" / "ledger.py", "ledger", text)
    after = module_at(tmp_path / "release-2" / "ledger.py", "ledger", "# A new line.\n" + text)

    assert of_exception(raised(before.process, 1)) == of_exception(raised(after.process, 1))
    assert of_exception(raised(after.process, 1)).place == "ledger.py in process"


def test_a_processor_that_is_installed_is_no_library(tmp_path: Path) -> None:
    module = module_at(
        tmp_path / "site-packages" / "acme" / "ledger.py", "acme.ledger", "def process(file):\n    return 1 / 0\n"
    )

    error = raised(module.process, 1)

    assert of_exception(error, home="acme.ledger").place == "acme/ledger.py in process"
    assert of_exception(error, home="other").place.startswith("tests/queue/test_error_identity.py in ")


# -- the kind --------------------------------------------------------------------------------------

WORLD = [
    ModuleNotFoundError("No module named 'yaml'"), MemoryError(), ConnectionResetError(), OSError(errno.ENOSPC, "full"),
    PermissionError(errno.EACCES, "no"), TimeoutError(errno.ETIMEDOUT, "late"), psycopg.OperationalError("no server"),
    psycopg.errors.InsufficientPrivilege("no"), ExceptionGroup("many", [OSError(errno.EMFILE, "many")]),
]  # fmt: skip
OF_THE_FILE = [
    ValueError("x"), KeyError("x"), UnicodeDecodeError("utf-8", b"?", 0, 1, "x"),
    FileNotFoundError(errno.ENOENT, "x"), OSError("x"), TimeoutError("x"), psycopg.errors.UniqueViolation("x"),
    SystemExit(1), Reject("x"), Mute(),
]  # fmt: skip


@pytest.mark.parametrize("error", WORLD, ids=repr)
def test_errors_of_disk_memory_rights_network_and_installation_speak_of_the_world(error: BaseException) -> None:
    wrapped = RuntimeError("could not process")
    wrapped.__cause__ = error

    assert (kind_of(error), kind_of(wrapped)) == ("world", "world")


@pytest.mark.parametrize("error", OF_THE_FILE, ids=lambda error: type(error).__name__)
def test_all_other_errors_speak_of_their_file(error: BaseException) -> None:
    assert kind_of(error) == "file"


def test_statuses_have_a_kind() -> None:
    assert {status: kind_of_status(status, redirect=True) for status in (302, 400, 401, 403, 404, 422, 500, 503)} == {
        302: "world", 400: "file", 401: "world", 403: "world", 404: "world", 422: "file", 500: "world", 503: "world",
    }  # fmt: skip
    assert kind_of_status(302) == "file"


# -- on the row and in the event -------------------------------------------------------------------


def test_a_failure_stands_on_the_row_and_in_its_event(db: Database) -> None:
    id, token = claimed(db)

    fail(db, id, token, error="Traceback:\nKeyError: 'a'", identity=Identity("KeyError: 'a'", "x.py in f", "world"))

    assert row(db, id)["processing_failure"] == {"attempt": 1, "error": "KeyError: 'a'", "place": "x.py in f"}
    assert attempts(db, id)[0]["details"] == {"error": "KeyError: 'a'", "place": "x.py in f", "kind": "world"}


def test_without_an_exception_the_last_line_is_the_identity(db: Database) -> None:
    id, token = claimed(db)

    fail(db, id, token, error="Traceback:\n  File x\nValueError: line 7 is bad")

    assert row(db, id)["processing_failure"] == {"attempt": 1, "error": "ValueError: line # is bad", "place": ""}
    assert of_text(" \n ").error == "no reason recorded"


def test_the_longest_identity_fits_into_an_index(db: Database) -> None:
    id, token = claimed(db)
    error = of_exception(ValueError("\U0001f600 " * 400), home="x")

    fail(db, id, token, identity=Identity(error.error, "\U0001f600" * 120))

    with db.connection() as connection:
        connection.execute(f"CREATE INDEX ON {db.settings.files} (processing_failure)".encode())


def test_a_cleanup_groups_by_what_happened_not_by_node_or_time(db: Database) -> None:
    found = []
    for server in ("node-a", "node-b"):
        id, token = claimed(db, server, on_orphan="fail")
        put_node(db, server, "lease_until = now() - interval '1 hour', looked_lease = now() - interval '1 hour', "
                             "looked_at = now() - interval '1 minute'")  # fmt: skip
        queue.cleanup(db, actor="test")
        found.append(row(db, id)["processing_failure"])
        assert attempts(db, id)[0]["details"]["error"] == "Orphaned: its node has been silent"
        assert token

    assert found == [{"attempt": 1, "error": "Orphaned: its node has been silent", "place": ""}] * 2


def test_an_interruption_that_counts_has_an_identity(db: Database) -> None:
    id, token = claimed(db)

    with Database(dataclasses.replace(db.settings, on_orphan="fail")) as own:
        interrupt(own, id=id, token=token, reason="the database went away: x 17", actor="test")

    error = "Interrupted: its node queues no file a second time"
    assert row(db, id)["processing_failure"] == {"attempt": 1, "error": error, "place": ""}
    assert attempts(db, id)[0]["details"] == {"error": error, "place": "", "kind": "world"}


def test_a_requeue_forgets_the_failure_and_its_event_keeps_it(db: Database) -> None:
    id, token = claimed(db)
    fail(db, id, token, outcome="rejected", error="ValueError: x")

    requeue(db, [id], actor="test")

    assert row(db, id)["processing_failure"] is None
    event = db.run("events", file_id=id, kind="requeue", row_limit=1)[0]
    assert db.one("event", event_id=event["id"])["details"]["processing_failure"]["error"] == "ValueError: x"


def test_a_completion_leaves_the_column_alone(db: Database) -> None:
    id, token = claimed(db)
    fail(db, id, token, error="ValueError: x")
    again = claims.claim_one(db, boot(db, "node-b"), id)

    claims.complete(db, id=id, token=again.token)

    found = row(db, id)
    assert (found["processing_attempt"], found["processing_failure"]["attempt"]) == (2, 1)


def test_a_failure_written_by_the_application_does_not_inherit_an_identity(db: Database) -> None:
    id, token = claimed(db)
    fail(db, id, token, error="ValueError: x")

    put(db, id, "processing_status = 'processing', processing_server_id = 'theirs'")
    put(db, id, "processing_status = 'failed', processing_errors = 'it was not to be'")

    assert row(db, id)["processing_failure"] is None


# -- what a node does ------------------------------------------------------------------------------


EXPECTED = {
    "key": "KeyError: 'amount'",
    "denied": "PermissionError: [Errno 13] Permission denied: '…'",
    "parse": "ValueError: cannot parse line #",
    "unknown": "ValueError: currency of line # is unknown",
}


def test_a_node_writes_the_identity_of_what_its_processor_raised(db: Database, tmp_path: Path) -> None:
    ids = {f"{kind}-{n}": id for kind in EXPECTED for n in (1, 2) for id in add_files(db, f"{kind}-{n}")}

    with running_nodes(db, tmp_path) as start:
        node = start("node-a", "--drain", act="deep", OPSKIT_MAX_FAILURES="1", OPSKIT_QUARANTINE_AFTER="0")
        node.end()

    for name, id in ids.items():
        found = row(db, id)
        assert len(found["processing_errors"].splitlines()) > 10
        assert found["processing_failure"] == {
            "attempt": 1,
            "error": EXPECTED[name.partition("-")[0]],
            "place": "processors.py in _call",
        }
        assert attempts(db, id)[0]["details"]["kind"] == ("world" if name.startswith("denied") else "file")
    assert "attempt 1: KeyError: 'amount'; now failed" in node.log


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("kill-1", "the child was killed by signal 9 (SIGKILL), perhaps out of memory"),
        ("reject-1", "rejected: not a statement of account"),
        ("exit-1", "SystemExit: 3"),
        ("hang-1", "over its hard limit"),
    ],
)
def test_an_end_of_any_kind_has_an_identity(db: Database, tmp_path: Path, name: str, error: str) -> None:
    (id,) = add_files(db, name)

    with running_nodes(db, tmp_path) as start:
        limits = {"OPSKIT_MAX_FAILURES": "1", "OPSKIT_HARD_LIMIT_SECONDS": "1"}
        start("node-a", "--drain", act="by_name", **limits).end()

    assert row(db, id)["processing_failure"]["error"] == error
    assert attempts(db, id)[0]["details"]["error"] == error
