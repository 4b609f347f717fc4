"""The API: the same verbs over HTTP, as JSON, to be mounted under /api beside the page.

The handlers only translate: parameters in, one call of a verb, camelCase keys out. Those that touch the
database are plain functions, which FastAPI runs in its thread pool. An error is one sentence under "error";
a database that is away is a 503, never zeros.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, FastAPI, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic.alias_generators import to_camel
from starlette.routing import BaseRoute, Route

from opskit import acts, apidocs, bodies, doctor, metrics, schema, stats
from opskit._version import __version__
from opskit.access import token_fits
from opskit.bodies import READING_ERRORS, Kind, Status, Text, described, rows
from opskit.calls import Db, Record, Set, database
from opskit.database import Database
from opskit.errors import DatabaseError, OpskitError
from opskit.gate import guard
from opskit.server_id import server_id, server_info
from opskit.settings import Settings
from opskit.stream import EVERY_SECONDS, Pulse

STATEMENT_SECONDS = 5.0
"""Longest time a statement of page or API may take [s]: nobody waits longer for a page."""
PATIENCE_SECONDS = 5.0
"""How long a call waits for the first count of what has ended; later ones get the last one at once [s]."""
UPLOAD_BYTES = 1 << 30
"""Most bytes of one upload, unless `create_api` is told otherwise."""
NO_SERVER = "(none yet)"
UNAVAILABLE = "the database cannot be reached; the page, and this call with the token, say why"
NOT_MIGRATED = "the tables are not migrated, run: opskit migrate"


class SharedDatabase:
    """One database for a whole process, opened when it is first called for.

    Args:
        settings: Which database.
        statement_seconds: Longest time a statement may take [s]. Defaults to 5.
    """

    def __init__(self, settings: Settings, *, statement_seconds: float = STATEMENT_SECONDS) -> None:
        self._settings, self._seconds = settings, statement_seconds
        self._lock = threading.Lock()
        self._database: Database | None = None

    def __call__(self) -> Database:
        with self._lock:
            if self._database is None:
                self._database = Database(self._settings, statement_seconds=self._seconds)
            return self._database

    def close(self) -> None:
        """Close it; the next call opens it again."""
        with self._lock:
            database, self._database = self._database, None
        if database is not None:
            database.close()


def create_api(
    database: Database | Callable[[], Database], settings: Settings, *, upload_limit_bytes: int = UPLOAD_BYTES
) -> FastAPI:
    """The API as an application, to be mounted under /api: `Mount("/api", create_api(…))`.

    Args:
        database: An open database, or what opens one and keeps it, such as `SharedDatabase(settings)`.
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
        generate_unique_id_function=lambda route: route.name,
    )
    api.state.database = (lambda: database) if isinstance(database, Database) else database
    api.state.settings = settings
    api.state.upload_limit_bytes = upload_limit_bytes
    api.state.tally = metrics.Tally()
    api.state.pulse = Pulse(lambda: _moment(api.state.database(), settings))
    guard(api, settings, upload_limit_bytes=upload_limit_bytes)
    for router in (_reads, acts.router, _probes):
        api.include_router(router)
    return api


def probe_routes(api: FastAPI) -> list[BaseRoute]:
    """/healthz and /metrics as routes beside the mounted API; each answers other methods with 405, too."""
    return [Route(path, endpoint=api) for path in ("/healthz", "/metrics")]


Limit = Annotated[int, Query(ge=1, le=10_000, description="Most rows.")]
PageLimit = Annotated[int, Query(ge=1, le=10_000, description="Most rows of a page.")]
STATUS = "Only this state; none: rows that have no status yet."
CURSOR = "Where to go on: what the Link header of the page before says."

# -- reading -------------------------------------------------------------------------------------

_reads = APIRouter(prefix="/processing", tags=["look"], responses=READING_ERRORS)


@_reads.get("/concurrency-stats", summary="The numbers of the moment", responses=described(bodies.Concurrency))
def concurrency_stats(db: Db, settings: Set) -> Record:
    return _moment(db, settings)


@_reads.get(
    "/concurrency-stats/stream",
    summary="The same again and again, as Server-Sent Events",
    description=f"Every {EVERY_SECONDS:g} s; while the database is away an event of the type unavailable.",
    response_class=EventSourceResponse,
)
async def concurrency_stream(request: Request) -> AsyncIterator[ServerSentEvent]:
    async for event in request.app.state.pulse.listen():
        yield event


