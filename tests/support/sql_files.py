"""The SQL files as the tests read them: headers, variables, psql lines."""

from __future__ import annotations

import re

from opskit.database import queries

FILES = sorted(path.stem for path in queries.FOLDER.glob("[!_]*.sql"))


# -- the files -------------------------------------------------------------------------------


def header(name: str) -> list[list[str]]:
    """A file's header comment, as paragraphs of lines."""
    lines = []
    for line in queries.text(name).splitlines():
        if not line.startswith("--"):
            break
        lines.append(line[2:].removeprefix(" "))
    return [paragraph.splitlines() for paragraph in "\n".join(lines).split("\n\n")]


def psql_line(name: str) -> str | None:
    """The command that a header shows, on one line."""
    lines = [line for paragraph in header(name) for line in paragraph]
    at = next((n for n, line in enumerate(lines) if line.startswith('psql "$DATABASE_URL"')), None)
    if at is None:
        return None
    command = lines[at]
    while command.endswith("\\"):
        at += 1
        command = command[:-1] + lines[at].strip()
    return command


def body(name: str) -> str:
    """What a file does, without comments."""
    return re.sub(r"--[^\n]*", "", queries.text(name))


READ_ONLY = [
    name for name in FILES
    if psql_line(name)
    and r"\ir _lane.sql" not in queries.text(name)  # where there are lanes: tests/queue/test_lanes.py
    and not re.search(r"\b(INSERT INTO|UPDATE :|DELETE FROM|ALTER TABLE|GRANT |migrate/)", body(name))
]  # fmt: skip
