"""The shell as an operator uses it: a file by its name, filters, tables that fit, short help, words that are meant."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from opskit.cli.argument_words import arranged
from opskit.cli.main import build_parser, main, verbs_of
from opskit.database import Database
from opskit.errors import SettingError
from opskit.stats.catalog import STATISTICS
from tests.support.tables import boot, claim, environ, fail, files, put

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shell(db: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Run a verb over this test's database; answers exit code, stdout and stderr."""
    for name, value in db.settings.environ().items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def failed(db: Database) -> str:
    """A failed file with a traceback and a history."""
    (id,) = files(db, "invoice-1044.csv")
    answer = claim(db, boot(db))
    error = "Traceback:\n  File work.py\nValueError: line 7 is bad"
    fail(db, id, answer.token, error=error, max_failures=1)
    return id


def test_a_file_is_shown_by_its_id_its_name_and_a_part_of_it(shell: Shell, failed: str) -> None:
    for word in (failed, "invoice-1044.csv", "1044"):
        code, out, _ = shell("file", word)

        assert code == 0
        assert "invoice-1044.csv" in out
        assert "ValueError: line 7 is bad" in out
        assert "raised" in out

    answer = json.loads(shell("file", failed, "--json")[1])
    assert (answer["id"], answer["processing_status"], len(answer["events"])) == (failed, "failed", 1)


def test_a_name_of_several_files_and_of_none_is_one_sentence(shell: Shell, db: Database, failed: str) -> None:
    files(db, "invoice-2000.csv")

    code, _, err = shell("file", "invoice")
    assert code == 1
    assert err.count("invoice-") >= 2
    code, _, err = shell("file", "no such file")
    assert (code, err.strip()) == (1, "opskit: there is no file with the id or the name 'no such file' (development)")


def test_the_applications_columns_are_shown_where_a_setting_names_them(shell: Shell, db: Database, failed: str) -> None:
    with db.connection() as connection:
        connection.execute(f"ALTER TABLE {db.settings.files} ADD COLUMN customer_id text".encode())
    put(db, failed, "customer_id = 'c-1044'")

    assert "c-1044" not in shell("file", failed)[1]
    assert "c-1044" in shell("file", failed, "--show-columns", "customer_id")[1]


def test_statistics_are_filtered(shell: Shell, db: Database, failed: str) -> None:
    files(db, "one.csv", "two.csv")

    found = json.loads(shell("stats", "files", "--state", "queued", "--search", "one", "--json")[1])
    assert [row["original_filename"] for row in found] == ["one.csv"]
    assert len(json.loads(shell("stats", "files", "--limit", "2", "--json")[1])) == 2
    assert json.loads(shell("stats", "throughput", "--since", "1h", "--json")[1])[0]["file_count"] == 1
    put(db, failed, "processing_completed_at = now() - interval '2 h'")
    assert json.loads(shell("stats", "throughput", "--since", "90min", "--json")[1]) == []
    assert json.loads(shell("stats", "events", "--file", failed, "--json")[1])[0]["file_id"] == failed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pauses", "--since", "1h"), "opskit stats pauses takes no --since; it takes no filter"),
        (("throughput", "--since", "soon"), "--since is 'soon'; it must look like 90s, 15min, 24h or 7d"),
        (("throughput", "--since", "0s"), "--since is '0s'; it must look like 90s, 15min, 24h or 7d"),
        (("failures", "--limit", "0"), "--limit is 0; it must be at least 1"),
    ],
)
def test_a_filter_that_cannot_be_used_is_one_sentence(shell: Shell, words: tuple[str, ...], said: str) -> None:
    code, _, err = shell("stats", *words)

    assert (code, err.strip()) == (1, f"opskit: {said}")


@pytest.mark.fast_cases(8)
@pytest.mark.parametrize("name", STATISTICS)
def test_every_table_fits_80_columns_one_line_a_row(shell: Shell, db: Database, failed: str, name: str) -> None:
    files(db, "a-very-long-name-of-a-file-that-a-customer-has-sent-in-november-2026.csv")

    code, out, _ = shell("stats", name)

    assert code == 0
    if name != "failures":
        assert max(map(len, out.splitlines())) <= 80
        rows = json.loads(shell("stats", name, "--json")[1])
        assert len(out.splitlines()) <= max(len(rows) + 2, 20)


def test_wide_tables_have_every_column(shell: Shell, failed: str) -> None:
    assert "processing_failures" not in shell("stats", "files")[1]
    assert "left out: " in shell("stats", "events")[2]

    assert "left out" not in shell("stats", "events", "--wide")[2]


def test_a_dry_run_of_a_requeue_says_which_and_changes_nothing(shell: Shell, db: Database, failed: str) -> None:
    before = db.run("events", file_id="", kind="", row_limit=10)

    code, out, _ = shell("requeue", "--failed", "--dry-run")

    assert code == 0
    assert "1 file would be queued again (development)" in out
    assert db.one("file", id=failed)["processing_status"] == "failed"
    assert db.run("events", file_id="", kind="", row_limit=10) == before
    assert json.loads(shell("requeue", failed, "--dry-run", "--json")[1])["wouldRequeue"] == 1


def test_the_statistics_of_the_shell_load_no_pandas(db: Database) -> None:
    code = "import sys; from opskit.cli.main import main; main(['stats', '--json']); print('pandas' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], env=environ(db.settings), capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("words", "became"),
    [
        (["--env", "production", "stats", "nodes"], ["stats", "--env", "production", "nodes"]),
        (["--env=production", "--read-only", "stats"], ["stats", "--env=production", "--read-only"]),
        (["stats", "--env", "production"], ["stats", "--env", "production"]),
        (["--help"], ["--help"]),
        ([], []),
    ],
)
def test_settings_may_stand_before_the_verb(words: list[str], became: list[str]) -> None:
    assert arranged(words, verbs_of(build_parser())) == became


def test_a_verb_that_is_none_is_told_with_the_one_that_was_meant(shell: Shell) -> None:
    assert shell("stat") == (2, "", "opskit: there is no verb 'stat'; did you mean stats?\n")
    with pytest.raises(SettingError, match="opskit --help lists them"):
        arranged(["xyzzy"], ["stats"])


def test_the_help_of_a_verb_is_its_own_and_the_settings_are_behind_a_flag() -> None:
    (verbs,) = (action.choices for action in build_parser()._actions if isinstance(action.choices, dict))
    for name, verb in verbs.items():
        if name != "query":
            assert "--lease-seconds" not in verb.format_help()
            assert len(verb.format_help().splitlines()) < 60, name
