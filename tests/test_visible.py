"""What others wrote never steers a terminal, and never begins a line of a log."""

from __future__ import annotations

import io
import logging
import os
import pty
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from opskit import stats
from opskit.database import Database
from opskit.stats import figures
from opskit.support import console
from opskit.support.logs import set_up_logging
from opskit.support.notebook_output import record
from opskit.support.progress import Progress
from opskit.support.visible import directions_shown, visible, visible_lines
from tests.support import python_programs
from tests.support.nodes import add_files, ask, running_nodes

FORGED = "2031-01-02 00:00:00,000 INFO    [prod production] all fine"
NASTY = (
    "a\x1b]0;title\x07\x1b[2J\x1b]52;c;ZXZpbA==\x07\x1b]8;;http://evil\x1b\\b\x9b31m\x7f\u202etxt.exe\u2066\u200f"
    f"\u2028c\r\n{FORGED}\n[link=http://evil]d[/link] [bold]:bomb: \U000e0041.csv"
)
VERBS: tuple[tuple[str, ...], ...] = (
    ("stats", "files", "--wide"), ("stats", "failures"), ("stats", "events"), ("stats", "timeline"), ("stats",),
    ("doctor",),
    ("requeue", "--failed"), ("info",),
)  # fmt: skip


def steering(text: str) -> list[str]:
    """The characters of a text that steer a terminal or hide; a line's end is none."""
    return sorted(
        {f"U+{ord(c):04X}" for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"}
    )


def opskit(db: Database, *words: str) -> subprocess.CompletedProcess[str]:
    return python_programs.run(
        [sys.executable, "-m", "opskit", *words],
        env={**os.environ, **db.settings.environ(), "COLUMNS": "400"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def failed(db: Database, name: str, error: str) -> str:
    (id,) = add_files(db, name)
    ask(
        db,
        f"UPDATE {db.settings.files} SET processing_status = 'failed', processing_errors = %s, "
        "processing_completed_at = now() WHERE id = %s",
        error,
        id,
    )
    return id


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_no_verb_passes_on_what_a_terminal_obeys(db: Database, words: tuple[str, ...]) -> None:
    failed(db, NASTY, f"Traceback:\n  oops\n{NASTY}")

    done = opskit(db, *words)

    told = done.stdout + done.stderr
    assert done.returncode in (0, 1), told
    assert steering(told) == []
    assert not [line for line in told.split("\n") if line.startswith(FORGED[:10])]
    if words == ("stats", "files", "--wide"):
        assert r"a\x1b]0;title\x07\x1b[2J" in told
        assert r"\x9b31m\x7f\u202etxt.exe\u2066\u200f\u2028c\r\n2031" in told
        assert r"[link=http://evil]d[/link] [bold]:bomb: \U000e0041.csv" in told


@pytest.mark.slow
def test_json_says_every_name_as_it_is(db: Database) -> None:
    failed(db, NASTY, "oops")

    done = opskit(db, "stats", "files", "--json")

    assert "\\u001b]0;title" in done.stdout
    assert "\u202etxt.exe" in done.stdout


@pytest.mark.slow
def test_a_terminal_gets_no_more_than_a_pipe(db: Database) -> None:
    failed(db, NASTY, "oops")
    ours, theirs = pty.openpty()
    shown = b""

    with subprocess.Popen(
        [sys.executable, "-m", "opskit", "stats", "files"],
        env={**os.environ, **db.settings.environ(), "COLUMNS": "400", "TERM": "xterm", "NO_COLOR": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        try:
            while some := os.read(ours, 65536):
                shown += some
        except OSError:
            pass  # how Linux says that the other side is closed
    os.close(ours)

    text = shown.decode()
    assert "title" in text
    assert not [bad for bad in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e", "\u2028") if bad in text]


@pytest.mark.slow
def test_a_file_processed_by_hand_and_its_log_begin_no_line_with_its_name_or_error(
    db: Database, tmp_path: Path
) -> None:
    (id,) = add_files(db, NASTY)
    with running_nodes(db, tmp_path) as start:
        node = start("node-a", "--drain", act="speak_evil", OPSKIT_MAX_FAILURES="1")
        assert node.end() == 0
    by_hand = opskit(db, "requeue", id)
    by_hand = opskit(db, "process", id)

    for told in (node.log, by_hand.stdout + by_hand.stderr):
        assert "title" in told
        assert steering(told) == []
        assert not [line for line in told.split("\n") if line.startswith(FORGED[:10]) and "all fine" in line]


def test_a_traceback_in_the_log_keeps_its_lines_indented(capsys: pytest.CaptureFixture[str]) -> None:
    own = logging.getLogger("opskit")
    before = own.handlers[:], own.propagate, own.level
    set_up_logging("node-a", "development")
    try:
        raise ValueError(f"bad\x1b[2J\n{FORGED}")
    except ValueError:
        own.exception("file 1 (%s)", NASTY)
    finally:
        own.handlers[:], own.propagate = before[0], before[1]
        own.setLevel(before[2])

    lines = capsys.readouterr().err.rstrip("\n").split("\n")
    assert "[node-a development] file 1 (a" in lines[0]
    assert all(line.startswith("    ") for line in lines[1:])
    assert "    Traceback (most recent call last):" in lines
    assert "    ValueError: bad\\x1b[2J" in lines
    assert steering("\n".join(lines)) == []


@pytest.mark.slow
def test_a_users_mistake_is_told_without_what_it_would_do_to_the_terminal(db: Database) -> None:
    for words in (("enqueue", f"/no/{NASTY}"), ("drain", NASTY), ("requeue", NASTY), ("process", NASTY)):
        done = opskit(db, *words)
        assert steering(done.stdout + done.stderr) == [], words
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("make", [lambda text: text, lambda text: [{"name": text, "count": 1}]])
def test_a_console_has_neither_markup_nor_emoji(monkeypatch: pytest.MonkeyPatch, make: Callable[[str], object]) -> None:
    told = io.StringIO()
    monkeypatch.setattr(console, "out", console.Terminal(file=told, width=200, force_terminal=True, color_system=None))
    what = make("[red]x[/red] :smile: [link=http://evil]y[/link] \\[z]")

    console.out.print(what) if isinstance(what, str) else console.table(what)  # type: ignore[arg-type]  # rows, then

    assert "[red]x[/red] :smile: [link=http://evil]y[/link] \\[z]" in told.getvalue()
    assert isinstance(console.out, Console)


def test_a_progress_line_is_data(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(console, "err", console.Terminal(file=told, width=600))
    monkeypatch.setattr(console.Bar, "LINE_SECONDS", 0)

    with console.progress() as bar:
        bar.line(NASTY)
        bar.at(Progress(text=NASTY, share=0.5))

    assert steering(told.getvalue()) == []
    assert all(line.startswith((" ", "a\\x1b")) for line in told.getvalue().splitlines())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name (1).csv", "plain name (1).csv"),
        ("Grüße 销售 ملف 👍.csv", "Grüße 销售 ملف 👍.csv"),
        ("C:\\new\\table", "C:\\new\\table"),
        ("tab\there", "tab\\there"),
        ("\udcff", "\\udcff"),
        ("half\ud83d", "half\\ud83d"),
        ("\x00\x85\xad\ufeff\u061c", "\\x00\\x85\\xad\\ufeff\\u061c"),
    ],
)
def test_only_what_steers_or_hides_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_are_kept_and_all_but_the_first_are_indented() -> None:
    assert visible_lines("a\r\n  b\x1b\n\nc\n") == "a\n      b\\x1b\n    \n    c"


def test_a_direction_mark_is_shown_on_the_page_and_in_figures(db: Database) -> None:
    name = "invoice\u202efdp.exe"
    (id,) = add_files(db, name)
    ask(
        db,
        f"UPDATE {db.settings.files} SET processing_status = 'processing', processing_server_id = 'a', "
        "processing_started_at = now() WHERE id = %s",
        id,
    )

    drawn = figures.longest_running(stats.longest_running(db)).to_json()

    assert directions_shown("👩\u200d💻 می\u200cخواهم " + name) == "👩\u200d💻 می\u200cخواهم invoice\\u202efdp.exe"
    assert "\\\\u202e" in drawn
    assert "\u202e" not in record(name, {"name": name})
