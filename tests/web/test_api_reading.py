"""Reading over the API: keys that clients read, pages, parameters."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import get_args

from opskit import queue
from opskit.database import Database
from opskit.queue.states import FileState
from opskit.settings import Settings
from opskit.web.api import requests
from tests.support.api import Client, claimed_by_node, claimed_without_token, run, same_time, served
from tests.support.tables import boot

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
    assert get_args(requests.Status) == ("", *FileState, "none")
    answer = http.get("/api/processing/events?kind=pauses")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("kind: Input should be ")


def test_the_doctor_is_asked_over_http_too(db: Database, http: Client) -> None:
    run(db, "INSERT INTO {files} (original_filename) VALUES ('waits.csv')")

    findings = http.get("/api/processing/doctor").json()
    assert {"level", "what", "why", "mend", "check", "condition", "concerns"} == set(findings[0])
