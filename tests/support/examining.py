"""What the tests of the doctor share: an examination, and mends run as they stand."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shlex
from collections.abc import Iterator

from psycopg import sql

from opskit import doctor, migration
from opskit.cli.main import build_parser
from opskit.database import Database
from opskit.doctor import Finding, runbooks
from opskit.settings import Settings, env_name
from tests.support.nodes import ask
from tests.support.tables import application, opskit, run

TABLE = "dev_uploaded_files"

WHATEVER = "-c default_transaction_read_only=off -c synchronous_commit=local"
"""A session that can write whatever the server is set to."""


def examined(db: Database) -> list[Finding]:
    """What the doctor says; every mend can be typed as it stands."""
    missing = migration.missing(db)
    findings = doctor.examine(db, missing=missing, queues_new=bool(missing) or migration.queues_new(db))
    for finding in findings:
        assert finding.level in ("error", "warning")
        assert finding.what
        assert finding.why
        assert finding.mend
        assert runbooks.title(finding.condition)
    return findings


def the_one(db: Database, what: str) -> Finding:
    """The only finding, and it says *what*."""
    (finding,) = examined(db)
    assert re.search(what, finding.what), finding
    return finding


def parses(settings: Settings, finding: Finding) -> None:
    """Hold every line of a mend against what would read it: the command line, or PostgreSQL's own grammar."""
    for line in finding.mend.splitlines():
        words = shlex.split(line, comments=True)
        if line.startswith("opskit "):
            assert callable(build_parser().parse_args(words[1:]).verb)
        elif line.startswith("export "):
            assert words[1].partition("=")[0] in {env_name(name) for name in Settings.__dataclass_fields__}
        elif line.startswith(("sudo timedatectl ", "unset PGOPTIONS")):
            pass
        else:
            assert line.endswith(";"), line
            with application(settings, options=WHATEVER) as connection:
                # Reads the statement, whatever it is, and runs nothing.
                body = sql.Literal(f"BEGIN {line} END")
                run(connection, "CREATE FUNCTION pg_temp.probe() RETURNS void LANGUAGE plpgsql AS {}", body)


def mend(settings: Settings, finding: Finding) -> None:
    """Run a mend as it stands, as the owner of everything."""
    parses(settings, finding)
    with application(settings) as connection:
        for line in finding.mend.splitlines():
            if line.startswith("opskit "):
                done = opskit(settings, *shlex.split(line, comments=True)[1:])
                assert done.returncode == 0, done.stderr
            else:
                run(connection, line)


def finished(db: Database, count: int, started: str, *, server_id: str = "node-a") -> None:
    """Files that completed just now."""
    ask(
        db,
        f"INSERT INTO {TABLE} (processing_status, processing_server_id, processing_started_at, processing_completed_at)"
        f" SELECT 'completed', %s, {started}, now() FROM generate_series(1, {count})",
        server_id,
    )


@contextlib.contextmanager
def role(settings: Settings, name: str, options: str = "") -> Iterator[Settings]:
    """A role that may nothing, and the settings of a process that is it."""
    name = f"{name}_{settings.database_url.rpartition('_')[2]}" if settings.database_url else name
    with application(settings) as connection:
        run(connection, f"CREATE ROLE {name} LOGIN PASSWORD 'x' {options}")
        run(connection, f"GRANT USAGE ON SCHEMA public TO {name}")
        try:
            url = re.sub(r"//[^@]*@", f"//{name}:x@", settings.database_url or "")
            yield dataclasses.replace(settings, database_url=url)
        finally:
            run(connection, f"DROP OWNED BY {name}")
            run(connection, f"DROP ROLE {name}")
