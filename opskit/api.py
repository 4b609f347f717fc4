"""The API: the same verbs over HTTP, as JSON, to be mounted under /api beside the page.

The handlers only translate: parameters in, one call of a verb, camelCase keys out. Those that touch the
database are plain functions, which FastAPI runs in its thread pool. An error is one sentence under "error";
a database that is away is a 503, never zeros.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import shutil
import threading
import unicodedata
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, FastAPI, File, Form, HTTPException, Query, Request, Security, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from psycopg import sql
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opskit import doctor, intake, nodes, reaper, schema, stats
from opskit._version import __version__
from opskit.access import TokenNeededError, writing_allowed
from opskit.database import Database, Row
from opskit.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    EmbeddedServerError,
    ForbiddenError,
    MissingExtraError,
    NotMigratedError,
    OpskitError,
    SettingError,
)
from opskit.server_id import server_id, server_info
from opskit.settings import Settings

STATEMENT_SECONDS = 5.0
"""Longest time a statement of page or API may take [s]: nobody waits longer for a page."""
UPLOAD_BYTES = 1 << 30
"""Most bytes of one upload, unless `create_api` is told otherwise."""
NO_SERVER = "(none yet)"

_JSON_BYTES = 1 << 20
_STATES = ("queued", "processing", "completed", "failed")
_log = logging.getLogger(__name__)


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
        redoc_url=None,
    )
    api.state.database = (lambda: database) if isinstance(database, Database) else database
    api.state.settings = settings
    api.add_middleware(_Gate, settings=settings, upload_limit_bytes=upload_limit_bytes)
    api.add_exception_handler(OpskitError, _on_opskit_error)
    api.add_exception_handler(AnyHTTPException, _on_http_error)
    api.add_exception_handler(RequestValidationError, _on_bad_input)
    api.add_exception_handler(Exception, _on_surprise)
    for router in (_reads, _writes, _probes):
        api.include_router(router)
    return api


def probe_routes(api: FastAPI) -> list[BaseRoute]:
    """/healthz and /metrics as routes beside the mounted API; each answers other methods with 405, too."""
    return [Route(path, endpoint=api) for path in ("/healthz", "/metrics")]


def _database(request: Request) -> Database:
    try:
        opened: Database = request.app.state.database()
    except SettingError as error:
        # Not the caller's fault, as a SettingError of a verb is: DATABASE_URL cannot be used.
        raise DatabaseUnavailableError(str(error)) from error
    return opened


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _actor(request: Request) -> str:
    return f"api {request.client.host}" if request.client else "api"


Db = Annotated[Database, Depends(_database)]
Set = Annotated[Settings, Depends(_settings)]
Actor = Annotated[str, Depends(_actor)]
Limit = Annotated[int, Query(ge=1, le=10_000, description="Most rows.")]
Record = dict[str, Any]

# -- reading -------------------------------------------------------------------------------------

_reads = APIRouter(prefix="/processing", tags=["look"])


@_reads.get("/concurrency-stats", summary="The numbers of the moment")
def concurrency_stats(db: Db, settings: Set) -> Record:
    (now,) = stats.records(stats.concurrency(db))
    by_server: dict[str, dict[str, int]] = {}
    for row in stats.records(stats.distribution(db)):
        by_server.setdefault(row["processing_server_id"] or NO_SERVER, {})[row["processing_status"]] = row["file_count"]
    by_status = {state: sum(counts.get(state, 0) for counts in by_server.values()) for state in _STATES}
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
    }
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


@_reads.get("/server-info", summary="What this process is, and what its server ID has done")
def server_information(db: Db, settings: Set) -> Record:
    info = server_info(settings)
    return info | {"stats": db.one("server_counts", server_id=info["serverId"])}


@_reads.get("/distribution", summary="Files per server and state")
def distribution(db: Db) -> list[Record]:
    return _camel(stats.records(stats.distribution(db)))


@_reads.get("/longest-running", summary="The files in processing, oldest claim first")
def longest_running(db: Db, limit: Limit = 10) -> list[Record]:
    return _camel(stats.records(stats.longest_running(db, limit=limit)))


@_reads.get("/nodes", summary="The nodes: who is there, what each does, how far it is")
def all_nodes(db: Db) -> list[Record]:
    return _camel(stats.records(stats.nodes(db)))


@_reads.get("/stale", summary="Claims that cleanup would end or suspects, with the evidence")
def stale(db: Db, every: Annotated[bool, Query(description="The claims that are well, too.")] = False) -> list[Record]:
    return _camel(stats.records(stats.stale(db, every=every)))


@_reads.get("/throughput", summary="How many files ended in each stretch of time")
def throughput(
    db: Db,
    since_seconds: Annotated[float, Query(alias="sinceSeconds", gt=0, le=366 * 86400)] = 86400,
    bucket_seconds: Annotated[float, Query(alias="bucketSeconds", ge=1, le=366 * 86400)] = 3600,
) -> list[Record]:
    return _camel(stats.records(stats.throughput(db, since_seconds=since_seconds, bucket_seconds=bucket_seconds)))


@_reads.get("/failures", summary="Failed files grouped by their error")
def failures(db: Db, limit: Limit = 100) -> list[Record]:
    return _camel(stats.records(stats.failures(db, limit=limit)))


@_reads.get("/events", summary="The history: ends of attempts and what operators did, newest first")
def events(
    db: Db,
    file_id: Annotated[str, Query(alias="fileId", description="Only this file's.")] = "",
    kind: Annotated[str, Query(description="Only this kind.")] = "",
    limit: Limit = 100,
) -> list[Record]:
    return _camel(stats.records(stats.events(db, file_id=file_id, kind=kind, limit=limit)))


@_reads.get("/pauses", summary="What is paused, since when, by whom and why")
def pauses(db: Db) -> list[Record]:
    return _camel(stats.records(stats.pauses(db)))


@_reads.get("/doctor", summary="What is wrong, why it matters, and what mends it")
def diagnosis(db: Db) -> list[Record]:
    found = doctor.examine(db, missing=schema.missing(db), queues_new=schema.queues_new(db))
    return [dataclasses.asdict(finding) for finding in found]


def _camel(rows: list[Record]) -> list[Record]:
    return [{to_camel(name): value for name, value in row.items()} for row in rows]


# -- writing -------------------------------------------------------------------------------------

_writes = APIRouter(
    prefix="/processing",
    tags=["act"],
    # For the docs page's "Authorize" alone: the gate has judged the call before it comes here.
    dependencies=[Security(HTTPBearer(auto_error=False, description="The token of OPSKIT_API_TOKEN."))],
)


class _Body(BaseModel):
    # A key that nobody knows is refused: {"serverID": "node-a"} must not pause all nodes.
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", coerce_numbers_to_str=True)

    reason: str = Field(default="", max_length=1000, description="Why, for the history.")


class CleanupBody(_Body):
    """What to clean up."""

    claims: list[str] = Field(default=[], description="Only these, as /stale names them.")
    server_id: str = Field(default="", description="Only this server's.")


class RequeueBody(_Body):
    """What to queue again: ids, or failed files."""

    ids: list[str] = Field(default=[], description="These files, failed or completed.")
    failed: bool = Field(default=False, description="Every failed file that error and serverId let through.")
    error: str = Field(default="", description="Only failed files whose error, as /failures groups it, is this.")
    server_id: str = Field(default="", description="Only failed files of this server.")
    limit: int = Field(default=10_000, ge=1, le=100_000, description="Most files.")


class ScopeBody(_Body):
    """Whom to pause or resume."""

    server_id: str = Field(default="*", min_length=1, max_length=100, description="A node, or * for all.")


@_writes.post("/cleanup-stale-locks", summary="End stale claims and orphans")
def cleanup_stale_locks(db: Db, actor: Actor, body: CleanupBody | None = None) -> Record:
    body = body or CleanupBody()
    done = reaper.cleanup(db, claims=body.claims, server_id=body.server_id, actor=actor, reason=body.reason)
    return {
        "success": True,
        "cleanedFiles": len(done.ended),
        "message": done.message,
        "files": [_ended(row) for row in done.ended],
        "pending": [_ended(row) for row in done.pending],
        "skipped": done.skipped,
    }


def _ended(row: Row) -> Record:
    return _file(row) | {"outcome": row["outcome"], "reason": row["reason"]}


def _file(row: Row) -> Record:
    return {
        "id": row["id"],
        "filename": row["original_filename"],
        "serverId": row["server_id"],
        "startedAt": stats.iso(row["started_at"]),
    }


@_writes.post("/requeue", summary="Queue files again that have ended")
def requeue(db: Db, actor: Actor, body: RequeueBody) -> Record:
    if bool(body.ids) == body.failed:
        raise HTTPException(400, 'say which files: either "ids", or "failed": true')
    if body.ids and (body.error or body.server_id):
        raise HTTPException(400, '"error" and "serverId" choose among failed files; they do not go with "ids"')
    rows = intake.requeue(
        db,
        body.ids,
        failed=body.failed,
        error=body.error,
        server_id=body.server_id,
        limit=body.limit,
        actor=actor,
        reason=body.reason,
    )
    return {
        "success": True,
        "requeuedFiles": len(rows),
        "message": f"Queued {len(rows)} files again" if rows else "No files to queue again",
        "files": [_file(row) | {"was": row["was"]} for row in rows],
    }


@_writes.post("/pause", summary="Pause a node, or all: no new claims; work in hand goes on")
def pause(db: Db, actor: Actor, body: ScopeBody | None = None) -> Record:
    body = body or ScopeBody()
    changed = nodes.pause(db, body.server_id, actor=actor, reason=body.reason)
    return _changed(body.server_id, changed, "is paused" if changed else "was paused already")


@_writes.post("/resume", summary="Resume a node, or end the pause of all")
def resume(db: Db, actor: Actor, body: ScopeBody | None = None) -> Record:
    body = body or ScopeBody()
    changed = nodes.resume(db, body.server_id, actor=actor, reason=body.reason)
    return _changed(body.server_id, changed, "is resumed" if changed else "was not paused")


def _changed(scope: str, changed: bool, what: str) -> Record:
    name = "every node" if scope == "*" else scope
    return {"success": True, "serverId": scope, "changed": changed, "message": f"{name} {what}"}


@_writes.post("/files", status_code=201, summary="Upload files and queue them")
def upload(
    db: Db,
    settings: Set,
    files: Annotated[list[UploadFile], File(description="One or more files.")],
    columns: Annotated[
        list[str] | None, Form(alias="set", description="Values for the application's columns, as name=value.")
    ] = None,
) -> Record:
    given = _assignments(columns or [])
    with _stored(settings.storage_root, files) as kept:
        ids = _enqueue(db, kept, given)
    return {
        "success": True,
        "queuedFiles": len(ids),
        "message": f"Queued {len(ids)} files",
        "files": [{"id": id, "filename": file.name, "fileSize": file.size} for id, file in zip(ids, kept, strict=True)],
    }


def _assignments(given: Sequence[str]) -> dict[str, str]:
    for text in given:
        if not re.match(r"(?!processing_)[^=]+=", text):
            raise HTTPException(400, f"set is {text!r}; it must look like name=value, for a column of the application")
    return dict(text.split("=", 1) for text in given)


@dataclasses.dataclass(frozen=True, slots=True)
class _Stored:
    path: str
    name: str
    size: int


@contextlib.contextmanager
def _stored(root: str, files: Sequence[UploadFile]) -> Iterator[list[_Stored]]:
    """The uploads, stored; removed again when they cannot be queued."""
    kept: list[_Stored] = []
    try:
        for file in files:
            name = clean_name(file.filename)
            path = _new_path(root, name)
            kept.append(_Stored(path, name, file.size or 0))
            _store(file.file, path)
        yield kept
    except OSError as error:
        _remove(kept)
        raise OpskitError(f"the upload cannot be stored: {error.strerror or 'the storage failed'}") from error
    except BaseException:
        _remove(kept)
        raise


def clean_name(given: str | None) -> str:
    """The name that an uploader gave, fit to be shown: no folders, no control characters, at most 255 long."""
    last = re.split(r"[/\\]", given or "")[-1]
    shown = "".join(character for character in last if unicodedata.category(character) not in ("Cc", "Cs")).strip()
    return shown[-255:] or "upload"


def _new_path(root: str, name: str) -> str:
    """A path of our own making: of the given name only a plain extension is left, for those who look at it."""
    extension = re.search(r"(\.[A-Za-z0-9]{1,10}){1,2}$", name)
    folder = root.rstrip("/") if "://" in root else str(Path(root).expanduser().absolute())
    return f"{folder}/{uuid.uuid4().hex}{extension[0].lower() if extension else ''}"


def _store(source: BinaryIO, path: str) -> None:
    if "://" in path:
        with _fsspec().open(path, "wb") as remote:
            shutil.copyfileobj(source, remote, 1 << 20)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())  # a row that outlives a power cut must find its bytes


def _remove(kept: Sequence[_Stored]) -> None:
    for file in kept:
        with contextlib.suppress(Exception):
            if "://" in file.path:
                filesystem, path = _fsspec().core.url_to_fs(file.path)
                filesystem.rm(path)
            else:
                os.unlink(file.path)


def _fsspec() -> Any:
    try:
        import fsspec
    except ImportError:
        raise MissingExtraError("fsspec", "ui") from None
    return fsspec


# The row is found by the queue's index: it was queued within this very transaction.
_NAME_IT = """
    UPDATE {} SET original_filename = %s, file_size = %s
     WHERE processing_status = 'queued' AND deleted IS NOT TRUE AND processing_queued_at >= now() AND storage_path = %s
    RETURNING id::text AS id"""


def _enqueue(db: Database, kept: Sequence[_Stored], columns: Mapping[str, str]) -> list[str]:
    """Queue stored files under their uploaders' names: one transaction, so that no node sees them nameless."""
    update = sql.SQL(_NAME_IT).format(sql.Identifier(db.settings.files))
    with (
        # Not pooled: whatever runs on it within the transaction runs on its one connection.
        Database(db.settings, pooled=False, statement_seconds=STATEMENT_SECONDS) as own,
        own.connection() as connection,
        connection.transaction(),
    ):
        intake.enqueue(own, [file.path for file in kept], columns=columns)
        ids = []
        for file in kept:
            ids += [row["id"] for row in connection.execute(update, (file.name, file.size, file.path))]
        return ids


