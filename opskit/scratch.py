"""A scratch schema on the operator's own database, dropped at the end whatever happened: where prove and bench work."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import IO, Any

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from opskit.database import Database
from opskit.errors import SettingError
from opskit.settings import Settings


@contextlib.contextmanager
def scratch(settings: Settings, verb: str, **changes: Any) -> Iterator[Settings]:
    """Settings that lead to a schema of our own.

    Args:
        settings: Whose database. Its tables are not touched.
        verb: Who works there: part of the schema's name, and of the errors' sentences.
        changes: What else is different there.

    Raises:
        SettingError: The database is reached through a pooler.
        DatabaseError: This role may not create a schema.
    """
    name = f"opskit_{verb}_{uuid.uuid4().hex[:10]}"
    with Database(settings, pooled=False) as db:
        with db.connection() as connection:
            if db.pooler:
                raise SettingError(f"DATABASE_URL leads through a pooler; give {verb} a direct connection")
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        url = db.settings.database_url or ""
        given = str(conninfo_to_dict(url).get("options") or "")
        own = make_conninfo(url, options=f"{given} -csearch_path={name}".strip(), application_name=name)
        try:
            yield dataclasses.replace(
                settings, database_url=own, env="development", table=verb, quarantine_after=0, **changes
            )
        finally:
            with db.connection() as connection:
                connection.execute("SET client_min_messages = warning")
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def fill(db: Database, count: int) -> None:
    """Queue so many files that are nowhere."""
    with db.connection() as connection:
        connection.execute(
            sql.SQL("INSERT INTO {} (original_filename) SELECT 'file-' || n FROM generate_series(1, {}) AS n").format(
                sql.Identifier(db.settings.files), sql.Literal(count)
            )
        )


def start_node(db: Database, name: str, log: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """A real node on the scratch schema, which ends with this process."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "opskit.worker", "--parent", str(os.getpid())],
        env={**os.environ, **db.settings.environ(), "NODE_ID": name},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        process_group=0,
    )
