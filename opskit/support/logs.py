"""Logging: every line carries the server ID and the environment, no line a password or what a terminal obeys."""

from __future__ import annotations

import logging
import re
import sys
from typing import TextIO

from opskit.support.visible import visible_lines


def set_up_logging(server_id: str, env: str, *, verbose: bool = False, stream: TextIO | None = None) -> None:
    """Send opskit's log to stderr, or to *stream*, each line under the server ID and the environment it acts on."""
    own = logging.getLogger("opskit")
    handler = logging.StreamHandler(stream or sys.stderr)
    # A server ID may hold a percent sign; the format is not the place for it.
    head = f"[{server_id} {env}]".replace("%", "%%")
    handler.setFormatter(_Careful(f"%(asctime)s %(levelname)-7s {head} %(message)s"))
    own.handlers[:] = [handler]
    own.propagate = False
    own.setLevel(logging.DEBUG if verbose else logging.INFO)


_SIGNATURES = (
    "X-(?:Amz|Goog|Oss)-(?:Signature|Credential|Security-Token)|Signature|Sig|AWSAccessKeyId|Key-Pair-Id|Policy|"
    "(?:access_|auth_|sas_)?token|api_?key|secret"
)


class _Careful(logging.Formatter):
    """What a processor's error says is not ours to vouch for, its traceback least of all."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(masked(super().format(record)))


def masked(text: str) -> str:
    """*text* without the passwords of the URLs and conninfo strings in it."""
    text = re.sub(r"(://[^\s/:@]{0,200}):[^\s@]{1,500}@", r"\1:…@", text)
    # In a URL's query an ampersand ends a value; in a conninfo string it is a letter like any other.
    text = re.sub(r"([?&][a-z]{0,20}password=)[^\s&]+", r"\1…", text, flags=re.IGNORECASE)
    # What a presigned URL is good for as long as it lives.
    text = re.sub(rf"([?&](?:{_SIGNATURES})=)[^\s&#'\"]+", r"\1…", text, flags=re.IGNORECASE)
    return re.sub(
        r"((?<![?&])\b[a-z]{0,20}password\s{0,5}=\s{0,5})('(?:[^'\\]|\\.){0,500}'|(?:[^\s\\]|\\.)+)",
        r"\1…",
        text,
        flags=re.I,
    )
