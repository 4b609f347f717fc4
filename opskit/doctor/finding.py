"""What a check finds, and how it words it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from opskit.database import Database
from opskit.settings import Settings
from opskit.support import notebook_output


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        level: "error" when files are not processed or promises do not hold, else "warning".
        what: What was found.
        why: Why it matters.
        mend: The commands that mend it, one a line: SQL where it ends with a semicolon, else the shell's.
        check: The check that found it, such as "queue".
    """

    level: str
    what: str
    why: str
    mend: str
    check: str = ""

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return notebook_output.record(self.level, {"what": self.what, "why": self.why, "mend": self.mend})


class Findings(list[Finding]):
    """What was found; a list like any other."""

    def _repr_html_(self) -> str:
        """What a notebook shows: a table, its commands one a line."""
        return notebook_output.findings([asdict(finding) for finding in self])


Check = Callable[[Database], Iterator[Finding]]


def opskit(db: Database, words: str, *, env: str | None = None) -> str:
    """A command for the environment that was examined, whatever the shell's own is."""
    return command(db.settings, words, env=env)


def command(settings: Settings, words: str, *, env: str | None = None) -> str:
    """A command of the shell for an environment and a table, spelled alike in every door."""
    flags = f" --env {env or settings.env}" if env or settings.env == "production" else ""
    if settings.table != type(settings).__dataclass_fields__["table"].default:
        flags += f" --table {shlex.quote(settings.table)}"
    verb, _, rest = words.partition(" ")
    return f"opskit {verb}{flags} {rest}".rstrip()


def lines(*commands: str) -> str:
    """Several commands, one a line."""
    return "\n".join(commands)


def span(seconds: float) -> str:
    """A stretch of time in words."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and unit == "h"):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