# -- probes --------------------------------------------------------------------------------------

_probes = APIRouter(tags=["probe"])


@_probes.head("/healthz", include_in_schema=False)
@_probes.get("/healthz", summary="Whether the database is reachable and migrated")
def healthz(request: Request, settings: Set) -> Response:
    about = {"environment": settings.env, "version": __version__, "serverId": server_id(settings)}
    try:
        missing = schema.missing(_database(request))
    except OpskitError as error:
        return JSONResponse({"status": "unavailable", "error": str(error)} | about, 503)
    if missing:
        sentence = f"{missing[0]}; the tables are not migrated, run: opskit migrate"
        return JSONResponse({"status": "not migrated", "error": sentence} | about, 503)
    return JSONResponse({"status": "ok"} | about)


@_probes.get("/metrics", summary="The numbers of the moment for Prometheus", response_class=Response)
def metrics(db: Db, settings: Set) -> Response:
    (now,) = stats.records(stats.concurrency(db))
    return Response(_prometheus(now, settings.env), media_type=CONTENT_TYPE_LATEST)


def _prometheus(now: Mapping[str, Any], environment: str) -> bytes:
    """The numbers in Prometheus's text format; every series is always there, with labels from fixed sets."""
    registry = CollectorRegistry()
    files = Gauge("opskit_files", "Files in each state.", ["environment", "state"], registry=registry)
    for state in _STATES:
        files.labels(environment, state).set(now[state])
    for name, help, value in (
        ("oldest_queued_seconds", "Age of the oldest queued file; 0 when none is.", now["oldest_queued_seconds"] or 0),
        ("active_servers", "Nodes whose lease runs.", now["active_servers"]),
        ("orphaned_files", "Claims of dead or rebooted nodes.", now["orphaned_files"]),
        ("stale_files", "Claims without progress for too long.", now["stale_files"]),
        ("waiting_files", "Rows without a status, not opskit's yet.", now["waiting_files"]),
        ("all_paused", "1 while claiming is paused for all nodes.", int(now["all_paused"])),
    ):
        Gauge(f"opskit_{name}", help, ["environment"], registry=registry).labels(environment).set(value)
    return generate_latest(registry)


