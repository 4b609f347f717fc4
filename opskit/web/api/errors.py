"""An opskit error as an HTTP answer: its status, and JSON with one sentence."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.routing import Match

from opskit.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    EmbeddedServerError,
    ForbiddenError,
    NotMigratedError,
    OpskitError,
    SettingError,
    StillCountingError,
    TokenNeededError,
    TooLargeError,
    UnknownActError,
    UnknownNodeError,
)

_STATUSES: tuple[tuple[type[OpskitError], int], ...] = (
    (TokenNeededError, 401),
    (ForbiddenError, 403),
    (TooLargeError, 413),
    (UnknownNodeError, 404),
    (UnknownActError, 404),
    (SettingError, 400),
    (DatabaseUnavailableError, 503),
    (StillCountingError, 503),
    (NotMigratedError, 503),
    (EmbeddedServerError, 503),
)
_log = logging.getLogger(__name__)


def answer_errors(api: FastAPI) -> None:
    """Have every error of an API answered as JSON."""
    api.add_exception_handler(OpskitError, _on_opskit_error)
    api.add_exception_handler(AnyHTTPException, _on_http_error)
    api.add_exception_handler(RequestValidationError, _on_bad_input)
    api.add_exception_handler(Exception, _on_surprise)


def error_response(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """One sentence under "error"."""
    return JSONResponse({"error": sentence}, status, headers=headers)


def response_to(error: OpskitError) -> Response:
    """The response to an error that a verb raised."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, TokenNeededError) else None
    return error_response(_status(error), str(error), headers)


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


def _allowed_methods(request: Request) -> str:
    """The methods that this path takes: by itself, a path with two is told with those of its first route alone."""
    return ", ".join(
        method
        for method in ("GET", "HEAD", "POST")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    )


def _path_within(request: Request) -> str:
    path, root = request.scope["path"], request.scope.get("root_path", "")
    return str(path[len(root) :] if root and path.startswith(root) else path)


async def _on_opskit_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OpskitError)
    return response_to(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    path, method = request.scope.get("root_path", "") + _path_within(request), request.method
    sentences = {
        (404, "Not Found"): f"there is nothing at {path}",
        (405, "Method Not Allowed"): f"{method} is not allowed at {path}",
    }
    sentence = sentences.get((error.status_code, error.detail), error.detail)
    headers = {"Allow": _allowed_methods(request)} if error.status_code == 405 else error.headers
    return error_response(error.status_code, sentence, headers)


async def _on_bad_input(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    said = str(first["msg"]).removeprefix("Value error, ")
    if said.startswith("Expected UploadFile"):
        said = (
            'this part is no file: its Content-Disposition needs filename="…", and filename*= alone is none (RFC 7578)'
        )
    return error_response(422, f"{where}: {said}" if where else said)


async def _on_surprise(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(500, "something went wrong here; the log of this process says what")
