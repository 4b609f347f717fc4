"""Whoever may create functions in the schema gets none of them called by a statement of ours."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator

import pytest

from opskit import doctor, migration, queue, stats
from opskit.database import Database
from opskit.errors import DatabaseError
from opskit.queue import claims
from opskit.web.dashboard import readings
from tests.support.nodes import add_many, ask
from tests.support.tables import boot

# What a statement of ours might call with an exact match for a column that is not text, or for what is polymorphic or
# variadic in pg_catalog: whatever matches more exactly there is preferred, wherever it stands in the search_path.
OVERLOADS = [
    "lower(varchar)",
    "upper(varchar)",
    "left(varchar,integer)",
    "right(varchar,integer)",
    "substr(varchar,integer,integer)",
    "substr(varchar,integer)",
    "substring(varchar,varchar)",
    "strpos(varchar,varchar)",
    "strpos(varchar,text)",
    "length(varchar)",
    "octet_length(varchar)",
    "starts_with(varchar,varchar)",
    "starts_with(varchar,text)",
    "translate(varchar,text,text)",
    "regexp_replace(varchar,text,text,text)",
    "regexp_match(varchar,text)",
    "md5(varchar)",
    "btrim(varchar)",
    "concat(text,text)",
    "concat(varchar,varchar)",
    "format(text,text)",
    "format(text,text,text)",
    "format(text,bigint,text)",
    "format(text,varchar,text)",
    "format(text,varchar)",
    "format(text,bigint,text,text)",
    "format(text,text,text,text)",
    "jsonb_build_object(text,text)",
    "jsonb_build_object(text,boolean)",
    "jsonb_build_object(text,boolean,text,text,text,text)",
    "unnest(text[])",
    "cardinality(text[])",
    "array_length(text[],integer)",
    "width_bucket(float8,float8[])",
    "to_jsonb(varchar)",
    "to_jsonb(text)",
    "quote_ident(varchar)",
    "array_position(text[],text)",
    "json_build_object(text,text)",
    "num_nulls(text)",
    "pg_typeof(text)",
    "array_to_string(text[],text)",
]
AGGREGATES = """
    max(varchar) min(varchar) count(varchar) count(text) count(bigint) string_agg(varchar,varchar) array_agg(text)
    array_agg(varchar)
