"""Health, metrics and the documents of the API."""

from __future__ import annotations

import dataclasses
import re

import pytest

from opskit.database import Database
from opskit.settings import Settings
from opskit.web.api.probes import UNAVAILABLE
from tests.support.api import GETS, POSTS, Client, claimed_without_token, run, served
from tests.support.shared_database import SharedDatabase

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
        for name in (*GETS, *POSTS, "files/{id}", "files/{id}/logs", "lanes", "lane-work", "concurrency-stats/stream")
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
