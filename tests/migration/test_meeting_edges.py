"""What is there of a table and in which state, and who works on it without a token."""

from __future__ import annotations

import pytest

from opskit.database import Database
from tests.support.nodes import ask
from tests.support.tables import files, put

T = "dev_uploaded_files"
FAULTS = {
    "nothing": ("SELECT 1", {}),
    "a guard that is off": ("ALTER TABLE {files} DISABLE TRIGGER {guard}", {"guard": "switched off"}),
    "a guard for replicas": ("ALTER TABLE {files} ENABLE REPLICA TRIGGER {guard_new}", {"guard_new": "switched off"}),
    "a guard for all": ("ALTER TABLE {files} ENABLE ALWAYS TRIGGER {guard}", {}),
    "a wake-up that is off": ("ALTER TABLE {files} DISABLE TRIGGER {wake}", {"wake": "left out"}),
    "a wake-up for replicas": ("ALTER TABLE {files} ENABLE REPLICA TRIGGER {wake}", {"wake": "switched off"}),
    "an index": ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{queue_index}'::regclass",
                 {"queue_index": "not valid"}),
    "what the application has": (
        "ALTER TABLE {files} ADD CONSTRAINT big CHECK (file_size > 0); "
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW\\; END'; "
        "CREATE TRIGGER f BEFORE UPDATE ON {files} FOR EACH ROW EXECUTE FUNCTION f()",
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_what_is_there_of_ours_is_told_with_its_fault(db: Database, what: str) -> None:
    texts, faults = FAULTS[what]
    ask(db, f"ALTER TABLE {T} ADD CONSTRAINT {db.names['state_check']} CHECK (id > 0)")
    before = {one["name"] for one in db.run("migrate/there")}
    for text in texts.replace("\\;", "\0").split("; "):
        ask(db, text.replace("\0", ";").format(**db.names))

    found = {one["name"]: one["fault"] for one in db.run("migrate/there")}

    assert found.keys() == before >= {T, db.names["guard"], db.names["wake"], db.names["state_check"]}
    assert {name: fault for name, fault in found.items() if fault} == {
        db.names[key]: fault for key, fault in faults.items()
    }


def test_a_file_that_was_queued_again_is_ended_by_nobody(db: Database) -> None:
    ended, again = files(db, "ended", "again")
    put(db, ended, "processing_status = 'failed', processing_completed_at = now(), processing_server_id = 'old'")
    put(db, again, "processing_completed_at = now(), processing_server_id = 'old'")

    (found,) = db.run("migrate/older")

    assert (found["server"], found["holding"], found["ended"]) == ("old", 0, 1)
