"""Acting over the API: cleanup, requeue, pause and resume."""

from __future__ import annotations

from opskit.database import Database
from opskit.queue import nodes
from tests.support.api import Client, claimed_by_node, claimed_without_token, run, same_time
from tests.support.tables import boot

CLEANUP = "/api/processing/cleanup-stale-locks"


# -- cleanup -------------------------------------------------------------------------------------


def test_a_two_hours_old_claim_of_an_unknown_server_is_failed_and_one_of_59_minutes_left(
    db: Database, http: Client
) -> None:
    claimed_without_token(db, "old-server", 120)
    claimed_without_token(db, "older-server", 59)
    (before,) = run(
        db, "SELECT id::text AS id, processing_started_at AS at FROM {files} WHERE original_filename = '120.csv'"
    )

    answer = http.post(CLEANUP).json()
    (file,) = answer.pop("files")
    assert answer == {
        "success": True,
        "cleanedFiles": 1,
        "message": "Cleaned up 1 stale processing locks",
        "pending": [],
        "skipped": [],
    }
    assert same_time(file.pop("startedAt"), before["at"])
    reason = "Processing timeout: no progress for 120 minutes on old-server"
    assert file == {
        "id": before["id"], "filename": "120.csv", "serverId": "old-server", "outcome": "failed", "reason": reason,
    }  # fmt: skip
    rows = run(db, "SELECT original_filename, processing_status, processing_errors FROM {files} ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [("120.csv", "failed", reason), ("59.csv", "processing", None)]
    (event,) = run(db, "SELECT kind, outcome, next_status, reason, actor FROM {events} WHERE kind <> 'migrate'")
    assert tuple(event.values()) == ("attempt", "timeout", "failed", reason, "api 127.0.0.1")


def test_cleanup_with_nothing_to_do_says_so(http: Client) -> None:
    assert http.post(CLEANUP).json() == {
        "success": True,
        "cleanedFiles": 0,
        "message": "No stale processing locks found",
        "files": [],
        "pending": [],
        "skipped": [],
    }


def test_a_dead_nodes_claim_is_pending_first_and_ended_after_a_second_look(db: Database, http: Client) -> None:
    claimed_by_node(db)
    run(db, "UPDATE {nodes} SET lease_until = now() - interval '1 min'")

    first = http.post(CLEANUP).json()
    assert (first["cleanedFiles"], first["files"]) == (0, [])
    (pending,) = first["pending"]
    assert (pending["filename"], pending["serverId"], pending["outcome"]) == ("held.csv", "node-a", "pending")
    assert set(pending) == {"id", "filename", "serverId", "startedAt", "outcome", "reason"}

    run(db, "UPDATE {nodes} SET looked_at = looked_at - interval '3 s'")
    second = http.post(CLEANUP).json()
    (ended,) = second["files"]
    assert (ended["id"], ended["outcome"], second["pending"]) == (pending["id"], "queued", [])
    assert ended["reason"].startswith("Orphaned: node-a has been silent")


def test_a_live_node_with_progress_is_left_alone(db: Database, http: Client) -> None:
    boot = claimed_by_node(db)
    (row,) = run(
        db, "UPDATE {files} SET processing_started_at = now() - interval '3 h' RETURNING processing_token AS token"
    )
    nodes.heartbeat(db, boot, token=str(row["token"]), done=5, total=10, progress_age_seconds=1)

    # Nobody beats for it: its lease outlasts the test.
    run(db, "UPDATE {nodes} SET lease_until = now() + interval '10 min'")

    for _ in range(2):
        answer = http.post(CLEANUP).json()
        assert (answer["cleanedFiles"], answer["pending"]) == (0, [])
        run(db, "UPDATE {nodes} SET looked_at = looked_at - interval '3 s', stale_at = stale_at - interval '3 s'")
    assert run(db, "SELECT processing_status AS status FROM {files}") == [{"status": "processing"}]


def test_cleanup_can_be_narrowed_to_a_claim_or_a_server(db: Database, http: Client) -> None:
    claimed_without_token(db, "x", 120)
    claimed_without_token(db, "y", 180)
    claim = next(row["claim"] for row in http.get("/api/processing/stale").json() if row["processingServerId"] == "x")

    one = http.post(CLEANUP, json={"claims": [claim, "99/"], "reason": "seen by hand"}).json()
    assert ([file["serverId"] for file in one["files"]], one["skipped"]) == (["x"], ["99/"])
    assert http.post(CLEANUP, json={"serverId": "y"}).json()["cleanedFiles"] == 1


# -- other writing -------------------------------------------------------------------------------


def test_requeue_takes_ids_as_numbers_or_text(db: Database, http: Client) -> None:
    run(db, "INSERT INTO {files} (original_filename, processing_status) VALUES ('a', 'failed'), ('b', 'failed')")

    answer = http.post("/api/processing/requeue", json={"ids": [1, "2"], "reason": "parser mended"}).json()
    assert (answer["requeuedFiles"], answer["message"]) == (2, "Queued 2 files again")
    assert answer["files"][0] == {"id": "1", "filename": "a", "serverId": None, "startedAt": None, "was": "failed"}
    (event, _) = run(db, "SELECT kind, actor, reason FROM {events} WHERE kind <> 'migrate'")
    assert tuple(event.values()) == ("requeue", "api 127.0.0.1", "parser mended")


def test_requeue_takes_all_failed_files_of_one_error(db: Database, http: Client) -> None:
    run(
        db, "INSERT INTO {files} (processing_status, processing_errors) VALUES ('failed', 'line 3'), ('failed', 'disk')"
    )

    answer = http.post("/api/processing/requeue", json={"failed": True, "error": "line #"}).json()
    assert [file["id"] for file in answer["files"]] == ["1"]


def test_pause_and_resume_say_whether_anything_changed(db: Database, http: Client) -> None:
    boot(db, "node-a")
    boot(db, "node-b")

    def ask(verb: str, **body: str) -> tuple[bool, str]:
        answer = (
            http.post(f"/api/processing/{verb}", json=body).json()
            if body
            else http.post(f"/api/processing/{verb}").json()
        )
        assert answer["success"]
        return answer["changed"], answer["message"]

    assert ask("pause") == (True, "every node is paused")
    assert ask("pause") == (False, "every node was paused already")
    assert ask("pause", serverId="node-a", reason="kernel") == (True, "node-a is paused")
    assert [row["scope"] for row in http.get("/api/processing/pauses").json()] == ["*", "node-a"]
    assert ask("resume") == (True, "every node is resumed; node-a stays paused by name")
    assert ask("resume", serverId="node-b") == (False, "node-b was not paused")
