"""The roles of sql/roles.sql: each can do its work, and no more."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from field import Node, ask, counts, field, queue_many, status, until
from psycopg import sql
from psycopg.conninfo import make_conninfo

from opskit import embedded, intake, nodes, reaper, schema, stats
from opskit.database import Database
from opskit.errors import DatabaseError
from opskit.settings import Settings

As = Callable[[str], Settings]


@pytest.fixture
def become(db: Database) -> Iterator[As]:
    """Settings that log in as somebody who has one of the roles, and nothing else."""
    program = embedded.find_binaries(Settings.load(pg_bin=os.environ.get("OPSKIT_PG_BIN"))) / "psql"
    own = uuid.uuid4().hex[:8]
    roles = {kind: f"{kind}_{own}" for kind in ("node", "operator", "viewer")}
    given = [word for kind, name in roles.items() for word in ("-v", f"{kind}={name}")]
    for _ in range(2):
        subprocess.run(
            [program, db.settings.database_url, "-v", "env=development", *given, "-f", schema_file("roles")], check=True
        )
    with db.connection() as connection:
        for name in roles.values():
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret' IN ROLE {}").format(
                    sql.Identifier(f"{name}_user"), sql.Identifier(name)
                )
            )
    yield lambda kind: dataclasses.replace(
        db.settings,
        database_url=make_conninfo(db.settings.database_url or "", user=f"{roles[kind]}_user", password="secret"),
    )
    with db.connection() as connection:
        for name in roles.values():
            for role in (f"{name}_user", name):
                connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def schema_file(name: str) -> Path:
    return Path(__file__).parent.parent / "sql" / f"{name}.sql"


def test_a_node_does_all_its_work_with_the_nodes_role(db: Database, become: As, tmp_path: Path) -> None:
    queue_many(db, 20)
    ask(
        db,
        f"UPDATE {db.settings.files} SET processing_status = 'processing', processing_server_id = 'ghost', "
        "processing_started_at = now() - interval '2 hours' WHERE id = 1",
    )
    ask(db, f"UPDATE {db.settings.files} SET original_filename = 'once-2' WHERE id = 2")

    with Database(become("node"), pooled=False) as own, field(own, tmp_path) as start:
        node: Node = start("node-a", act="by_name")
        until(lambda: counts(db) == {"completed": 19, "failed": 1})
        node.kill(signal.SIGTERM)
        code = node.end()
        nodes.prune(own)

    assert code == 0, node.log
    assert "permission denied" not in node.log
    # The stale claim was reaped by the node, the killed child's attempt written down.
    assert counts(db) == {"completed": 19, "failed": 1}
    assert status(db, "1") == "failed"
    assert len(db.run("events", file_id="2", kind="attempt", row_limit=5)) == 1


def test_a_node_can_neither_insert_nor_delete_files_nor_resume_what_is_paused(db: Database, become: As) -> None:
    nodes.pause(db, actor="test")

    with Database(become("node"), pooled=False) as own:
        for statement in (
            f"INSERT INTO {db.settings.files} (original_filename) VALUES ('x')",
            f"DELETE FROM {db.settings.files}",
            f"DELETE FROM {db.names['pauses']}",
            f"DROP TABLE {db.settings.files}",
        ):
            with pytest.raises(DatabaseError, match=r"permission denied|must be owner"):
                ask(own, statement)


def test_an_operator_steers_with_the_operators_role(db: Database, become: As, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    queue_many(db, 2)
    ask(
        db,
        f"UPDATE {db.settings.files} SET processing_status = 'processing', processing_server_id = 'ghost', "
        "processing_started_at = now() - interval '2 hours' WHERE id = 1",
    )

    with Database(become("operator"), pooled=False) as own:
        assert intake.enqueue(own, [tmp_path / "a.txt"]) == 1
        assert len(reaper.preview(own)) == 1
        assert len(reaper.cleanup(own, actor="me").ended) == 1
        assert len(intake.requeue(own, failed=True, actor="me")) == 1
        assert nodes.pause(own, actor="me")
        assert nodes.resume(own, actor="me")
        with pytest.raises(DatabaseError, match="permission denied"):
            ask(own, f"DELETE FROM {db.settings.files}")


def test_an_operator_enqueues_where_a_sequence_of_the_applications_makes_the_ids(
    db: Database, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")
    files = db.settings.files
    ask(db, f"ALTER TABLE {files} ALTER COLUMN id DROP IDENTITY")
    ask(db, 'CREATE SEQUENCE "own ids"')
    ask(db, f"ALTER TABLE {files} ALTER COLUMN id SET DEFAULT nextval('\"own ids\"')")
    become: As = request.getfixturevalue("become")

    with Database(become("operator"), pooled=False) as own:
        assert intake.enqueue(own, [tmp_path / "a.txt"]) == 1


def test_a_viewer_sees_every_statistic_and_changes_nothing(db: Database, become: As) -> None:
    queue_many(db, 3)

    with Database(become("viewer")) as own:
        for name, statistic in stats.STATISTICS.items():
            assert statistic(own) is not None, name
        assert reaper.preview(own, look=False) == []
        assert schema.check(own)
        for action in (
            lambda: reaper.cleanup(own, actor="me"),
            lambda: nodes.pause(own, actor="me"),
            lambda: intake.requeue(own, failed=True, actor="me"),
        ):
            with pytest.raises(DatabaseError, match="permission denied"):
                action()
