"""Logging: every line carries the server ID and the environment, no line a password or what a terminal obeys."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from opskit.support.visible import visible, visible_lines

TEXT, JSON = "text", "json"
FIELDS = ("file", "attempt", "token", "lane")
"""What a record may have beside its message, as JSON: of which attempt it speaks."""


def set_up_logging(
    server_id: str, env: str, *, verbose: bool = False, stream: TextIO | None = None, format: str = TEXT
) -> None:
    """Send opskit's log to stderr, or to *stream*, each line under the server ID and the environment it acts on.

    Args:
        server_id: The node.
        env: The environment it acts on.
        verbose: Debug messages, too.
        stream: Where to. Defaults to stderr.
        format: text, or json for one JSON object a line.
    """
    own = logging.getLogger("opskit")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json(server_id, env) if format == JSON else _Careful(server_id, env))
    own.handlers[:] = [handler]
    own.propagate = False
    own.setLevel(logging.DEBUG if verbose else logging.INFO)


class _Careful(logging.Formatter):
    """What a processor's error says is not ours to vouch for, its traceback least of all."""

    def __init__(self, server_id: str, env: str) -> None:
        # A server ID may hold a percent sign; the format is not the place for it.
        head = f"[{server_id} {env}]".replace("%", "%%")
        super().__init__(f"%(asctime)s %(levelname)-7s {head} %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(masked(super().format(record)))

    def lines(self, record: logging.LogRecord, head: str, lines: list[str]) -> str:
        """Log many lines of other programs, each as a line of this log."""
        begin = self.format(record) + head
        return "".join(f"{begin}{visible(line)}\n" for line in lines)


class _Json(logging.Formatter):
    """One JSON object a line, for programs that collect logs."""

    def __init__(self, server_id: str, env: str) -> None:
        super().__init__()
        self._always = {"serverId": server_id, "environment": env}

    def format(self, record: logging.LogRecord) -> str:
        said = {**self._about(record), "message": masked(record.getMessage())}
        if record.exc_info:
            said["exception"] = masked(self.formatException(record.exc_info))
        return json.dumps(said)

    def lines(self, record: logging.LogRecord, head: str, lines: list[str]) -> str:
        """Log many lines of other programs, each as a line of this log."""
        about = self._about(record)
        return "".join(json.dumps({**about, "message": line}) + "\n" for line in lines)

    def _about(self, record: logging.LogRecord) -> dict[str, Any]:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        about = {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None}
        return {"time": time, "level": record.levelname, **self._always, **about}


class Lines:
    """Writes what somebody else has said into our log, many lines at a time.

    Args:
        level: Their level.
        head: What each begins with, as text.
        fields: What each has beside its message, as JSON.
    """

    def __init__(self, level: int, head: str, **fields: object) -> None:
        self._level, self._head, self._fields = level, head, fields

    def write(self, text: str) -> None:
        """Write the lines of *text*, which holds no passwords."""
        own = logging.getLogger("opskit")
        lines = text.removesuffix("\n").split("\n")
        record = own.makeRecord(own.name, self._level, "", 0, "", (), None, extra=self._fields)
        for handler in own.handlers:
            formatter = handler.formatter
            if isinstance(handler, logging.StreamHandler) and isinstance(formatter, (_Careful, _Json)):
                with handler.lock or contextlib.nullcontext(), contextlib.suppress(OSError, ValueError):
                    handler.stream.write(formatter.lines(record, self._head, lines))
                    handler.flush()


_SIGNATURES = (
    "X-(?:Amz|Goog|Oss)-(?:Signature|Credential|Security-Token)|Signature|Sig|AWSAccessKeyId|Key-Pair-Id|Policy|"
    "(?:access_|auth_|sas_)?token|api_?key|secret"
)


def masked(text: str) -> str:
    """*text* without the passwords of the URLs and conninfo strings in it."""
    # Most text holds none of what the expressions look for, and is looked through faster for that.
    if "://" in text:
        text = re.sub(r"(://[^\s/:@]{0,200}):[^\s@]{1,500}@", r"\1:…@", text)
    if "=" not in text:
        return text
    # In a URL's query an ampersand ends a value; in a conninfo string it is a letter like any other.
    if "?" in text or "&" in text:
        text = re.sub(r"([?&][a-z]{0,20}password=)[^\s&]+", r"\1…", text, flags=re.IGNORECASE)
        # What a presigned URL is good for as long as it lives.
        text = re.sub(rf"([?&](?:{_SIGNATURES})=)[^\s&#'\"]+", r"\1…", text, flags=re.IGNORECASE)
    if "password" not in text.lower():
        return text
    return re.sub(
        r"((?<![?&])\b[a-z]{0,20}password\s{0,5}=\s{0,5})('(?:[^'\\]|\\.){0,500}'|(?:[^\s\\]|\\.)+)",
        r"\1…",
        text,
        flags=re.I,
    )
