"""The API as tests call it: without a network, from whatever address."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Any

import httpx
from psycopg import sql
from starlette.applications import Starlette
from starlette.routing import Mount

from opskit.database import Database
from opskit.queue import claims, nodes
from opskit.queue.server_id import Boot
from opskit.settings import Settings
from opskit.web.api.app import create_api
from opskit.web.api.probes import probe_routes

BOOT = "00000000-0000-0000-0000-00000000000{}"

GETS = (
    "concurrency-stats", "server-info", "distribution", "longest-running", "nodes", "stale", "throughput", "failures",
    "node-work", "forecast", "timeline", "files", "events", "pauses", "doctor", "trends", "marks", "acts",
)  # fmt: skip


POSTS = ("cleanup-stale-locks", "requeue", "cancel", "expedite", "pause", "resume", "forget", "undo", "files")


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
