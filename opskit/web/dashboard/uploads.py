"""Streamlit's upload route, open to a session only while its upload dialog is, and only for so many bytes.

Streamlit takes any number of files for any session that lives, whatever its page shows, and keeps them in memory: the
sign-in page, a read-only page and one without the token could each be used to fill it.
"""

from __future__ import annotations

import re
import threading
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

_ROUTE = re.compile(r".*/_stcore/upload_file/([^/]*)(?:/.*)?", re.DOTALL)
SESSIONS = 2
"""So many times what one session may hold is held for all of them together."""
_lock = threading.Lock()
_allowed: set[str] = set()
_arriving: dict[str, int] = {}


def allow_here() -> None:
    """Let the session of this tab upload: its dialog is open, and whoever looks at it may act."""
    session = _session()
    if session is not None:
        with _lock:
            _allowed.difference_update([known for known in _allowed if not _lives(known)])
            _allowed.add(session)


def refuse_here() -> None:
    """Let the session of this tab upload no more, and forget what it has uploaded."""
    session = _session()
    if session is None:
        return
    with _lock:
        was_allowed = session in _allowed
        _allowed.discard(session)
    if was_allowed and runtime.exists():
        runtime.get_instance().uploaded_file_mgr.remove_session_files(session)


class UploadMiddleware:
    """Judges an upload before a byte of it is read, and bounds what a session and all of them hold."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        # A form is a little larger than its file.
        self._app, self._megabytes, self._limit = app, limit_bytes >> 20, limit_bytes + (1 << 20)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        found = _ROUTE.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if found is None or scope["method"] in ("GET", "HEAD", "OPTIONS", "DELETE"):
            await self._app(scope, receive, send)
            return
        session = found[1]
        with _lock:
            allowed = session in _allowed
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if not allowed:
            answer = "no upload is open here: uploads are taken while their dialog is, from those who may act"
            await JSONResponse({"error": answer}, 403, {"Connection": "close"})(scope, receive, send)
        elif declared.isdigit() and (len(declared) > 18 or self._exceeds(session, int(declared))):
            await JSONResponse({"error": self._too_much()}, 413, {"Connection": "close"})(scope, receive, send)
        else:
            await self._counted(session, scope, receive, send)

    async def _counted(self, session: str, scope: Scope, receive: Receive, send: Send) -> None:
        mine = 0

        async def counting() -> Message:
            nonlocal mine
            message = await receive()
            arrived = len(message.get("body", b""))
            if self._exceeds(session, arrived):
                raise HTTPException(413, self._too_much())
            mine += arrived
            with _lock:
                _arriving[session] = _arriving.get(session, 0) + arrived
            return message

        try:
            await self._app(scope, counting, send)
        finally:
            with _lock:
                left = _arriving.pop(session, 0) - mine
                if left > 0:
                    _arriving[session] = left

    def _exceeds(self, session: str, more: int) -> bool:
        with _lock:
            arriving, all_arriving = _arriving.get(session, 0), sum(_arriving.values())
        mine, everything = arriving + _held(session), all_arriving + _held(None)
        return more + mine > self._limit or more + everything > SESSIONS * self._limit

    def _too_much(self) -> str:
        return (
            f"this page holds at most {self._megabytes} MB of uploads for one tab and {SESSIONS} times that in all; "
            "queue these first, or use the API or opskit enqueue, which hold nothing in memory"
        )


def _held(session: str | None) -> int:
    """Bytes in memory of one session, or of all."""
    if not runtime.exists():
        return 0
    manager: Any = runtime.get_instance().uploaded_file_mgr
    with manager._lock:
        storage = manager.file_storage
        kept = storage.values() if session is None else [storage.get(session, {})]
        return sum(len(file.data) for files in kept for file in files.values())


def _session() -> str | None:
    context = get_script_run_ctx()
    return None if context is None else context.session_id


def _lives(session: str) -> bool:
    return not runtime.exists() or runtime.get_instance().is_active_session(session)
