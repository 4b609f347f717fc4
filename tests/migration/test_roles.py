"""The roles of sql/roles.sql: each can do its work, and no more."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from opskit import migration, queue, stats
from opskit.database import Database, programs
from opskit.errors import DatabaseError
from opskit.queue import nodes
from opskit.settings import Settings
from tests.support.nodes import Node, add_many, ask, counts, record, running_nodes, status, until, violations

As = Callable[[str], Settings]


@pytest.fixture
def become(db: Database) -> Iterator[As]:
    """Settings that log in as somebody who has one of the roles, and nothing else."""
    own = uuid.uuid4().hex[:8]
    roles = {kind: f"{kind}_{own}" for kind in ("node", "operator", "viewer")}
    for _ in range(2):
        give(db, roles)
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


def give(db: Database, roles: dict[str, str]) -> None:
    """Run sql/roles.sql."""
    program = programs.find_binaries(Settings.load(pg_bin=os.environ.get("OPSKIT_PG_BIN"))) / "psql"
    given = [word for kind, name in roles.items() for word in ("-v", f"{kind}={name}")]
    subprocess.run(
        [program, db.settings.database_url or "", "-v", "env=development", *given, "-f", schema_file("roles")],
        check=True,
    )


def schema_file(name: str) -> Path:
    return Path(__file__).parents[2] / "sql" / f"{name}.sql"


def test_a_node_does_all_its_work_with_the_nodes_role(db: Database, become: As, tmp_path: Path) -> None:
    add_many(db, 20)
    ask(
        db,
        f"UPDATE {db.settings.files} SET processing_status = 'processing', processing_server_id = 'ghost', "
        "processing_started_at = now() - interval '2 hours' WHERE id = 1",
    )
    ask(db, f"UPDATE {db.settings.files} SET original_filename = 'once-2' WHERE id = 2")

    with Database(become("node"), pooled=False) as own, running_nodes(own, tmp_path) as start:
        node: Node = start("node-a", act="by_name")
        until(lambda: counts(db) == {"completed": 19, "failed": 1})
        node.kill(signal.SIGTERM)
        code = node.end()

    assert code == 0, node.log
    assert "permission denied" not in node.log
    # The stale claim was reaped by the node, the killed child's attempt written down.
    assert counts(db) == {"completed": 19, "failed": 1}
    assert status(db, "1") == "failed"
    assert len(db.run("events", file_id="2", kind="attempt", row_limit=5)) == 1


FORBIDDEN = {
    "insert a file": "INSERT INTO {files} (original_filename) VALUES ('x')",
    "delete a file": "DELETE FROM {files}",
    "empty the files": "TRUNCATE {files}",
    "drop the files": "DROP TABLE {files}",
    "change a column's type": "ALTER TABLE {files} ALTER COLUMN file_size TYPE text",
    "disable the guard": "ALTER TABLE {files} DISABLE TRIGGER ALL",
    "change where a file lies": "UPDATE {files} SET storage_path = '/etc/shadow'",
    "change a file's name": "UPDATE {files} SET original_filename = 'x'",
    "change a file's id": "UPDATE {files} SET id = id + 1",
    "take a file for deleted": "UPDATE {files} SET deleted = true",
    "change a name beside our columns": "UPDATE {files} SET processing_result = '{{}}', original_filename = 'x'",
    "lock the files": "LOCK TABLE {files} IN ACCESS EXCLUSIVE MODE",
    "delete the history": "DELETE FROM {events}",
    "change the history": "UPDATE {events} SET actor = 'ann@ops.example.com'",
    "empty the history": "TRUNCATE {events}",
    "delete the nodes": "DELETE FROM {nodes}",
    "lift a pause": "DELETE FROM {pauses}",
    "read the server's files": "SELECT pg_read_file('/etc/passwd')",
}
OF_AN_OPERATOR = {"insert a file", "delete the history", "delete the nodes", "lift a pause"}


@pytest.mark.parametrize("kind", ["node", "operator", "viewer"])
def test_a_role_is_refused_what_its_work_does_not_need(db: Database, become: As, kind: str) -> None:
    add_many(db, 1)
    queue.pause(db, actor="test")

    with Database(become(kind), pooled=False) as own, own.connection() as connection:
        for act, statement in FORBIDDEN.items():
            with connection.transaction(force_rollback=True):
                if kind == "operator" and act in OF_AN_OPERATOR:
                    connection.execute(statement.format(**db.names).encode())
                    continue
                with pytest.raises(psycopg.Error) as refused, connection.transaction():
                    connection.execute(statement.format(**db.names).encode())
                assert refused.value.sqlstate == "42501", f"{kind}: {act}"


def test_what_an_earlier_version_gave_too_much_is_taken_back(db: Database, become: As) -> None:
    add_many(db, 1)
    user = str(conninfo_to_dict(become("node").database_url or "")["user"])
    role = user.removesuffix("_user")
    own = role.removeprefix("node_")
    ask(db, f"GRANT SELECT, UPDATE ON {db.settings.files} TO {role}")
    ask(db, f"GRANT DELETE ON {db.names['events']}, {db.names['nodes']} TO {role}")

    give(db, {kind: f"{kind}_{own}" for kind in ("node", "operator", "viewer")})

    with Database(become("node"), pooled=False) as theirs:
        for act in ("change where a file lies", "delete the history", "delete the nodes"):
            with pytest.raises(DatabaseError, match="permission denied"):
                ask(theirs, FORBIDDEN[act].format(**db.names))
        assert not nodes.may_prune(theirs)
    with Database(become("operator"), pooled=False) as theirs:
        assert queue.prune(theirs) == {"nodes": 0, "events": 0, "logs": 0}


@pytest.mark.slow
def test_nodes_of_that_role_keep_every_promise_while_they_are_killed_and_frozen(
    db: Database, become: As, tmp_path: Path
) -> None:
    record(db)
    own = become("node")
    ask(db, f"GRANT INSERT ON effects, transitions TO {conninfo_to_dict(own.database_url or '')['user']}")
    add_many(db, 90)

    with Database(own, pooled=False) as theirs, running_nodes(theirs, tmp_path) as start:
        started = [start(f"node-{n}", act="effect", ACT_SECONDS="0.1", OPSKIT_MAX_FAILURES="9") for n in range(3)]
        for n in (0, 1):
            until(lambda n=n: counts(db).get("completed", 0) > 15 * (n + 1))
            started[n].kill(signal.SIGKILL)
        child = until(started[2].child)
        os.kill(child, signal.SIGKILL)
        started.append(start("node-0", act="effect", OPSKIT_MAX_FAILURES="9"))
        started[2].kill(signal.SIGSTOP)
        until(lambda: counts(db) == {"completed": 90})
        started[2].kill(signal.SIGCONT)
        for node in started[2:]:
            node.kill(signal.SIGTERM)
            node.end()

    assert violations(db) == []
    assert not [line for node in started for line in node.log.splitlines() if "permission denied" in line]


def test_an_operator_steers_with_the_operators_role(db: Database, become: As, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    add_many(db, 2)
    ask(
        db,
        f"UPDATE {db.settings.files} SET processing_status = 'processing', processing_server_id = 'ghost', "
        "processing_started_at = now() - interval '2 hours' WHERE id = 1",
    )

    with Database(become("operator"), pooled=False) as own:
        assert queue.enqueue(own, [tmp_path / "a.txt"]) == 1
        assert len(queue.preview(own)) == 1
        assert len(queue.cleanup(own, actor="me").ended) == 1
        assert len(queue.requeue(own, failed=True, actor="me")) == 1
        assert queue.pause(own, actor="me")
        assert queue.resume(own, actor="me")
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
        assert queue.enqueue(own, [tmp_path / "a.txt"]) == 1


def test_a_viewer_sees_every_statistic_and_changes_nothing(db: Database, become: As) -> None:
    add_many(db, 3)

    with Database(become("viewer")) as own:
        for name, statistic in stats.STATISTICS.items():
            assert statistic(own) is not None, name
        assert queue.preview(own, look=False) == []
        assert migration.check(own)
        for action in (
            lambda: queue.cleanup(own, actor="me"),
            lambda: queue.pause(own, actor="me"),
            lambda: queue.requeue(own, failed=True, actor="me"),
        ):
            with pytest.raises(DatabaseError, match="permission denied"):
                action()
