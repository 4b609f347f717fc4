"""What a run has found so far, by commit, so that a run which was ended goes on where it stood."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.mutants.kept import ROOT, Mutant

FOLDER = ROOT / ".mutants"


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        mutant: What changes, in a line.
        key: Which mutant it is.
        end: killed, survived, broken or late.
        seconds: How long its tests ran.
        killer: The test that failed; '' when none did.
    """

    mutant: str
    key: str
    end: str
    seconds: float
    killer: str = ""


def read(path: Path) -> list[dict[str, Any]]:
    """The verdicts of one file; a last line that was cut off is none."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def commit() -> str:
    """The commit of the tree; '' when the tree is not as it was committed."""
    git = ["git", "-C", str(ROOT)]
    try:
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return "" if changed.strip() else head.strip()


class Journal:
    """The verdicts on the mutants of one commit; without a commit none is kept."""

    def __init__(self, of: str, folder: Path = FOLDER) -> None:
        self._path = folder / f"{of}.jsonl" if of else None
        self._lock = threading.Lock()
        if self._path is not None and self._path.exists():
            text = self._path.read_text(encoding="utf-8")
            self._path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")

    def killed(self, mutants: list[Mutant]) -> dict[str, Verdict]:
        """The verdicts on those that were killed already, by key; any other may have been an accident."""
        if self._path is None or not self._path.exists():
            return {}
        wanted = {mutant.key for mutant in mutants}
        verdicts = [Verdict(**one) for one in read(self._path)]
        return {verdict.key: verdict for verdict in verdicts if verdict.end == "killed" and verdict.key in wanted}

    def note(self, verdict: Verdict) -> None:
        """Write a verdict down."""
        if self._path is None:
            return
        self._path.parent.mkdir(exist_ok=True)
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(verdict), ensure_ascii=False) + "\n")
