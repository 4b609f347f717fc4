"""The API's authorization middleware: who may call it, and how much a call may bring.

A call that may change something is judged before a byte of its body is read. Every error is one sentence
under "error"; which kind gets which status is settled here, and nowhere else.
"""

from __future__ import annotations

from fastapi import FastAPI, HTTPException
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opskit.errors import (
    ForbiddenError,
)
from opskit.settings import Settings
from opskit.web.api.errors import answer_errors, error_response, response_to
from opskit.web.api.json_keys import repeated_key
from opskit.web.authorization import Caller, writing_allowed
from opskit.web.throttle import Throttle

_JSON_BYTES = 1 << 20


def guard(api: FastAPI, settings: Settings, *, upload_limit_bytes: int) -> None:
    """Put the authorization before an API and have its errors answered in JSON."""
    api.add_middleware(AuthorizationMiddleware, settings=settings, upload_limit_bytes=upload_limit_bytes)
    answer_errors(api)


class AuthorizationMiddleware:
    """Judges every call that may change something before a byte of its body is read, and bounds that body."""

    def __init__(self, app: ASGIApp, settings: Settings, upload_limit_bytes: int) -> None:
        self._app, self._settings, self._upload_limit = app, settings, upload_limit_bytes
        self._throttle = Throttle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
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
            return response_to(error)
        declared = headers.get("content-length", "")
        # A number of more digits than int() takes is too large, too.
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > self._limit(headers)):
            return error_response(413, _too_large(self._limit(headers)))
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
        return receive, error_response(error.status_code, error.detail)
    key = repeated_key(b"".join(message.get("body", b"") for message in messages))
    remembered = iter(messages)

    async def again() -> Message:
        message = next(remembered, None)
        return await receive() if message is None else message

    return again, None if key is None else error_response(400, f"the body names {key[:100]!a} twice; once is enough")


def _too_large(limit: int) -> str:
    return f"the request is too large; at most {limit} bytes are taken"
