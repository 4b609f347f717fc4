"""A processor that posts each file to a server of the application's, which does the work."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import select
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from opskit._version import __version__
from opskit.errors import ProcessorError, Reject, Retry
from opskit.files.claimed import ClaimedFile
from opskit.files.program_failure import Failure
from opskit.files.retry_after import seconds_of
from opskit.support.json_values import as_json
from opskit.support.logs import masked

log = logging.getLogger("opskit")
_CONNECT_SECONDS = 10.0
# A server closes idle connections, most after five seconds: ours is not used again when that may be about to happen.
_IDLE_SECONDS = 1.0
_MOST_ANSWER_BYTES = 16 << 20
_LONGEST_REASON = 1_000
# The server is asked whether it is still there while it works: dead ones are noticed after about 40 s.
_KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
_REASONS = ("error", "message", "detail", "reason", "title")


class _Whole(http.client.HTTPConnection):
    """A connection that sends head and body of a request at once: two parts would wake the server twice."""

    _held = b""

    def send(self, data: Any) -> None:
        """Hold a part of the request."""
        self._held += data

    def flush(self) -> None:
        """Send what is held."""
        held, self._held = self._held, b""
        super().send(held)


class _WholeOverTls(_Whole, http.client.HTTPSConnection):
    """The same, over TLS."""


class Post:
    """A processor: one POST for each file, over a connection that is kept.

    No redirects are followed, and no proxy of the environment's is used; a certificate is verified.

    Args:
        url: Where to, http:// or https://.
        token: Sent as a bearer token; "" for none.

    Raises:
        ProcessorError: The URL cannot be posted to.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self._url = _checked(url)
        self._host = self._url.hostname or ""
        self._target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"opskit/{__version__}",
        } | ({"Authorization": f"Bearer {token}"} if token else {})
        self._place = f"POST {self._url.scheme}://{self._url.netloc}{self._url.path}"
        self._connection: _Whole | None = None
        self._used = 0.0

    def __call__(self, file: ClaimedFile) -> Mapping[str, Any] | None:
        """Post one file; the JSON object that was answered, if one was.

        Raises:
            Reject: 400 or 422.
            Retry: 429 or 503 with Retry-After.
            Failure: Any other status, or no answer.
        """
        body = as_json(
            {
                "id": file.id,
                "name": file.name,
                "path": file.storage_path,
                "size": file.file_size,
                "attempt": file.attempt,
                "token": file.token,
                "row": file.row(),
            }
        )
        try:
            response, answer = self._exchange(body, file.token)
        except (OSError, http.client.HTTPException) as error:
            self._close()
            raise Failure(f"no answer: {_told(error)}", kind="world", place=self._place) from error
        return self._judge(response, answer)

    def _exchange(self, body: bytes, token: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self._connected()
        connection.request("POST", self._target, body, self._headers | {"Idempotency-Key": token})
        connection.flush()
        response = connection.getresponse()
        answer = response.read(_MOST_ANSWER_BYTES + 1)
        if len(answer) > _MOST_ANSWER_BYTES or response.will_close:
            self._close()
        self._used = time.monotonic()
        return response, answer

    def _connected(self) -> _Whole:
        """The connection; a new one where the old one is closed, or has rested so long that it may be closed soon."""
        kept = self._connection
        if kept is not None and kept.sock is not None:
            if time.monotonic() - self._used < _IDLE_SECONDS and not _is_readable(kept.sock):
                return kept
            self._close()
        if self._url.scheme == "https":
            context = ssl.create_default_context()
            fresh: _Whole = _WholeOverTls(self._host, self._url.port, timeout=_CONNECT_SECONDS, context=context)
        else:
            fresh = _Whole(self._host, self._url.port, timeout=_CONNECT_SECONDS)
        fresh.connect()
        # How long the work may take is for the limits of the node to say.
        fresh.sock.settimeout(None)
        fresh.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fresh.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                fresh.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._connection = fresh
        return fresh

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
        self._connection = None

    def _judge(self, response: http.client.HTTPResponse, answer: bytes) -> Mapping[str, Any] | None:
        status = response.status
        if status in (200, 204):
            if len(answer) > _MOST_ANSWER_BYTES:
                raise Failure(f"its answer is larger than {_MOST_ANSWER_BYTES >> 20} MB", place=self._place)
            return _object(answer) or None
        reason = _reason(answer)
        told = f"{status} {response.reason}".strip() + (f": {reason}" if reason else "")
        if status in (400, 422):
            raise Reject(reason or told)
        if status in (429, 503) and (seconds := seconds_of(response.getheader("Retry-After"))) is not None:
            raise Retry(told, after_seconds=seconds)
        if status == 202:
            told += "; accepted is not done: answer 200 when the work is done"
        world = status in (401, 403, 404) or status >= 500 or 300 <= status < 400
        raise Failure(f"HTTP {told}", kind="world" if world else "file", place=self._place, story=_text(answer))


def _checked(url: str) -> Any:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(not char.isprintable() or char == " " for char in url):
        raise ProcessorError(f"OPSKIT_POST is {masked(url)!r}; it must be a URL like https://app.internal/process")
    if parts.username or parts.password:
        raise ProcessorError("OPSKIT_POST has a user or a password in it; set OPSKIT_POST_TOKEN instead")
    return parts


def _is_readable(sock: socket.socket) -> bool:
    """Whether something has come that nobody asked for: the end of the connection, most of the time."""
    return bool(select.select([sock], [], [], 0)[0])


def _object(answer: bytes) -> dict[str, Any]:
    """The JSON object in an answer; empty when it is something else."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(answer)
        if isinstance(found, dict):
            return found
    return {}


def _reason(answer: bytes) -> str:
    """What an answer says went wrong, in one line."""
    found = _object(answer)
    said = next((found[name] for name in _REASONS if isinstance(found.get(name), str)), None)
    return masked(" ".join((said or _text(answer)).split()))[:_LONGEST_REASON]


def _text(answer: bytes) -> str:
    return answer[: _LONGEST_REASON * 4].decode(errors="replace").strip()


def _told(error: Exception) -> str:
    """An error of the connection in words."""
    if isinstance(error, http.client.RemoteDisconnected):
        return "the server has closed the connection"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
