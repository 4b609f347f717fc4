"""The words of a command line: files by name, times, and what is none of what there is."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from opskit.cli.main import main
from opskit.database import Database
from tests.support.dashboard import execute
from tests.support.tables import boot, claim, fail, files, put

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shell(db: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Run a verb over this test's database; answers exit code, stdout and stderr."""
    for name, value in db.settings.environ().items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def failed(db: Database) -> str:
    """A failed file."""
    (id,) = files(db, "invoice-1044.csv")
    fail(db, id, claim(db, boot(db)).token, error="ValueError: line 7", max_failures=1)
    return id


def status(db: Database, id: str) -> str:
    return str(db.one("file", id=id)["processing_status"])


def test_a_file_is_requeued_expedited_and_cancelled_by_its_whole_name(shell: Shell, db: Database, failed: str) -> None:
    assert shell("requeue", "invoice-1044.csv")[0] == 0
    assert status(db, failed) == "queued"
    assert json.loads(shell("expedite", "invoice-1044.csv", "--json")[1])["expedited"] == 1
    assert shell("cancel", "invoice-1044.csv")[0] == 0
    assert status(db, failed) == "failed"


@pytest.mark.parametrize("verb", ["requeue", "expedite", "cancel", "logs", "file"])
@pytest.mark.parametrize("word", ["no-such-file", "", "1044x", "9" * 30, "1.5"])
def test_a_word_that_names_no_file_is_one_sentence(shell: Shell, failed: str, verb: str, word: str) -> None:
    code, out, err = shell(verb, word)

    assert (code, out) == (1, "")
    assert err.strip() == f"opskit: there is no file with the id or the name {word!r} (development)"


def test_what_acts_takes_no_part_of_a_name_and_logs_do(shell: Shell, db: Database, failed: str) -> None:
    assert shell("requeue", "invoice")[0] == 1
    assert status(db, failed) == "failed"
    assert shell("logs", "invoice")[0] == 0


def test_two_files_of_one_name_are_told_apart_by_their_ids(shell: Shell, db: Database, failed: str) -> None:
    (other,) = files(db, "invoice-1044.csv")

    code, _, err = shell("cancel", "invoice-1044.csv")

    assert code == 1
    assert f"say which id: {other} (" in err
    assert status(db, other) == "queued"


def test_a_requeue_of_a_lane_leaves_other_lanes_alone(shell: Shell, db: Database) -> None:
    execute(db, "ALTER TABLE {files} ADD COLUMN customer_id text")
    assert shell("migrate", "--lane-column", "customer_id")[0] == 0
    failed = [
        execute(
            db,
            "INSERT INTO {files} (original_filename, customer_id, processing_status, processing_errors,"
            f" processing_completed_at) VALUES ('a', '{lane}', 'failed', 'bad', now()) RETURNING id::text AS id",
        )[0]["id"]
        for lane in ("acme", "globex")
    ]

    assert json.loads(shell("requeue", "--failed", "--lane", "acme", "--dry-run", "--json")[1])["wouldRequeue"] == 1
    assert json.loads(shell("requeue", "--failed", "--lane", "acme", "--json")[1])["requeued"] == 1
    assert [status(db, id) for id in failed] == ["queued", "failed"]


def test_lists_are_cut_at_a_time(shell: Shell, db: Database, failed: str) -> None:
    for name in ("files", "events", "failures"):
        assert len(json.loads(shell("stats", name, "--since", "1h", "--json")[1])) >= 1, name
    acts = len(json.loads(shell("stats", "acts", "--json")[1]))
    put(db, failed, "processing_completed_at = now() - interval '2 h', processing_queued_at = now() - interval '2 h'")
    execute(db, "UPDATE {events} SET at = now() - interval '2 h'")

    for name in ("files", "events", "failures", "acts"):
        assert json.loads(shell("stats", name, "--since", "90min", "--json")[1]) == [], name
    assert len(json.loads(shell("stats", "acts", "--since", "3h", "--json")[1])) == acts
    assert len(json.loads(shell("stats", "failures", "--since", "3h", "--json")[1])) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("stats", "event"), 2, "there is no 'event'; did you mean events?"),
        (("stats", "xyzzy"), 2, "there is no 'xyzzy' (choose from all, concurrency"),
        (("stats", "files", "--state", "fialed"), 1, "--state is 'fialed'; it must be queued, processing, completed, "
         "failed or none; did you mean failed?"),
        (("stats", "events", "--kind", "atempt"), 1, "; did you mean attempt?"),
        (("stats", "nodes", "--serch", "x"), 2, "unrecognized arguments: --serch x; did you mean --search?"),
        (("--envv", "production", "stats"), 2, "there is no setting --envv; did you mean --env?"),
        (("completion", "bahs"), 2, "there is no 'bahs'; did you mean bash?"),
        (("requeue", "--faild"), 2, "unrecognized arguments: --faild; did you mean --failed?"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_word_that_is_none_is_told_with_the_one_that_was_meant(
    shell: Shell, words: tuple[str, ...], code: int, said: str
) -> None:
    ended, out, err = shell(*words)

    assert (ended, out) == (code, "")
    assert said in err


@pytest.mark.parametrize(
    "words",
    [("requeue", "--failed", "--dry-run"), ("requeue", "--failed"), ("cancel", "--all", "--dry-run"),
     ("cancel", "--all", "--yes"), ("expedite", "LAST"), ("stats", "files"), ("file", "LAST")],
    ids=lambda words: "-".join(words),
)  # fmt: skip
def test_a_list_of_long_names_fits_80_columns_one_line_a_file(
    shell: Shell, db: Database, words: tuple[str, ...]
) -> None:
    name = "long-globex-full-export-of-the-whole-ledger-november-2026"
    ids = files(db, *(f"{name}-{number}.csv" for number in range(4)))
    node = boot(db, "vm-26204-1795844599017-with-a-long-name")
    for _ in range(2):
        answer = claim(db, node)
        assert answer.row is not None
        fail(db, answer.row["id"], answer.token, error="it broke", max_failures=1)

    code, out, _ = shell(*(ids[-1] if word == "LAST" else word for word in words))

    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    if words[0] != "file":
        assert len(out.splitlines()) <= 6


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("requeue", "has not ended, or no such file: "),
        ("expedite", "not queued, or no such file: "),
        ("cancel", "neither queued nor in processing, or no such file: "),
    ],
)
def test_what_acts_names_the_files_that_it_left_alone(shell: Shell, db: Database, verb: str, said: str) -> None:
    queued, done = files(db, "due.csv", "done.csv")
    put(db, done, "processing_status = 'completed', processing_completed_at = now()")
    right, wrong = (done, queued) if verb == "requeue" else (queued, done)

    code, out, _ = shell(verb, right, wrong, "999999", wrong)

    assert code == 0
    assert f"{said}{wrong}, 999999" in out


@pytest.mark.parametrize("number", ["0", "-3", "1.5", "many", ""])
def test_a_node_that_would_process_no_file_is_refused(shell: Shell, number: str) -> None:
    code, _, err = shell("worker", "--max-files", number)

    assert code == 2
    assert f"{number!r} is no number of 1 or more" in err
