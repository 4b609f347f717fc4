"""The gate: who may pass to the API, how much a call may bring, and what is said when something is wrong.

A call that may change something is judged before a byte of its body is read. Every error is one sentence
under "error"; which kind gets which status is settled here, and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opskit.access import Caller, writing_allowed
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
    UnknownNodeError,
)
from opskit.json_keys import repeated_key
from opskit.settings import Settings
from opskit.throttle import Throttle

_JSON_BYTES = 1 << 20
_STATUSES: tuple[tuple[type[OpskitError], int], ...] = (
    (TokenNeededError, 401),
    (ForbiddenError, 403),
    (TooLargeError, 413),
    (UnknownNodeError, 404),
    (SettingError, 400),
    (DatabaseUnavailableError, 503),
    (StillCountingError, 503),
    (NotMigratedError, 503),
    (EmbeddedServerError, 503),
)
_log = logging.getLogger(__name__)


def guard(api: FastAPI, settings: Settings, *, upload_limit_bytes: int) -> None:
    """Put the gate before an API and have its errors answered in JSON."""
    api.add_middleware(Gate, settings=settings, upload_limit_bytes=upload_limit_bytes)
    api.add_exception_handler(OpskitError, _on_opskit_error)
    api.add_exception_handler(AnyHTTPException, _on_http_error)
    api.add_exception_handler(RequestValidationError, _on_bad_input)
    api.add_exception_handler(Exception, _on_surprise)


class Gate:
    """Judges every call that may change something before a byte of its body is read, and bounds that body."""

    def __init__(self, app: ASGIApp, settings: Settings, upload_limit_bytes: int) -> None:
        self._app, self._settings, self._upload_limit = app, settings, upload_limit_bytes
        self._throttle = Throttle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None and refusal.status_code == 401 and "authorization" in headers:
            await self._throttle.wait()
        bounded = _bounded(receive, self._limit(headers))
        if refusal is None and not _is_form(headers):
            bounded, refusal = await _looked_through(bounded)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, bounded, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        try:
            writing_allowed(self._settings, Caller.of(scope))
        except ForbiddenError as error:
            return _answer(error)
        declared = headers.get("content-length", "")
        # A number of more digits than int() takes is too large, too.
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > self._limit(headers)):
            return _error(413, _too_large(self._limit(headers)))
        return None

    def _limit(self, headers: Headers) -> int:
        return self._upload_limit if _is_form(headers) else min(_JSON_BYTES, self._upload_limit)


def _is_form(headers: Headers) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/")


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


async def _looked_through(receive: Receive) -> tuple[Receive, Response | None]:
    """*receive* again from the start of a body that is no form, and a refusal when it names a key twice."""
    messages: list[Message] = []
    try:
        while not messages or messages[-1].get("more_body", False):
            messages.append(await receive())
    except HTTPException as error:
        return receive, _error(error.status_code, error.detail)
    key = repeated_key(b"".join(message.get("body", b"") for message in messages))
    remembered = iter(messages)

    async def again() -> Message:
        message = next(remembered, None)
        return await receive() if message is None else message

    return again, None if key is None else _error(400, f"the body names {key[:100]!a} twice; once is enough")


def _too_large(limit: int) -> str:
    return f"the request is too large; at most {limit} bytes are taken"


# -- errors --------------------------------------------------------------------------------------


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
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return _error(error.status_code, sentence, headers)


def _allowed(request: Request) -> str:
    """The methods that this path takes: by itself, a path with two is told with those of its first route alone."""
    return ", ".join(
        method
        for method in ("GET", "HEAD", "POST")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    )


def _within(request: Request) -> str:
    path, root = request.scope["path"], request.scope.get("root_path", "")
    return str(path[len(root) :] if root and path.startswith(root) else path)


async def _on_bad_input(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    said = str(first["msg"]).removeprefix("Value error, ")
    if said.startswith("Expected UploadFile"):
        said = (
            'this part is no file: its Content-Disposition needs filename="…", and filename*= alone is none (RFC 7578)'
        )
    return _error(422, f"{where}: {said}" if where else said)


async def _on_surprise(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _error(500, "something went wrong here; the log of this process says what")