def _moment(db: Database, settings: Settings) -> Record:
    (now,) = stats.records(stats.concurrency(db, patience_seconds=PATIENCE_SECONDS))
    by_server: dict[str, dict[str, int]] = {}
    spread = stats.counted(stats.distribution(db, patience_seconds=PATIENCE_SECONDS))
    for row in stats.records(spread):
        by_server.setdefault(row["processing_server_id"] or NO_SERVER, {})[row["processing_status"]] = row["file_count"]
    by_status = {state: sum(counts.get(state, 0) for counts in by_server.values()) for state in schema.STATES}
    oldest = stats.records(stats.longest_running(db, limit=1))
    answer = {
        "totalFiles": sum(by_status.values()),
        "processingByServer": {name: row["processing"] for name, row in by_server.items() if "processing" in row},
        "staleProcessingFiles": now["stale_files"],
        "serverId": server_id(settings),
        "timestamp": now["as_of"],
        "environment": settings.env,
        "byStatus": by_status,
        "byServer": by_server,
        "oldestQueuedSeconds": now["oldest_queued_seconds"],
        "orphanedFiles": now["orphaned_files"],
        "activeServers": now["active_servers"],
        "waitingFiles": now["waiting_files"],
        "allPaused": now["all_paused"],
        "countedAt": stats.iso(stats.counted_at(spread)),
    }
    if now["breaker"]:
        answer["breaker"] = now["breaker"]
    if oldest:
        answer["longestProcessingFile"] = _longest(oldest[0])
    return answer


def _longest(row: Record) -> Record:
    minutes = row["minutes_processing"]
    return {
        "filename": row["original_filename"],
        "serverId": row["processing_server_id"],
        "startedAt": row["processing_started_at"],
        "durationMinutes": None if minutes is None else round(minutes, 2),
    }


@_reads.get(
    "/server-info",
    summary="What this process is, and what its server ID has done",
    responses=described(bodies.ServerInfo),
)
def server_information(db: Db, settings: Set) -> Record:
    info = server_info(settings)
    return info | {"stats": stats.server_counts(db, info["serverId"], patience_seconds=PATIENCE_SECONDS)}


@_reads.get("/distribution", summary="Files per server and state", responses=rows(stats.DISTRIBUTION))
def distribution(db: Db) -> list[Record]:
    return _camel(stats.records(stats.counted(stats.distribution(db, patience_seconds=PATIENCE_SECONDS))))


@_reads.get(
    "/longest-running", summary="The files in processing, oldest claim first", responses=rows(stats.LONGEST_RUNNING)
)
def longest_running(db: Db, limit: Limit = 10) -> list[Record]:
    return _camel(stats.records(stats.longest_running(db, limit=limit)))


@_reads.get("/nodes", summary="The nodes: who is there, what each does, how far it is", responses=rows(stats.NODES))
def all_nodes(db: Db) -> list[Record]:
    return _camel(stats.records(stats.nodes(db)))


@_reads.get(
    "/stale", summary="Claims that cleanup would end or suspects, with the evidence", responses=rows(stats.STALE)
)
def stale(db: Db, every: Annotated[bool, Query(description="The claims that are well, too.")] = False) -> list[Record]:
    return _camel(stats.records(stats.stale(db, every=every)))


@_reads.get("/throughput", summary="How many files ended in each stretch of time", responses=rows(stats.THROUGHPUT))
def throughput(
    db: Db,
    since_seconds: Annotated[float, Query(alias="sinceSeconds", gt=0, le=366 * 86400)] = 86400,
    bucket_seconds: Annotated[float, Query(alias="bucketSeconds", ge=1, le=366 * 86400)] = 3600,
) -> list[Record]:
    return _camel(stats.records(stats.throughput(db, since_seconds=since_seconds, bucket_seconds=bucket_seconds)))


@_reads.get(
    "/timeline", summary="Attempts as bars, and what happened to nodes as marks", responses=rows(stats.TIMELINE)
)
def timeline(
    db: Db,
    since_seconds: Annotated[float, Query(alias="sinceSeconds", gt=0, le=366 * 86400)] = 3600,
    until_seconds: Annotated[float, Query(alias="untilSeconds", ge=0, le=366 * 86400)] = 0,
    limit: Limit = 2000,
) -> list[Record]:
    return _camel(
        stats.records(stats.timeline(db, since_seconds=since_seconds, until_seconds=until_seconds, limit=limit))
    )


@_reads.get("/failures", summary="Failed files grouped by their error", responses=rows(stats.FAILURES))
def failures(db: Db, limit: Limit = 100) -> list[Record]:
    return _camel(stats.records(stats.failures(db, limit=limit, patience_seconds=PATIENCE_SECONDS)))


@_reads.get(
    "/files",
    name="list_files",
    summary="The files by their last event, newest first, in pages",
    responses=rows(stats.FILES, pages=True),
)
def files(
    db: Db,
    request: Request,
    response: Response,
    status: Annotated[Status, Query(description=STATUS)] = "",
    server_id: Annotated[Text, Query(alias="serverId", description="Only this server's.")] = "",
    search: Annotated[Text, Query(description="Only names that contain this, or the file with this id.")] = "",
    cursor: Annotated[Text, Query(description=f"{CURSOR} Rows without a status have no further pages.")] = "",
    limit: PageLimit = 200,
) -> list[Record]:
    found = stats.files(db, status=status, server_id=server_id, search=search, before=cursor, limit=limit + 1)
    if len(found) > limit and status != "none":
        _there_is_more(request, response, stats.place(found.iloc[limit - 1].to_dict()))
    return _camel(stats.records(found.head(limit)))


