"""What every connection of page and API passes before anything reads it: an ASGI wrapper that judges, one that adds.

Streamlit checks neither the Host of a request nor, for any page of localhost, the Origin of its WebSocket; and it
lets itself be framed. One rule for both kinds of connections stands here instead.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opskit.settings import Settings
from opskit.support import allowed_hosts
from opskit.web.authorization import Caller
from opskit.web.dashboard import sign_in
from opskit.web.dashboard.uploads import UploadMiddleware

_UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
_PROBE = "/healthz"
_NEVER_KEPT = ("/api", "/metrics", _PROBE)
HEADERS = {
    # Nothing of the page lives in a frame, so that a foreign page cannot lay its own under somebody's clicks.
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
"""What every response says, unless it says so itself in other words."""


def middleware(settings: Settings) -> list[Middleware]:
    """The wrappers for `st.App`, the outermost first."""
    return [
        Middleware(SecurityHeaders),
        Middleware(Admission, settings=settings),
        Middleware(UploadMiddleware, limit_bytes=settings.page_upload_mb << 20),
    ]


class SecurityHeaders:
    """Tells the browser what others may do with the page, and to keep nothing of the API."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kept = not any(_within(scope) == path or _within(scope).startswith(f"{path}/") for path in _NEVER_KEPT)

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not kept:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, told)


class Admission:
    """Answers nobody who calls us by a foreign name, from a foreign page, or from afar while nothing says who may.

    The probe /healthz is excepted. The address that the server is bound to is not asked: uvicorn may have been
    given another one than OPSKIT_HOST. Each connection is judged by itself.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._names = (*allowed_hosts.patterns(settings.hosts), settings.host.lower(), *sign_in.own_names())
        self._names_judged = settings.host in allowed_hosts.LOOPBACK or bool(settings.hosts)
        self._open_to_others = bool(settings.api_token) or bool(sign_in.roles())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] in ("http", "websocket"):
            status, sentence = self._judged(scope)
            if status:
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1008, "reason": sentence})
                else:
                    # The rest of what was sent belongs to nobody: on this connection nothing follows.
                    refusal = JSONResponse({"error": sentence}, status, headers={"Connection": "close"})
                    await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _judged(self, scope: Scope) -> tuple[int, str]:
        """Status and sentence of a refusal; 0 where there is none."""
        headers, caller = Headers(scope=scope), Caller.of(scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            return 400, "a request has either Content-Length or Transfer-Encoding, not both"
        if len(headers.getlist("host")) > 1 or len(headers.getlist("origin")) > 1:
            return 400, "a request has one Host and one Origin"
        if _within(scope) == _PROBE:
            return 0, ""
        if self._names_judged and not allowed_hosts.answers_to(caller.host_header, self._names):
            named = ascii((caller.host_header or "")[:200])
            return 403, f"the Host {named} is no name of this server; if it is yours, list it in OPSKIT_HOSTS"
        if not self._open_to_others and not caller.is_near:
            return (
                403,
                "this is answered to this machine alone while neither OPSKIT_API_TOKEN nor OPSKIT_OPERATORS is set",
            )
        acts = scope["type"] == "websocket" or scope["method"] in _UNSAFE
        if acts and caller.origin is not None and not allowed_hosts.same_site(caller.origin, caller.host_header):
            return 403, "a page of another site sent this; it is refused"
        return 0, ""


def _within(scope: Scope) -> str:
    """The path below the mount point that the server was told of."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(root) else path
