"""The API's GET endpoints: one statistic each, and the stream of the current numbers."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic.alias_generators import to_camel

from opskit import doctor, stats
from opskit.database import Database
from opskit.errors import DatabaseError
from opskit.queue import attempt_logs, row_content
from opskit.queue.server_id import server_id, server_info
from opskit.queue.states import FileState
from opskit.settings import Settings
from opskit.web.api import responses
from opskit.web.api.dependencies import Db, Json, SettingsOf
from opskit.web.api.events import EVERY_SECONDS
from opskit.web.api.openapi import READING_ERRORS, described, errors, operation, rows
from opskit.web.api.requests import Kind, Status, Text
from opskit.web.authorization import Caller, content_allowed

PATIENCE_SECONDS = 5.0
"""How long a call waits for the first count of what has ended; later ones get the last one at once [s]."""
NO_SERVER = "(none yet)"
PageLimit = Annotated[int, Query(ge=1, le=10_000, description="Most rows of a page.")]
STATUS = "Only this state; none: rows that have no status yet."
CURSOR = "Where to go on: what the Link header of the page before says."
router = APIRouter(prefix="/processing", tags=["look"], responses=READING_ERRORS, generate_unique_id_function=operation)


@router.get("/concurrency-stats", summary="The numbers of the moment", responses=described(responses.Concurrency))
def concurrency_stats(db: Db, settings: SettingsOf) -> Json:
    return current(db, settings)


@router.get(
    "/concurrency-stats/stream",
    summary="The same again and again, as Server-Sent Events",
    description=f"Every {EVERY_SECONDS:g} s; while the database is away an event of the type unavailable.",
    response_class=EventSourceResponse,
)
async def concurrency_stream(request: Request) -> AsyncIterator[ServerSentEvent]:
    async for event in request.app.state.pulse.listen():
        yield event


def current(db: Database, settings: Settings) -> Json:
    """The numbers of the moment, as `concurrency-stats` answers them."""
    (now,) = stats.records(stats.concurrency(db, patience_seconds=PATIENCE_SECONDS))
    by_server: dict[str, dict[str, int]] = {}
    spread = stats.counted(stats.distribution(db, patience_seconds=PATIENCE_SECONDS))
    for row in stats.records(spread):
        by_server.setdefault(row["processing_server_id"] or NO_SERVER, {})[row["processing_status"]] = row["file_count"]
    by_status = {state: sum(counts.get(state, 0) for counts in by_server.values()) for state in FileState}
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


def _longest(row: Json) -> Json:
    minutes = row["minutes_processing"]
    return {
        "filename": row["original_filename"],
        "serverId": row["processing_server_id"],
        "startedAt": row["processing_started_at"],
        "durationMinutes": None if minutes is None else round(minutes, 2),
    }


@router.get(
    "/server-info",
    summary="What this process is, and what its server ID has done",
    responses=described(responses.ServerInfo),
)
def server_information(db: Db, settings: SettingsOf) -> Json:
    info = server_info(settings)
    return info | {"stats": stats.server_counts(db, info["serverId"], patience_seconds=PATIENCE_SECONDS)}


@router.get(
    "/forecast",
    summary="When the queue will be empty, by what came and what ended in the last hour",
    responses=described(responses.Forecast),
)
def forecast(db: Db) -> Json:
    (row,) = _camel(stats.records(stats.forecast(db)))
    return row


@router.get(
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
    lane: Annotated[Text, Query(description="Only files of this lane; (none): without one.")] = "",
    cursor: Annotated[Text, Query(description=f"{CURSOR} Rows without a status have no further pages.")] = "",
    limit: PageLimit = 200,
) -> list[Json]:
    found = stats.files(
        db, status=status, server_id=server_id, search=search, lane=lane, before=cursor, limit=limit + 1
    )
    if len(found) > limit and status != "none":
        _there_is_more(request, response, stats.place(found.iloc[limit - 1].to_dict()))
    return _camel(stats.records(found.head(limit)))


@router.get(
    "/files/{id}",
    summary="One file as it stands now; its attempts are its events",
    responses=described(responses.File) | errors({404: "There is no such file."}),
)
def file(db: Db, id: Annotated[Text, Path(description="The file.")]) -> Json:
    row = row_content.file(db, id)
    if row is None:
        raise HTTPException(404, f"there is no file {id!r}")
    return {to_camel(name): stats.iso(value) if isinstance(value, datetime) else value for name, value in row.items()}


@router.get(
    "/files/{id}/logs",
    summary="What the attempts at a file have said, oldest first; for operators",
    responses=described(responses.Logs) | errors({401: "The token is missing or wrong.", 403: "Not for viewers."}),
)
def file_logs(
    db: Db,
    request: Request,
    settings: SettingsOf,
    id: Annotated[Text, Path(description="The file.")],
    after: Annotated[str, Query(pattern=r"^(\d{1,9}/\d{1,18}/\d{1,18})?$", description="Where to go on: `next`.")] = "",
) -> Json:
    content_allowed(settings, Caller.of(request.scope))
    try:
        found = attempt_logs.read(db, id, after=attempt_logs.Place.of(after))
    except DatabaseError as error:
        if not (error.sqlstate or "").startswith("22"):
            raise
        found = []  # ids of this table look different
    return {
        "chunks": [
            {to_camel(name): stats.iso(value) if isinstance(value, datetime) else value
             for name, value in dataclasses.asdict(said).items()}
            for said in found
        ],
        "next": str(found[-1].place) if found else after,
    }  # fmt: skip


@router.get(
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
    lane: Annotated[Text, Query(description="Only of files of this lane; (none): without one.")] = "",
    cursor: Annotated[int | None, Query(ge=0, lt=2**63, description=CURSOR)] = None,
    limit: PageLimit = 100,
) -> list[Json]:
    found = stats.events(db, file_id=file_id, kind=kind, server_id=server_id, lane=lane, before=cursor, limit=limit + 1)
    if len(found) > limit:
        _there_is_more(request, response, str(found["id"].iloc[limit - 1]))
    return _camel(stats.records(found.head(limit)))


def _there_is_more(request: Request, response: Response, cursor: str) -> None:
    """Say where: without the host's name, which a proxy may have changed."""
    following = request.url.include_query_params(cursor=cursor)
    response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'