# -- the gate, and errors ------------------------------------------------------------------------


class _Gate:
    """Judges every call that may change something before a byte of its body is read, and bounds that body."""

    def __init__(self, app: ASGIApp, settings: Settings, upload_limit_bytes: int) -> None:
        self._app, self._settings, self._upload_limit = app, settings, upload_limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, _bounded(receive, self._limit(headers)), send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        try:
            writing_allowed(
                self._settings,
                client_host=scope["client"][0] if scope.get("client") else None,
                host_header=headers.get("host"),
                origin=headers.get("origin"),
                authorization=headers.get("authorization"),
                forwarded=any(name in headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")),
            )
        except ForbiddenError as error:
            return _answer(error)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limit(headers):
            return _error(413, _too_large(self._limit(headers)))
        return None

    def _limit(self, headers: Headers) -> int:
        uploads = headers.get("content-type", "").lower().startswith("multipart/")
        return self._upload_limit if uploads else min(_JSON_BYTES, self._upload_limit)


def _bounded(receive: Receive, limit: int) -> Receive:
    """*receive*, which gives up on a body that grows beyond the limit without having said so."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return counted


def _too_large(limit: int) -> str:
    return f"the request is too large; at most {limit} bytes are taken"


def _error(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": sentence}, status, headers=headers)


def _answer(error: OpskitError) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, TokenNeededError) else None
    return _error(_status(error), str(error), headers)


def _status(error: OpskitError) -> int:
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    if isinstance(error, DatabaseError):
        state = error.sqlstate or "22"  # without one the driver itself refused a value, such as a NUL in a text
        if state.startswith(("22", "23")):
            return 400
        if state.startswith(("25006", "53", "55P03", "57")):
            return 503
    return 500


_STATUSES: tuple[tuple[type[OpskitError], int], ...] = (
    (TokenNeededError, 401),
    (ForbiddenError, 403),
    (SettingError, 400),
    (DatabaseUnavailableError, 503),
    (NotMigratedError, 503),
    (EmbeddedServerError, 503),
)


async def _on_opskit_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OpskitError)
    return _answer(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    path, method = request.scope.get("root_path", "") + _within(request), request.method
    sentences = {
        (404, "Not Found"): f"there is nothing at {path}",
        (405, "Method Not Allowed"): f"{method} is not allowed at {path}",
    }
    sentence = sentences.get((error.status_code, error.detail), error.detail)
    return _error(error.status_code, sentence, error.headers)


def _within(request: Request) -> str:
    path, root = request.scope["path"], request.scope.get("root_path", "")
    return str(path[len(root) :] if root and path.startswith(root) else path)


async def _on_bad_input(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _error(422, f"{where}: {first['msg']}" if where else str(first["msg"]))


async def _on_surprise(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _error(500, "something went wrong here; the log of this process says what")
