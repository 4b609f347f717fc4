"""Bare ASGI calls: a connection and a body go in, what is sent comes out; no server."""

from __future__ import annotations

import asyncio
from typing import Any


def scope(
    *headers: tuple[str, str], method: str = "GET", client: Any = ("127.0.0.1", 5), path: str = "/api/x", **more: Any
) -> dict[str, Any]:
    """An ASGI connection from this machine."""
    named = headers if any(name == "host" for name, _ in headers) else (("host", "127.0.0.1:8501"), *headers)
    raw = [(name.encode(), value.encode()) for name, value in named]
    return {
        "type": "http",
        "method": method,
        "headers": raw,
        "client": client,
        "path": path,
        "query_string": b"",
    } | more


def called(app: Any, connection: dict[str, Any], *pieces: bytes) -> list[dict[str, Any]]:
    """What an ASGI application sends for a connection with a body in pieces."""
    sent: list[dict[str, Any]] = []
    parts = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    body = iter([*parts, {"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(body)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(connection, receive, send))
    return sent


def status(app: Any, connection: dict[str, Any], *pieces: bytes) -> int:
    """The status of the response; the close code of a websocket."""
    first = called(app, connection, *pieces)[0]
    return int(first.get("status") or first.get("code") or 0)


async def through(scope: Any, receive: Any, send: Any) -> None:
    """An application that is reached."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