@router.get(
    "/doctor",
    summary="What is wrong, why it matters, and what mends it",
    responses={200: {"model": list[responses.Finding]}},
)
def diagnosis(db: Db) -> list[Json]:
    found = doctor.examine(db)
    return [finding.facts() for finding in found]


def statistics() -> APIRouter:
    """The endpoints of the statistics that have no handler of their own; made once, for they cost 20 ms."""
    return _endpoints_of(tuple(stats.STATISTICS))


@functools.cache
def _endpoints_of(names: tuple[str, ...]) -> APIRouter:
    routes = APIRouter(
        prefix=router.prefix,
        tags=[*router.tags],
        responses=router.responses,
        generate_unique_id_function=operation,
    )
    written = {route.path for route in router.routes if isinstance(route, APIRoute)}
    for one in map(stats.STATISTICS.__getitem__, names):
        path = f"/{one.path or one.words}"
        if f"{router.prefix}{path}" not in written:
            described = rows(one.columns)
            routes.add_api_route(path, _reader(one), name=one.name, summary=one.sentence, responses=described)
    return routes


def _reader(one: stats.Statistic) -> Callable[..., list[Json]]:
    def read(*, db: Database, **given: Any) -> list[Json]:
        frame = one(db, **given, **({"patience_seconds": PATIENCE_SECONDS} if one.counts_what_ended else {}))
        return _camel(stats.records(stats.counted(frame) if "counted_at" in frame.attrs else frame))

    def taken(name: str, annotation: Any, **usual: Any) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, **usual)

    queries: list[inspect.Parameter] = []
    for each in one.parameters:
        bounds: dict[str, Any] = {**each.bounds}
        query = Query(alias=to_camel(each.name), description=each.help, **bounds)
        kind = Text if isinstance(each.usual, str) else type(each.usual)
        queries.append(taken(each.name, Annotated[kind, query], default=each.usual))
    # FastAPI learns from the signature what the endpoint takes.
    read.__signature__ = inspect.Signature([taken("db", Db), *queries], return_annotation=list[Json])  # type: ignore[attr-defined]
    return read


def _camel(rows: list[Json]) -> list[Json]:
    return [{to_camel(name): value for name, value in row.items()} for row in rows]