@_reads.get(
    "/files/{id}",
    summary="One file as it stands now; its attempts are its events",
    responses=described(bodies.File) | bodies.errors({404: "There is no such file."}),
)
def file(db: Db, id: Annotated[Text, Path(description="The file.")]) -> Record:
    try:
        found = db.run("file", id=id)
    except DatabaseError as error:
        if not (error.sqlstate or "").startswith("22"):
            raise
        found = []  # ids of this table look different
    if not found:
        raise HTTPException(404, f"there is no file {id!r}")
    (row,) = found
    return {to_camel(name): stats.iso(value) if isinstance(value, datetime) else value for name, value in row.items()}


@_reads.get(
    "/events",
    summary="The history: ends of attempts and what operators did, newest first, in pages",
    responses=rows(stats.EVENTS, pages=True),
)
def events(
    db: Db,
    request: Request,
    response: Response,
    file_id: Annotated[Text, Query(alias="fileId", description="Only this file's.")] = "",
    kind: Annotated[Kind, Query(description="Only this kind.")] = "",
    server_id: Annotated[Text, Query(alias="serverId", description="Only this server's.")] = "",
    cursor: Annotated[int | None, Query(ge=0, lt=2**63, description=CURSOR)] = None,
    limit: PageLimit = 100,
) -> list[Record]:
    found = stats.events(db, file_id=file_id, kind=kind, server_id=server_id, before=cursor, limit=limit + 1)
    if len(found) > limit:
        _there_is_more(request, response, str(found["id"].iloc[limit - 1]))
    return _camel(stats.records(found.head(limit)))


def _there_is_more(request: Request, response: Response, cursor: str) -> None:
    """Say where: without the host's name, which a proxy may have changed."""
    following = request.url.include_query_params(cursor=cursor)
    response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'


@_reads.get("/pauses", summary="What is paused, since when, by whom and why", responses=rows(stats.PAUSES))
def pauses(db: Db) -> list[Record]:
    return _camel(stats.records(stats.pauses(db)))


@_reads.get(
    "/doctor",
    summary="What is wrong, why it matters, and what mends it",
    responses={200: {"model": list[bodies.Finding]}},
)
def diagnosis(db: Db) -> list[Record]:
    found = doctor.examine(db)
    return [dataclasses.asdict(finding) for finding in found]


def _camel(rows: list[Record]) -> list[Record]:
    return [{to_camel(name): value for name, value in row.items()} for row in rows]


# -- probes and documents ------------------------------------------------------------------------

_probes = APIRouter(tags=["probe"])


@_probes.head("/healthz", include_in_schema=False)
@_probes.get(
    "/healthz",
    summary="Whether the database is reachable and migrated",
    responses=described(bodies.Health) | described(bodies.Illness, 503),
)
def healthz(request: Request, settings: Set) -> Response:
    about = {"environment": settings.env, "version": __version__, "serverId": server_id(settings)}
    # Everybody may ask, so nobody is told where the database is, and as whom we come to it, without the token.
    trusted = token_fits(settings.api_token or "", request.headers.get("authorization")) and settings.api_token
    try:
        missing = schema.missing(database(request), definitions=False)
    except OpskitError as error:
        sentence = str(error) if trusted else UNAVAILABLE
        return JSONResponse({"status": "unavailable", "error": sentence} | about, 503)
    if missing:
        sentence = f"{missing[0]}; {NOT_MIGRATED}" if trusted else NOT_MIGRATED
        return JSONResponse({"status": "not migrated", "error": sentence} | about, 503)
    return JSONResponse({"status": "ok"} | about)


@_probes.get(
    "/metrics",
    summary="The numbers of the moment, counters and durations for Prometheus",
    response_class=Response,
    responses=READING_ERRORS | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def numbers(request: Request, db: Db, settings: Set) -> Response:
    (now,) = stats.records(stats.concurrency(db, patience_seconds=PATIENCE_SECONDS))
    nodes = stats.records(stats.nodes(db))
    text = metrics.exposition(now, nodes, request.app.state.tally.read(db), settings.env)
    return Response(text, media_type=metrics.CONTENT_TYPE)


@_probes.get("/docs", include_in_schema=False)
def documentation(request: Request) -> Response:
    base = f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"
    html = apidocs.page(request.app.openapi(), base=base)
    return HTMLResponse(html, headers={"Content-Security-Policy": apidocs.SECURITY_POLICY})
