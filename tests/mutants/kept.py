"""The kept list of mutants: what is changed in which file, and which tests must notice.

One TOML file a subject in `list/`. In it, for each file that is changed, its tests (the likely killer first), and pairs
of lines as in a diff: the text as it is, and what it becomes. A blank line ends a change; a line of # says why.

    [["sql/release.sql"]]
    tests = ["tests/queue/test_promises.py"]
    mutants = '''
    - AND processing_token = :'token'::uuid
    + AND true
    '''

The text must be found exactly once in its file, so that the list cannot rot unseen.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).parent / "list"


class MisfitError(ValueError):
    """An entry of the list that does not fit the file which it changes."""


@dataclass(frozen=True)
class Mutant:
    """A change of one file.

    Attributes:
        file: The file, from the root of the tree.
        was: The text that is replaced.
        becomes: What it is replaced by.
        tests: The test files, or tests, that must notice it; the likely killer first.
        leaving_out: Which of these are not run, as in pytest's `-k`: those that take long and notice nothing more.
        fresh: Whether the tests need a server and a migration of their own: the change is in what makes them.
        hangs: Whether running out of time counts as killed: the change makes the tests wait for ever.
    """

    file: str
    was: str
    becomes: str
    tests: tuple[str, ...]
    leaving_out: str = ""
    fresh: bool = False
    hangs: bool = False

    def applied(self, text: str) -> str:
        """The text of the file with the change.

        Raises:
            MisfitError: The text to replace is not there, or is there more than once.
        """
        found = text.count(self.was)
        if found != 1:
            raise MisfitError(f"{self.file} holds this text {found} times, not once: {self.was}")
        return text.replace(self.was, self.becomes)

    @property
    def key(self) -> str:
        """What tells it from all other mutants."""
        return hashlib.sha256("\0".join((self.file, self.was, self.becomes)).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        """What changes, without what stays around it."""
        start = _alike(self.was, self.becomes)
        end = _alike(self.was[start:][::-1], self.becomes[start:][::-1])
        while start and re.match(r"[\w:]", self.was[start - 1]):
            start -= 1
        while end and re.match(r"\w", self.was[-end]):
            end -= 1
        was, becomes = (text[start : len(text) - end] for text in (self.was, self.becomes))
        return f"{self.file}: {_short(was)} -> {_short(becomes) or 'nothing'}"


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _short(text: str) -> str:
    """A text in one line of at most 60 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


def kept(folder: Path = LIST) -> list[Mutant]:
    """All mutants of the list, in its order."""
    return [mutant for path in sorted(folder.glob("*.toml")) for mutant in _of(path)]


def _of(path: Path) -> Iterator[Mutant]:
    for file, groups in tomllib.loads(path.read_text()).items():
        for group in groups:
            for was, becomes in _pairs(group.pop("mutants")):
                yield Mutant(
                    file,
                    was,
                    becomes,
                    tuple(group["tests"]),
                    **{name: group[name] for name in group.keys() - {"tests"}},
                )


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """What becomes what: one change a block."""
    for block in re.split(r"\n(?:[ \t]*\n)+", text.strip("\n")):
        lines = [line for line in block.split("\n") if not line.startswith("#")]
        signs = "".join(line[:1] or " " for line in lines)
        if not re.fullmatch(r"-+\++", signs):
            raise MisfitError(f"a change of the list is not lines of - and then lines of +:\n{block}")
        was, becomes = ("\n".join(line[2:] for line in lines if line[:1] == sign) for sign in "-+")
        yield was, becomes
