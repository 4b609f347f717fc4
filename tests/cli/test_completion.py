"""Completion in the shells themselves: what real bash, zsh and fish offer, and that a key costs and starts nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from opskit.cli.main import VERBS, build_parser, main, verbs_of
from opskit.database import Database
from tests.support.tables import claimed

SHELLS = ("bash", "zsh", "fish")


def needs(shell: str) -> str:
    """The shell's path; the test is skipped where it is not installed."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A home without anybody's habits, and this opskit on the path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {
        "PATH": path,
        "HOME": str(tmp_path),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "OPSKIT_HOME": str(tmp_path / "none"),
    }


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What `opskit completion SHELL` prints."""
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def offered_by_fish(line: str, text: str, environ: dict[str, str], folder: Path) -> list[str]:
    """What fish offers behind a line."""
    (folder / "opskit.fish").write_text(text)
    command = [needs("fish"), "--no-config", "-c", f"source {folder}/opskit.fish; complete -C '{line}'"]
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return [one.partition("\t")[0] for one in done.stdout.splitlines()]


def offered_by_bash(line: str, text: str, environ: dict[str, str], folder: Path) -> list[str]:
    """What bash offers behind a line, as its completion function leaves it."""
    (folder / "opskit.bash").write_text(text)
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    ask = (
        f"source {folder}/opskit.bash; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; "
        "COMP_POINT=${#COMP_LINE}; spec=$(complete -p opskit); function=${spec##*-F }; "
        '${function%% *} opskit "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [needs("bash"), "--norc", "-c", ask],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


def offered_by_zsh(line: str, text: str, environ: dict[str, str], folder: Path) -> list[str]:
    """What zsh lists when somebody types a line and asks."""
    (folder / "_opskit").write_text(text)
    child = pexpect.spawn(
        needs("zsh"), ["-f", "-i"], env=environ, cwd=str(folder), encoding="utf-8", timeout=30, dimensions=(200, 300)
    )
    try:
        child.sendline(
            "PS1='ready> '; unsetopt zle_bracketed_paste; LISTMAX=10000; setopt no_always_last_prompt no_list_packed; "
            f"zstyle ':completion:*' list-prompt ''; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u; "
            "echo set-up"
        )
        child.expect("\r\nset-up")
        child.expect("ready> ")
        child.send(f"{line}\x04")  # Ctrl-D lists what fits
        child.expect(r"ready> ", timeout=20)
        return [word for row in (child.before or "").splitlines() for word in row.split()]
    finally:
        child.close(force=True)


OFFERED = {"bash": offered_by_bash, "zsh": offered_by_zsh, "fish": offered_by_fish}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_offers_verbs_flags_and_choices(
    shell: str, environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = script(shell, capsys)

    def offered(line: str) -> list[str]:
        return OFFERED[shell](line, text, environ, tmp_path)

    assert {"stats", "watch", "doctor", "completion"} <= set(offered("opskit "))
    assert {"--once", "--every", "--json"} <= set(offered("opskit watch --"))
    assert "--lease-seconds" in offered("opskit watch --lease")
    assert {"failures", "nodes"} <= set(offered("opskit stats "))
    assert "no-node-alive" in offered("opskit doctor --explain no")
    assert {"production", "development"} <= set(offered("opskit stats --env "))
    assert "longest-running" in offered("opskit query longest")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_offers_the_nodes_by_their_names(
    shell: str, db: Database, environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("node-a", "node-b", "$(touch taken)", "two words"):
        claimed(db, name)

    offered = OFFERED[shell]("opskit drain n", script(shell, capsys), environ | db.settings.environ(), tmp_path)

    assert {"node-a", "node-b"} <= set(offered)
    assert "two" not in offered
    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_offers_files_to_enqueue(
    shell: str, environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "orders.csv").touch()

    assert "orders.csv" in OFFERED[shell]("opskit enqueue ord", script(shell, capsys), environ, tmp_path)


def test_names_of_nodes_are_never_an_error_and_start_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPSKIT_HOME", str(tmp_path / "home"))
    assert main(["completion", "nodes"]) == 0
    assert not (tmp_path / "home").exists()

    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert main(["completion", "nodes"]) == 0
    assert capfd.readouterr().out == ""


def test_another_shell_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["completion", "tcsh"])

    assert "bash" in capsys.readouterr().err


def test_every_verb_is_found_under_its_own_name() -> None:
    assert list(VERBS) == verbs_of(build_parser())
    for name in VERBS:
        assert verbs_of(build_parser(name)) == [name]


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("verb", ["stats", "doctor", "watch", "requeue", "pause", "logs", "file", "info"])
def test_a_verb_loads_neither_pandas_nor_what_other_verbs_need(verb: str) -> None:
    code = f"import sys; from opskit.cli.main import build_parser; build_parser({verb!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)

    heavy = {
        "pandas",
        "numpy",
        "plotly",
        "sqlalchemy",
        "streamlit",
        "fastapi",
        "pygments",
        "markdown_it",
        "rich.progress",
        "shtab",
        "opskit.jupyter",
        "opskit.web",
        "opskit.worker",
        "opskit.local",
    }
    assert heavy.isdisjoint(done.stdout.split())
