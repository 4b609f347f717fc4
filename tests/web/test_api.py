"""The API: keys that clients read, who may write, and what is said when something is wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from psycopg import sql
from starlette.applications import Starlette
from starlette.routing import Mount

from opskit import queue
from opskit.database import Database
from opskit.errors import DatabaseError, ForbiddenError, TokenNeededError
from opskit.queue import claims, nodes
from opskit.queue.identity import Boot
from opskit.queue.states import FileState
from opskit.settings import Settings
from opskit.web.api import schemas
from opskit.web.api.app import SharedDatabase, create_api
from opskit.web.api.probes import UNAVAILABLE, probe_routes
from opskit.web.authorization import Caller, writing_allowed
from tests.support.tables import boot

GETS = (
    "concurrency-stats", "server-info", "distribution", "longest-running", "nodes", "stale", "throughput", "failures",
    "node-work", "forecast", "timeline", "files", "events", "pauses", "doctor",
)  # fmt: skip
POSTS = ("cleanup-stale-locks", "requeue", "cancel", "expedite", "pause", "resume", "forget", "files")
BOOT = "00000000-0000-0000-0000-00000000000{}"
CLEANUP = "/api/processing/cleanup-stale-locks"


class Client:
    """Calls an application without a network, from whatever address, as `httpx` would."""

    def __init__(self, app: Starlette, client: str, host: str) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(client, 50000))
        self._url = f"http://{host}"

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=self._url) as client:
                return await client.request(method, path, **given)

        return asyncio.run(asked())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.request("POST", path, **given)


def served(
    database: Any, settings: Settings, client: str = "127.0.0.1", host: str = "127.0.0.1", **given: Any
) -> Client:
    """A client of the API, mounted as the page mounts it."""
    api = create_api(database, settings, **given)
    return Client(Starlette(routes=[Mount("/api", api), *probe_routes(api)]), client, host)


@pytest.fixture
def http(db: Database, settings: Settings) -> Client:
    """The API over a migrated database, called from this machine."""
    return served(db, settings)


@pytest.fixture
def nowhere(settings: Settings) -> Iterator[Client]:
    """The API over a database that does not answer."""
    url = "postgresql://somebody:Passw0rd@127.0.0.1:9/nowhere"
    shared = SharedDatabase(dataclasses.replace(settings, database_url=url), statement_seconds=0.2)
    yield served(shared, settings)
    shared.close()


def run(db: Database, statement: str, *values: object) -> list[dict[str, Any]]:
    tables = {name: sql.Identifier(db.names[name]) for name in ("files", "nodes", "events")}
    with db.connection() as connection:
        cursor = connection.execute(sql.SQL(statement).format(**tables), values or None)
        return cursor.fetchall() if cursor.description else []


def claimed_without_token(db: Database, server: str | None, minutes: float) -> None:
    """A claim as an older processor makes it."""
    run(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_server_id, processing_started_at)"
        " VALUES (%s, 'processing', %s, now() - %s * interval '1 min')",
        f"{minutes:g}.csv", server, minutes,
    )  # fmt: skip


def claimed_by_node(db: Database, name: str = "node-a") -> Boot:
    run(db, "INSERT INTO {files} (original_filename) VALUES ('held.csv')")
    boot = nodes.register(db, name, BOOT.format(1))
    assert boot is not None
    assert claims.claim(db, boot).outcome == "claimed"
    return boot


def same_time(text: str, moment: datetime) -> bool:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    return abs((datetime.fromisoformat(text) - moment).total_seconds()) < 0.002


# -- reading -------------------------------------------------------------------------------------


def test_concurrency_stats_have_the_keys_that_clients_read(db: Database, http: Client, settings: Settings) -> None:
    claimed_by_node(db)
    claimed_without_token(db, None, 3)
    run(db, "INSERT INTO {files} (original_filename) VALUES ('waits.csv')")

    answer = http.get("/api/processing/concurrency-stats").json()
    longest = answer.pop("longestProcessingFile")
    assert answer.pop("serverId")
    assert answer.pop("timestamp").endswith("Z")
    assert answer.pop("countedAt").endswith("Z")
    assert 0 <= answer.pop("oldestQueuedSeconds") < 60
    assert answer == {
        "totalFiles": 3,
        "processingByServer": {"(none yet)": 1, "node-a": 1},
        "staleProcessingFiles": 0,
        "environment": settings.env,
        "byStatus": {"queued": 1, "processing": 2, "completed": 0, "failed": 0},
        "byServer": {"(none yet)": {"processing": 1, "queued": 1}, "node-a": {"processing": 1}},
        "orphanedFiles": 0,
        "activeServers": 1,
        "waitingFiles": 0,
        "allPaused": False,
    }
    (row,) = run(db, "SELECT processing_started_at AS at FROM {files} WHERE processing_server_id IS NULL"
                     " AND processing_status = 'processing'")  # fmt: skip
    assert same_time(longest.pop("startedAt"), row["at"])
    assert 3 <= longest.pop("durationMinutes") < 4
    assert longest == {"filename": "3.csv", "serverId": None}


def test_the_longest_file_is_absent_when_nothing_is_processing(http: Client) -> None:
    answer = http.get("/api/processing/concurrency-stats").json()

    assert "longestProcessingFile" not in answer
    assert answer["oldestQueuedSeconds"] is None
    assert (answer["totalFiles"], answer["processingByServer"], answer["byServer"]) == (0, {}, {})


def test_server_info_tells_the_process_and_what_its_server_id_has_done(db: Database, settings: Settings) -> None:
    claimed_by_node(db)

    info = served(db, dataclasses.replace(settings, node_id="node-a")).get("/api/processing/server-info").json()
    assert set(info) == {
        "serverId", "shortServerId", "hostname", "platform", "architecture", "pythonVersion", "processId",
        "environment", "uptime", "memoryUsage", "version", "table", "stats",
    }  # fmt: skip
    assert info["serverId"] == "node-a"
    assert info["memoryUsage"]["rss"] > 0
    assert info["table"] == "dev_uploaded_files"
    assert info["stats"] == {"processing": 1, "completed": 0, "failed": 0}


def test_frames_become_records_with_camel_case_keys_and_null(db: Database, http: Client) -> None:
    claimed_without_token(db, None, 61)

    def keys(name: str) -> list[str]:
        (row,) = http.get(f"/api/processing/{name}").json()
        return list(row)

    assert keys("distribution") == ["processingServerId", "processingStatus", "fileCount"]
    assert keys("longest-running") == [
        "originalFilename", "processingServerId", "processingStartedAt", "minutesProcessing",
    ]  # fmt: skip
    (row,) = http.get("/api/processing/stale").json()
    assert (row["verdict"], row["wouldBecome"], row["processingServerId"]) == ("stale", "failed", None)
    assert row["secondsSinceHeartbeat"] is None
    assert row["processingStartedAt"].endswith("Z")


def test_reading_takes_parameters(db: Database, http: Client) -> None:
    claimed_by_node(db)
    queue.pause(db, "*", actor="me")

    assert http.get("/api/processing/stale").json() == []
    assert [row["verdict"] for row in http.get("/api/processing/stale?every=true").json()] == ["alive"]
    assert [row["kind"] for row in http.get("/api/processing/events?kind=boot").json()] == ["boot"]
    assert len(http.get("/api/processing/events?limit=1").json()) == 1
    assert http.get("/api/processing/throughput?sinceSeconds=60&bucketSeconds=10").json() == []
    (node,) = http.get("/api/processing/nodes").json()
    assert (node["state"], node["originalFilename"]) == ("paused", "held.csv")


def walked(http: Client, path: str, between: Callable[[], object] = lambda: None) -> list[str]:
    """The ids of all pages."""
    return [id for page in pages(http, path, between) for id in page]


def pages(http: Client, path: str, between: Callable[[], object] = lambda: None) -> list[list[str]]:
    """The ids of each page, as the Link headers lead from one to the next."""
    found, next = [], f"/api/processing/{path}"
    while next:
        answer = http.get(next)
        assert answer.status_code == 200, answer.text
        found.append([str(row["id"]) for row in answer.json()])
        next = answer.links.get("next", {}).get("url", "")
        between()
    return found


def test_files_come_in_pages_that_miss_nothing_and_repeat_nothing(db: Database, http: Client) -> None:
    # Many end in one instant, as a bulk UPDATE has it; some without saying when.
    run(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_completed_at, processing_queued_at) "
        "SELECT 'f' || n, (ARRAY['queued', 'completed', 'failed'])[n %% 3 + 1], "
        "CASE WHEN n %% 3 > 0 AND n %% 10 < 8 THEN at END, at "
        "FROM generate_series(1, %s) AS n, LATERAL (SELECT now() - n / 6 * interval '1 min' AS at) AS times",
        50,
    )
    whole = [row["id"] for row in http.get("/api/processing/files").json()]
    arrivals = iter(range(100))

    def arrive() -> None:
        run(db, "INSERT INTO {files} (original_filename) VALUES (%s)", f"new-{next(arrivals)}")

    found = pages(http, "files?limit=7", arrive)

    assert len(whole) == 50
    assert [len(page) for page in found] == [7] * 7 + [1]
    assert [id for page in found for id in page] == whole
    assert walked(http, "files?status=failed&limit=5") == walked(http, "files?status=failed")


def test_what_ended_without_a_time_hides_nothing_newer(db: Database, http: Client) -> None:
    run(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_completed_at) "
        "SELECT 'f', 'completed', CASE n WHEN 1 THEN now() END FROM generate_series(1, %s) AS n",
        30,
    )

    newest = http.get("/api/processing/files?limit=10").json()

    assert newest[0]["lastAt"] is not None
    assert {row["lastAt"] for row in newest[1:]} == {None}


def test_the_history_comes_in_pages_and_can_be_chosen(db: Database, http: Client) -> None:
    boot(db, "node-0")
    boot(db, "node-1")
    for n in range(8):
        queue.pause(db, f"node-{n % 2}", actor="ann")
        queue.resume(db, f"node-{n % 2}", actor="ann")
    whole = [str(row["id"]) for row in http.get("/api/processing/events").json()]

    assert len(whole) >= 16
    assert walked(http, "events?limit=5", lambda: queue.pause(db, "*", actor="ann")) == whole
    chosen = http.get("/api/processing/events?kind=pause&serverId=node-1&limit=2")
    assert [(row["kind"], row["serverId"]) for row in chosen.json()] == [("pause", "node-1")] * 2
    following = chosen.links["next"]["url"]
    assert following.startswith("/api/processing/events?kind=pause&serverId=node-1&limit=2&cursor=")
    assert len(http.get(following).json()) == 2


def test_one_file_is_read_by_its_id(db: Database, http: Client) -> None:
    claimed_by_node(db)
    (row,) = http.get("/api/processing/files?status=processing").json()

    file = http.get(f"/api/processing/files/{row['id']}").json()

    assert (file["originalFilename"], file["processingStatus"], file["processingResult"]) == (
        "held.csv", "processing", None,
    )  # fmt: skip
    assert re.fullmatch(r"[-\d]+T[\d:]+\.\d{3}Z", file["processingStartedAt"])
    for id in ("999999", "no-number", "9" * 40):
        answer = http.get(f"/api/processing/files/{id}")
        assert (answer.status_code, answer.json()) == (404, {"error": f"there is no file '{id}'"})


def test_a_wrong_method_is_told_all_that_the_path_takes(http: Client) -> None:
    assert http.request("DELETE", "/api/processing/files").headers["allow"] == "GET, POST"
    assert http.request("DELETE", "/api/processing/nodes").headers["allow"] == "GET"
    assert http.request("DELETE", "/api/healthz").headers["allow"] == "GET, HEAD"


def test_the_choices_of_the_document_are_those_of_the_database(http: Client) -> None:
    assert get_args(schemas.Status) == ("", *FileState, "none")
    answer = http.get("/api/processing/events?kind=pauses")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("kind: Input should be ")


def test_the_doctor_is_asked_over_http_too(db: Database, http: Client) -> None:
    run(db, "INSERT INTO {files} (original_filename) VALUES ('waits.csv')")

    findings = http.get("/api/processing/doctor").json()
    assert {"level", "what", "why", "mend", "check", "condition", "concerns"} == set(findings[0])


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


# -- uploads -------------------------------------------------------------------------------------


def test_an_upload_is_stored_under_a_name_of_our_own_and_queued(db: Database, http: Client, settings: Settings) -> None:
    sent = [("files", ("../../etc/Länder 1.CSV", b"a,b\n")), ("files", ("second.tar.gz", b"xyz"))]

    response = http.post("/api/processing/files", files=sent)
    assert response.status_code == 201
    answer = response.json()
    sums = [hashlib.sha256(content).hexdigest() for content in (b"a,b\n", b"xyz")]
    assert answer == {
        "success": True,
        "queuedFiles": 2,
        "duplicateFiles": 0,
        "message": "Queued 2 files",
        "files": [
            {"id": "1", "filename": "Länder 1.CSV", "fileSize": 4, "sha256": sums[0], "duplicateOf": None},
            {"id": "2", "filename": "second.tar.gz", "fileSize": 3, "sha256": sums[1], "duplicateOf": None},
        ],
    }
    rows = run(db, "SELECT original_filename AS name, storage_path AS path, file_size AS size,"
                   " processing_status AS status FROM {files} ORDER BY id")  # fmt: skip
    assert [(row["name"], row["size"], row["status"]) for row in rows] == [
        ("Länder 1.CSV", 4, "queued"), ("second.tar.gz", 3, "queued"),
    ]  # fmt: skip
    first, second = (Path(row["path"]) for row in rows)
    root = Path(settings.storage_root)
    assert first == root / sums[0][:2] / f"{sums[0]}.csv"
    assert second == root / sums[1][:2] / f"{sums[1]}.tar.gz"
    assert (first.read_bytes(), second.read_bytes()) == (b"a,b\n", b"xyz")


def test_an_upload_that_cannot_be_queued_leaves_no_file_behind(db: Database, http: Client, settings: Settings) -> None:
    run(db, "ALTER TABLE {files} ADD COLUMN file_type text NOT NULL")

    refused = http.post("/api/processing/files", files={"files": ("a.csv", b"x")})
    assert refused.status_code == 400
    assert "file_type needs a value" in refused.json()["error"]
    assert not Path(settings.storage_root).exists()
    taken = http.post("/api/processing/files", files={"files": ("a.csv", b"x")}, data={"set": ["file_type=merchant"]})
    assert taken.status_code == 201
    assert run(db, "SELECT file_type FROM {files}") == [{"file_type": "merchant"}]


def test_an_upload_may_go_to_an_fsspec_url(db: Database, settings: Settings, tmp_path: Path) -> None:
    with Database(dataclasses.replace(settings, storage=f"file://{tmp_path}")) as remote:
        http = served(remote, remote.settings)
        assert http.post("/api/processing/files", files={"files": ("a.csv", b"x")}).status_code == 201

    (row,) = run(db, "SELECT original_filename AS name, storage_path AS path FROM {files}")
    assert row["name"] == "a.csv"
    assert Path(row["path"].removeprefix("file://")).read_bytes() == b"x"


def test_an_upload_too_large_is_refused_whether_it_says_so_or_not(db: Database, settings: Settings) -> None:
    http = served(db, settings, upload_limit_bytes=1000)
    kind = {"content-type": "multipart/form-data; boundary=b"}
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"x" * 2000 + b"\r\n--b--\r\n"

    async def in_pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 100):
            yield body[at : at + 100]

    for content in (body, in_pieces()):
        response = http.post("/api/processing/files", content=content, headers=kind)
        assert response.status_code == 413
        assert response.json() == {"error": "the request is too large; at most 1000 bytes are taken"}
    assert not Path(settings.storage_root).exists()


def test_a_duplicate_is_told_and_queued_only_when_asked_for_again(db: Database, http: Client) -> None:
    def send(**form: str) -> tuple[int, dict[str, Any]]:
        response = http.post("/api/processing/files", files={"files": ("a.csv", b"x")}, data=form)
        return response.status_code, response.json()

    send()
    status, answer = send()
    assert (status, answer["queuedFiles"], answer["duplicateFiles"]) == (200, 0, 1)
    assert answer["message"] == "Queued 0 files; 1 was there already"
    assert [(file["id"], file["duplicateOf"]) for file in answer["files"]] == [(None, "1")]

    status, answer = send(again="true")
    assert (status, answer["queuedFiles"], answer["duplicateFiles"]) == (201, 1, 1)
    assert [file["duplicateOf"] for file in answer["files"]] == ["1"]
    assert len(run(db, "SELECT id FROM {files}")) == 2


# -- who may write -------------------------------------------------------------------------------

HERE = {"client_host": "127.0.0.1", "host_header": "127.0.0.1:8501"}
AWAY = {"client_host": "192.0.2.7", "host_header": "ops.example.com"}


def may(token: str | None, **call: Any) -> bool:
    try:
        writing_allowed(Settings.load({}, api_token=token), Caller(**{"origin": None, "authorization": None} | call))
    except ForbiddenError:
        return False
    return True


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        (HERE, True),
        (HERE | {"client_host": "::1", "host_header": "[::1]:8501"}, True),
        (HERE | {"client_host": "::ffff:127.0.0.1", "host_header": "localhost"}, True),
        (HERE | {"client_host": "127.9.9.9", "host_header": "LOCALHOST:8501"}, True),
        (HERE | {"origin": "http://127.0.0.1:8501"}, True),
        (AWAY, False),
        (HERE | {"host_header": "evil.example:8501"}, False),
        (HERE | {"host_header": "127.0.0.1.evil.example"}, False),
        (HERE | {"host_header": "localhost:99999"}, False),
        (HERE | {"host_header": None}, False),
        (HERE | {"host_header": ""}, False),
        (HERE | {"client_host": "192.0.2.7"}, False),
        (HERE | {"client_host": None}, False),
        (HERE | {"client_host": "localhost"}, False),
        (HERE | {"origin": "http://evil.example"}, False),
        (HERE | {"origin": "http://127.0.0.1:3000"}, False),
        (HERE | {"origin": "null"}, False),
        (HERE | {"origin": ""}, False),
        (HERE | {"forwarded": True}, False),
        (AWAY | {"authorization": "Bearer "}, False),
    ],
)
def test_without_a_token_only_this_machine_may_write(call: dict[str, Any], allowed: bool) -> None:
    assert may(None, **call) is allowed


@pytest.mark.parametrize(
    ("token", "call", "allowed"),
    [
        ("secret", AWAY | {"authorization": "Bearer secret"}, True),
        ("secret", AWAY | {"authorization": "bearer  secret "}, True),
        ("secret", AWAY | {"authorization": "Bearer secret", "forwarded": True}, True),
        ("secret", AWAY | {"authorization": "Bearer secret", "origin": "https://ops.example.com"}, True),
        ("secret", AWAY | {"authorization": "Bearer secret", "origin": "https://evil.example"}, False),
        ("secret", AWAY | {"authorization": "Bearer wrong"}, False),
        ("secret", AWAY | {"authorization": "Bearer secre"}, False),
        ("secret", AWAY | {"authorization": "Basic secret"}, False),
        ("secret", AWAY | {"authorization": "secret"}, False),
        ("secret", AWAY | {"authorization": ""}, False),
        ("secret", AWAY, False),
        ("secret", HERE, False),
        ("schlüssel", AWAY | {"authorization": "Bearer schlüssel"}, True),
        ("schlüssel", AWAY | {"authorization": "Bearer " + "schlüssel".encode().decode("latin-1")}, True),
        ("schlüssel", AWAY | {"authorization": "Bearer schl\N{SNOWMAN}ssel"}, False),
        ("鍵", AWAY | {"authorization": "Bearer ?"}, False),
    ],
)
def test_with_a_token_whoever_shows_it_may_write(token: str, call: dict[str, Any], allowed: bool) -> None:
    assert may(token, **call) is allowed


def test_a_wrong_token_has_an_error_of_its_own() -> None:
    with pytest.raises(TokenNeededError, match="OPSKIT_API_TOKEN"):
        writing_allowed(Settings.load({}, api_token="x"), Caller(**HERE, origin=None, authorization=None))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", POSTS)
def test_every_post_is_guarded(db: Database, settings: Settings, path: str) -> None:
    away = served(db, settings, client="192.0.2.7", host="ops.example.com")
    token = served(db, dataclasses.replace(settings, api_token="secret"))
    reader = served(db, dataclasses.replace(settings, read_only=True, api_token="secret"))

    for http, status in ((away, 403), (token, 401), (reader, 403)):
        response = http.post(f"/api/processing/{path}", headers={"authorization": "Bearer wrong"})
        assert response.status_code == status
        assert list(response.json()) == ["error"]
        assert http.get("/api/processing/distribution").status_code == 200
    assert token.post(f"/api/processing/{path}").headers["www-authenticate"] == "Bearer"
    assert run(db, "SELECT id FROM {events} WHERE kind <> 'migrate'") == []


def test_the_token_opens_from_everywhere(db: Database, settings: Settings) -> None:
    away = served(db, dataclasses.replace(settings, api_token="schlüssel"), client="192.0.2.7", host="ops.example.com")

    response = away.post(CLEANUP, headers={b"authorization": "Bearer schlüssel".encode()})
    assert response.status_code == 200


def test_a_foreign_page_and_a_proxied_call_are_refused(http: Client) -> None:
    for header in ({"origin": "https://evil.example"}, {"x-forwarded-for": "192.0.2.7"}):
        assert http.post(CLEANUP, headers=header).status_code == 403


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*(f"/api/processing/{name}" for name in GETS), "/api/metrics", "/metrics"])
def test_a_database_that_is_away_is_a_503_and_never_zeros(nowhere: Client, path: str) -> None:
    response = nowhere.get(path)

    assert response.status_code == 503
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith("the database cannot be reached")
    assert "Passw0rd" not in response.text


def test_writing_to_a_database_that_is_away_is_a_503_too(nowhere: Client, settings: Settings) -> None:
    assert nowhere.post(CLEANUP).status_code == 503
    assert nowhere.post("/api/processing/files", files={"files": ("a.csv", b"x")}).status_code == 503
    assert not Path(settings.storage_root).exists() or not list(Path(settings.storage_root).iterdir())


@pytest.mark.parametrize("url", ["postgresql://me:Passw0rd@[::/x", "postgresql://me:Passw0rd@host:port/x"])
def test_a_url_that_cannot_be_used_is_a_503_without_its_password(settings: Settings, url: str) -> None:
    shared = SharedDatabase(dataclasses.replace(settings, database_url=url), statement_seconds=0.2)

    for path in ("/api/processing/distribution", "/healthz"):
        response = served(shared, settings).get(path)
        assert response.status_code == 503
        assert "Passw0rd" not in response.text
    shared.close()


def test_tables_that_are_not_migrated_are_a_503_with_the_command(settings: Settings) -> None:
    with Database(settings) as database:
        response = served(database, settings).get("/api/processing/concurrency-stats")

    assert response.status_code == 503
    assert response.json()["error"].endswith("run: opskit migrate")


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/api/nonsense", 404, "there is nothing at /api/nonsense"),
        ("GET", "/api/processing/nodes/", 404, "there is nothing at /api/processing/nodes/"),
        ("GET", CLEANUP, 405, f"GET is not allowed at {CLEANUP}"),
        ("POST", "/api/processing/nodes", 405, "POST is not allowed at /api/processing/nodes"),
        ("DELETE", "/api/processing/files", 405, "DELETE is not allowed at /api/processing/files"),
        ("PUT", "/healthz", 405, "PUT is not allowed at /healthz"),
        ("POST", "/metrics", 405, "POST is not allowed at /metrics"),
    ],
)
def test_wrong_paths_and_methods_are_json(http: Client, method: str, path: str, status: int, sentence: str) -> None:
    response = http.request(method, path)

    assert response.status_code == status
    assert response.json() == {"error": sentence}
    assert (status == 405) == ("allow" in response.headers)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("requeue", None, 422),
        ("requeue", {}, 400),
        ("requeue", {"ids": []}, 400),
        ("requeue", {"ids": ["1"], "failed": True}, 400),
        ("requeue", {"ids": ["1"], "error": "x"}, 400),
        ("requeue", {"ids": ["not a number"]}, 400),
        ("requeue", {"ids": ["1"], "nonsense": 1}, 422),
        ("requeue", {"failed": True, "error": "nul \0"}, 422),
        ("pause", {"serverID": "node-a"}, 422),
        ("pause", {"serverId": ""}, 422),
        ("pause", [], 422),
        ("cleanup-stale-locks", {"claims": "1/x"}, 422),
        ("cleanup-stale-locks", "text", 422),
        ("files", {}, 422),
    ],
)
def test_a_bad_body_is_refused_in_one_sentence(http: Client, path: str, body: Any, status: int) -> None:
    response = (
        http.post(f"/api/processing/{path}", json=body) if body is not None else http.post(f"/api/processing/{path}")
    )

    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert "\n" not in response.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        rb'{"failed": true, "error": "\ud800"}',
        rb'{"failed": true, "error": "\u0000"}',
        b'{"failed": true, "error": "\xff"}',
        rb'{"ids": ["\ud800"]}',
        b'{"ids": [%s]}' % (b"9" * 30),
        b'{"ids": [%s]}' % (b"9" * 6000),
        b'{"ids": [1e400]}',
        b'{"ids": [NaN]}',
        b'{"ids": [true]}',
        b'{"ids": ["1"], "limit": %s}' % (b"9" * 60),
        b'{"ids": %s}' % (b"[" * 100_000),
        b'{"ids": ["1\\"},{"]}',
    ],
    ids=lambda body: repr(body[:30]),
)
def test_hostile_json_is_refused_in_one_sentence(http: Client, body: bytes) -> None:
    response = http.post("/api/processing/requeue", content=body, headers={"content-type": "application/json"})

    assert response.status_code in (400, 422)
    assert list(response.json()) == ["error"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"serverId": "a", "serverId": "*"}',
        b'{"reason": "a", "serverId": "b", "reason": "a"}',
        b'{"serverId": "a", "server\\u0049d": "*"}',
        b'\n\t{ "serverId":"a" ,\r\n"serverId":"a"}',
        '{"serverId": "a", "serverId": "*"}'.encode("utf-16"),
        b'[{"x": {"serverId": 1, "serverId": 2}}]',
    ],
)
@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/x+json", "text/plain"]
)
def test_a_body_that_names_a_key_twice_is_refused(db: Database, http: Client, body: bytes, kind: str) -> None:
    for path in ("pause", "resume", "requeue", "cleanup-stale-locks"):
        response = http.post(f"/api/processing/{path}", content=body, headers={"content-type": kind})
        assert response.status_code == 400
        assert "twice" in response.json()["error"]
    assert db.run("pauses") == []


def test_a_body_in_pieces_is_read_once_and_whole(db: Database, http: Client) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"serverId": "no', b'de-a", "rea', b'son": "x"}'):
            yield piece

    boot(db, "node-a")
    answer = http.post("/api/processing/pause", content=pieces(), headers={"content-type": "application/json"})

    assert answer.json()["serverId"] == "node-a"
    too_large = http.post("/api/processing/pause", content=b" " * (1 << 20) + b"{}")
    assert too_large.status_code == 413


def test_a_part_with_an_extended_name_alone_is_refused_in_one_sentence(http: Client) -> None:
    body = (
        b"--x\r\nContent-Disposition: form-data; name=\"files\"; filename*=UTF-8''a.csv\r\n"
        b"Content-Type: text/csv\r\n\r\n1,2\r\n--x--\r\n"
    )

    refused = http.post(
        "/api/processing/files", content=body, headers={"content-type": "multipart/form-data; boundary=x"}
    )

    assert refused.status_code == 422
    assert refused.json()["error"].startswith("files.0: this part is no file: its Content-Disposition needs filename=")


def test_wrong_tokens_are_slowed_down_and_the_right_one_is_not(db: Database, settings: Settings) -> None:
    app = Starlette(routes=[Mount("/api", create_api(db, dataclasses.replace(settings, api_token="secret token")))])

    async def raced() -> tuple[list[float], float]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            began = time.monotonic()

            async def ask(token: str) -> float:
                answer = await client.post(
                    "/api/processing/resume", json={}, headers={"authorization": f"Bearer {token}"}
                )
                assert answer.status_code == (200 if token == "secret token" else 401)
                return time.monotonic() - began

            guesses = [asyncio.create_task(ask(f"guess {n}")) for n in range(20)]
            await asyncio.sleep(0)
            right = await ask("secret token")
            return sorted(await asyncio.gather(*guesses)), right

    wrong, right = asyncio.run(raced())
    assert wrong[0] >= 0.1
    assert wrong[-1] >= 2.0  # twenty of them: ten a second
    assert right < wrong[-1]


def test_an_upload_says_what_is_wrong_with_its_form(http: Client, settings: Settings) -> None:
    def send(**form: Any) -> tuple[int, str]:
        response = http.post("/api/processing/files", files={"files": ("a.csv", b"x")}, data=form)
        return response.status_code, response.json()["error"]

    assert send(set=["=x"]) == (400, "set is '=x'; it must look like name=value, for a column of the application")
    assert send(set=["nonsense=1"]) == (400, "dev_uploaded_files has no column 'nonsense'")
    assert send(set=["processing_status=failed"])[1].startswith("processing_status is set by opskit itself")
    assert send(set=["uploaded_at=a\0b"])[0] == send(set=["uploaded_at=soon"])[0] == 400
    assert send(again="perhaps")[0] == 422
    assert http.post("/api/processing/pause", headers={"content-length": "9" * 6000}).status_code == 413
    assert not [path for path in Path(settings.storage_root).rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "query",
    [
        "longest-running?limit=0",
        "longest-running?limit=99999999999999999999",
        "failures?limit=many",
        "stale?every=perhaps",
        "throughput?sinceSeconds=0",
        "throughput?sinceSeconds=inf",
        "throughput?sinceSeconds=31536000&bucketSeconds=1",
        "events?fileId=%00",
        "events?cursor=-1",
        "events?cursor=99999999999999999999",
        "files?status=done",
        "files?cursor=yesterday",
        "files?cursor=2026-13-45T00:00:00Z/1",
        "files?cursor=2026-11-25T00:00:00Z",
    ],
)
def test_a_bad_parameter_is_refused_in_one_sentence(http: Client, query: str) -> None:
    response = http.get(f"/api/processing/{query}")

    assert response.status_code in (400, 422)
    assert list(response.json()) == ["error"]


def test_a_json_body_of_another_sites_form_is_not_obeyed(db: Database, http: Client) -> None:
    body = json.dumps({"reason": "x"}).encode()

    assert http.post("/api/processing/pause", content=body, headers={"content-type": "text/plain"}).status_code == 422
    assert http.get("/api/processing/pauses").json() == []


def test_a_surprise_is_a_500_without_its_text(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Database:
        raise RuntimeError("secret detail")

    with caplog.at_level(logging.ERROR):
        response = served(broken, settings).get("/api/processing/nodes")
    assert response.status_code == 500
    assert response.json() == {"error": "something went wrong here; the log of this process says what"}
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(("state", "status"), [("57014", 503), ("25006", 503), ("42501", 500), ("23505", 400)])
def test_what_postgresql_refuses_is_one_sentence(settings: Settings, state: str, status: int) -> None:
    def refusing() -> Database:
        error = DatabaseError("PostgreSQL says: no")
        error.sqlstate = state
        raise error

    response = served(refusing, settings).get("/api/processing/nodes")
    assert (response.status_code, response.json()) == (status, {"error": "PostgreSQL says: no"})


# -- probes and documents ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/api/healthz"])
def test_healthz_is_well_only_when_reachable_and_migrated(
    db: Database, http: Client, nowhere: Client, path: str
) -> None:
    well = http.get(path)
    assert (well.status_code, well.json()["status"], well.json()["environment"]) == (200, "ok", "development")
    assert nowhere.get(path).status_code == 503
    assert nowhere.get(path).json()["status"] == "unavailable"

    run(db, "DROP TABLE {events}")
    ill = http.get(path)
    assert (ill.status_code, ill.json()["status"]) == (503, "not migrated")
    assert "opskit migrate" in ill.json()["error"]


def test_healthz_tells_where_the_database_is_to_the_token_alone(settings: Settings) -> None:
    url = "postgresql://secret_role:Passw0rd@127.0.0.1:9/nowhere"
    for token, shown, told in (
        (None, "", False), (None, "Bearer ", False), (None, "Bearer None", False), ("secret token", "", False),
        ("secret token", "Bearer secret toke", False), ("secret token", "Bearer secret token", True),
    ):  # fmt: skip
        shared = SharedDatabase(dataclasses.replace(settings, database_url=url, api_token=token), statement_seconds=0.2)
        http = served(shared, dataclasses.replace(settings, api_token=token))
        ill = http.request("GET", "/healthz", headers={"authorization": shown})
        assert (ill.status_code, ill.json()["status"]) == (503, "unavailable")
        assert (ill.json()["error"] != UNAVAILABLE) is told
        assert "Passw0rd" not in ill.text
        shared.close()


@pytest.mark.parametrize("path", ["/metrics", "/api/metrics"])
def test_metrics_are_read_at_scrape_time_and_every_series_is_always_there(
    db: Database, http: Client, path: str
) -> None:
    def scraped() -> dict[str, float]:
        response = http.get(path)
        assert response.headers["content-type"].startswith("text/plain")
        lines = [line for line in response.text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    before = scraped()
    claimed_without_token(db, "old-server", 120)
    run(db, "INSERT INTO {files} (original_filename, processing_queued_at) VALUES ('a', now() - interval '90 s')")
    after = scraped()

    assert before.keys() == after.keys()
    assert set(before.values()) == {0.0}
    label = 'environment="development"'
    assert after[f'opskit_files{{{label},state="queued"}}'] == 1
    assert after[f'opskit_files{{{label},state="processing"}}'] == 1
    assert 90 <= after[f"opskit_oldest_queued_seconds{{{label}}}"] < 150
    assert after[f"opskit_stale_files{{{label}}}"] == 1
    assert {
        f"opskit_{name}{{{label}}}" for name in ("active_servers", "orphaned_files", "waiting_files")
    } < after.keys()


def test_the_documents_stand_under_the_mount(http: Client) -> None:
    document = http.get("/api/openapi.json").json()

    assert document["servers"] == [{"url": "/api"}]
    paths = {
        f"/processing/{name}"
        for name in (*GETS, *POSTS, "files/{id}", "files/{id}/logs", "lanes", "concurrency-stats/stream")
    } | {
        "/healthz",
        "/metrics",
    }
    assert paths == set(document["paths"])


def test_the_documentation_is_one_page_that_loads_nothing(http: Client) -> None:
    response = http.get("/api/docs")
    page = response.text

    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert 'href="http://127.0.0.1/api/openapi.json"' in page
    for path in (*(f"/processing/{name}" for name in (*GETS, *POSTS)), "/healthz", "/metrics"):
        assert f"<code>{path}</code>" in page
    assert "curl -s http://127.0.0.1/api/processing/distribution" in page
    assert "-X POST http://127.0.0.1/api/processing/requeue" in page
    assert "processingServerId" in page
    assert not re.search(r"<script|<link|<img|@import|url\(", page)


def test_the_documentation_shows_a_hosts_name_as_text(db: Database, settings: Settings) -> None:
    response = served(db, settings).request("GET", "/api/docs", headers={"host": "<script>alert(1)</script>"})

    assert "<script>" not in response.text


def test_the_shared_database_is_opened_late_and_once(settings: Settings) -> None:
    shared = SharedDatabase(settings)
    first = shared()
    assert shared() is first
    shared.close()
    second = shared()
    assert second is not first
    shared.close()