"""


@pytest.fixture
def hijacked(db: Database) -> Iterator[Database]:
    """A table as a framework makes it, in a schema where a low role has overloads of what statements call."""
    files, role = db.settings.files, f"low_{uuid.uuid4().hex[:8]}"
    for column in ("original_filename", "storage_path"):
        ask(db, f"ALTER TABLE {files} ALTER COLUMN {column} TYPE varchar(255)")
    ask(db, f"CREATE ROLE {role}")
    ask(db, f"GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    with db.connection() as connection:
        connection.execute(f"SET ROLE {role}")
        for name in OVERLOADS:
            connection.execute(
                f"CREATE FUNCTION public.{name} RETURNS {_result(name)} LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION 'hijacked: {name}'; END $$"
            )
        for name in AGGREGATES.split():
            argument = name.partition("(")[2].rstrip(")")
            step = "hijack_" + "".join(c for c in name if c.isalnum())
            connection.execute(
                f"CREATE FUNCTION public.{step}(text, {argument}) RETURNS text LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION 'hijacked: {name}'; END $$"
            )
            connection.execute(f"CREATE AGGREGATE public.{name} (SFUNC = {step}, STYPE = text)")
        connection.execute("RESET ROLE")
    yield db
    ask(db, f"DROP OWNED BY {role} CASCADE")
    ask(db, f"DROP ROLE {role}")


def _result(name: str) -> str:
    if name.startswith(("strpos", "length", "octet", "cardinality", "array_length", "width", "array_position", "num_")):
        return "integer"
    if name.startswith("starts_with"):
        return "boolean"
    if name.startswith(("unnest",)):
        return "SETOF text"
    return "jsonb" if "json" in name else "text"


def test_no_reading_calls_a_function_of_theirs(hijacked: Database) -> None:
    add_many(hijacked, 3)
    ask(
        hijacked,
        f"UPDATE {hijacked.settings.files} SET processing_status = 'failed', processing_errors = 'x', "
        "storage_path = '/x', processing_completed_at = now() WHERE id = 3",
    )
    given: dict[str, dict[str, object]] = {
        "event": {"event_id": 1},
        "act": {"act": 1},
        "filenames": {"ids": ["1"]},
        "file": {"file_id": "1"},
        "own_columns": {"file_id": "1"},
        "logs": {"file_id": "1"},
        "node_said": {"server_id": "node-a", "row_limit": 20},
        "failure_trend": {"lane": ""},
        "found_files": {"text": "file", "status": "", "server_id": "", "limit": 10},
    }

    for statistic in stats.STATISTICS.values():
        assert statistic(hijacked) is not None
    assert stats.files(hijacked, search="FILE-1")["id"].tolist() == ["1"]
    for name in readings.STATISTICS.keys() - {"evidence", "failed_files"}:
        values = {"look": True} if name == "claims" else given.get(name, {})
        assert readings.STATISTICS[name](hijacked, **values) is not None
    assert stats.evidence(hijacked) is not None
    assert isinstance(doctor.examine(hijacked), list)
    assert migration.missing(hijacked) == []
    assert migration.plan(hijacked) == []
    assert queue.preview(hijacked) == []


def test_no_action_calls_a_function_of_theirs(hijacked: Database) -> None:
    files = hijacked.settings.files
    add_many(hijacked, 4)
    node = boot(hijacked, "node-a")

    first = claims.claim(hijacked, node)
    claims.complete(hijacked, id=first.row["id"], token=first.token, result={"rows": 1})
    second = claims.claim(hijacked, node)
    claims.fail(
        hijacked, id=second.row["id"], token=second.token, outcome="rejected", error="bad", max_failures=3,
        retry_seconds=0, actor="me",
    )  # fmt: skip
    third = claims.claim(hijacked, node)
    claims.release(hijacked, id=third.row["id"], token=third.token, reason="told to", actor="me")
    ask(
        hijacked,
        f"UPDATE {files} SET processing_status = 'processing', processing_server_id = 'ghost', "
        "processing_started_at = now() - interval '3 hours' WHERE id = 4",
    )
    assert len(queue.cleanup(hijacked, actor="me").ended) == 1
    cleaned = next(row["act"] for row in hijacked.run("acts", row_limit=9) if row["kind"] == "cleanup")
    assert len(queue.undo(hijacked, cleaned, actor="me").files) == 1
    assert len(queue.requeue(hijacked, failed=True, actor="me")) == 1
    assert queue.pause(hijacked, actor="me")
    assert queue.resume(hijacked, actor="me")
    queue.drain(hijacked, "node-a", actor="me")
    queue.prune(hijacked)
    for duplicate in (False, True):
        (uploaded,) = queue.upload(hijacked, [("a.txt", io.BytesIO(b"x"))], limit_bytes=100)
        assert (uploaded["duplicate_of"] is not None) == duplicate
    with pytest.raises(DatabaseError, match="is none of queued, processing, completed, failed"):
        ask(hijacked, f"UPDATE {files} SET processing_status = 'nonsense' WHERE id = 1")


def test_the_doctor_warns_of_a_schema_in_which_every_role_may_create(db: Database) -> None:
    ask(db, "GRANT CREATE ON SCHEMA public TO PUBLIC")

    (found,) = [finding for finding in doctor.examine(db) if "every role may create" in finding.what]
    ask(db, found.mend)

    assert (found.level, found.mend) == ("warning", "REVOKE CREATE ON SCHEMA public FROM PUBLIC;")
    assert not [finding for finding in doctor.examine(db) if "every role may create" in finding.what]
