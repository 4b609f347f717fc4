"""The API: the same verbs over HTTP, as JSON, to be mounted under /api beside the page.

The handlers only translate: parameters in, one call of a verb, camelCase keys out. Those that touch the
database are plain functions, which FastAPI runs in its thread pool. An error is one sentence under "error";
a database that is away is a 503, never zeros.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from opskit._version import __version__
from opskit.database import Database
from opskit.queue.server_id import server_id
from opskit.settings import Settings
from opskit.web.api import metrics, probes, reads, writes
from opskit.web.api.events import StatsStream
from opskit.web.api.guard import guard

STATEMENT_SECONDS = 5.0
"""Longest time a statement of page or API may take [s]: nobody waits longer for a page."""
UPLOAD_BYTES = 1 << 30
"""Most bytes of one upload, unless `create_api` is told otherwise."""


def create_api(
    database: Database | Callable[[], Database], settings: Settings, *, upload_limit_bytes: int = UPLOAD_BYTES
) -> FastAPI:
    """Make the API, to be mounted under /api with Starlette's Mount.

    Args:
        database: An open database, or what opens one and keeps it.
            It is asked at every request, and never closed here.
        settings: Environment, server ID, token and storage.
        upload_limit_bytes: Most bytes of one upload. Defaults to 1 GiB.

    Raises:
        SettingError: NODE_ID cannot be used.
    """
    server_id(settings)
    api = FastAPI(
        title="opskit",
        summary="Process uploaded files on many nodes, each file once: see and steer it.",
        version=__version__,
        redirect_slashes=False,
        docs_url=None,  # our own: FastAPI's comes from a CDN, which closed networks do not reach
        redoc_url=None,
    )
    api.state.database = (lambda: database) if isinstance(database, Database) else database
    api.state.settings = settings
    api.state.upload_limit_bytes = upload_limit_bytes
    api.state.tally = metrics.Tally()
    api.state.pulse = StatsStream(lambda: reads.current(api.state.database(), settings))
    guard(api, settings, upload_limit_bytes=upload_limit_bytes)
    # Shared by all applications of a process: to include a router makes each of its routes again, which costs 60 ms.
    for router in (reads.router, reads.statistics(), writes.router, probes.router):
        api.router.routes.extend(router.routes)
    return api
