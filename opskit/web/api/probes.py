"""What probes ask without a token: /healthz, /metrics, and the API's documentation."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from opskit import migration, stats
from opskit._version import __version__
from opskit.errors import OpskitError
from opskit.queue.server_id import server_id
from opskit.web.api import documentation, metrics, responses
from opskit.web.api.dependencies import Db, SettingsOf, database
from opskit.web.api.openapi import READING_ERRORS, described, operation
from opskit.web.api.reads import PATIENCE_SECONDS
from opskit.web.bearer_token import token_fits


def probe_routes(api: FastAPI) -> list[BaseRoute]:
    """/healthz and /metrics as routes beside the mounted API; each answers other methods with 405, too."""
    return [Route(path, endpoint=api) for path in ("/healthz", "/metrics")]


UNAVAILABLE = "the database cannot be reached; the page, and this call with the token, say why"
NOT_MIGRATED = "the tables are not migrated, run: opskit migrate"

router = APIRouter(tags=["probe"], generate_unique_id_function=operation)


@router.head("/healthz", include_in_schema=False)
@router.get(
    "/healthz",
    summary="Whether the database is reachable and migrated",
    responses=described(responses.Health) | described(responses.Illness, 503),
)
def healthz(request: Request, settings: SettingsOf) -> Response:
    about = {"environment": settings.env, "version": __version__, "serverId": server_id(settings)}
    # Everybody may ask, so nobody is told where the database is, and as whom we come to it, without the token.
    trusted = token_fits(settings.api_token or "", request.headers.get("authorization")) and settings.api_token
    try:
        missing = migration.missing(database(request), definitions=False)
    except OpskitError as error:
        sentence = str(error) if trusted else UNAVAILABLE
        return JSONResponse({"status": "unavailable", "error": sentence} | about, 503)
    if missing:
        sentence = f"{missing[0]}; {NOT_MIGRATED}" if trusted else NOT_MIGRATED
        return JSONResponse({"status": "not migrated", "error": sentence} | about, 503)
    return JSONResponse({"status": "ok"} | about)


@router.get(
    "/metrics",
    summary="The numbers of the moment, counters and durations for Prometheus",
    response_class=Response,
    responses=READING_ERRORS | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def numbers(request: Request, db: Db, settings: SettingsOf) -> Response:
    (now,) = stats.records(stats.concurrency(db, patience_seconds=PATIENCE_SECONDS))
    nodes = stats.records(stats.nodes(db))
    lanes = stats.records(stats.lanes(db, limit=10_000, patience_seconds=PATIENCE_SECONDS))
    text = metrics.exposition(now, nodes, request.app.state.tally.read(db), settings.env, lanes)
    return Response(text, media_type=metrics.CONTENT_TYPE)


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> Response:
    base = f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"
    html = documentation.page(request.app.openapi(), base=base)
    return HTMLResponse(html, headers={"Content-Security-Policy": documentation.SECURITY_POLICY})
