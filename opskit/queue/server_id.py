"""The server ID: the name under which a node claims files."""

from __future__ import annotations

import functools
import os
import socket
import time
import unicodedata
from dataclasses import dataclass
from typing import Any

from opskit.errors import SettingError
from opskit.settings import Settings
from opskit.support.memory import resident_bytes

LONGEST = 100
_STARTED_MONOTONIC = time.monotonic()


def server_id(settings: Settings | None = None) -> str:
    """The server ID of this process: NODE_ID, or one made of host and process.

    In production `hostname-pid`, in development `hostname-pid-startupmilliseconds`; made once per
    process and kept. A forked child is another process and gets its own.

    Args:
        settings: Settings to use. Defaults to those of the environment.

    Raises:
        SettingError: NODE_ID cannot be used.
    """
    settings = settings or Settings.load()
    if settings.node_id is not None:
        return check_server_id(settings.node_id)
    return _made(os.getpid(), settings.env)


@functools.cache
def _made(pid: int, env: str) -> str:
    host = socket.gethostname()[:60] or "host"
    return f"{host}-{pid}" if env == "production" else f"{host}-{pid}-{int(time.time() * 1000)}"


@dataclass(slots=True)
class Boot:
    """One life of a node: its server ID, the uuid of this boot, and the epoch it claims under."""

    server_id: str
    boot: str
    epoch: int


def check_server_id(value: str) -> str:
    """Return *value* stripped, or say why it cannot be a server ID.

    Raises:
        SettingError: It is empty, too long, `*`, or has control characters.
    """
    stripped = value.strip()
    if not stripped:
        raise SettingError("NODE_ID is empty; give the node a name or unset it")
    if stripped == "*":
        raise SettingError("NODE_ID is '*', which stands for all nodes; give the node another name")
    if len(stripped) > LONGEST:
        raise SettingError(f"NODE_ID is {len(stripped)} characters long; at most {LONGEST} are allowed")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in stripped):
        raise SettingError(f"NODE_ID is {stripped!r}; control characters are not allowed")
    return stripped


def server_info(settings: Settings | None = None) -> dict[str, Any]:
    """What this process is: the answer of `GET /api/processing/server-info` without its counts.

    Returns:
        JSON keys of the API: serverId, shortServerId, hostname, platform, architecture,
        pythonVersion, processId, environment, uptime [s], memoryUsage {rss [bytes]}, version, table.
    """
    import platform

    from opskit._version import __version__

    settings = settings or Settings.load()
    own = server_id(settings)
    return {
        "serverId": own,
        "shortServerId": own if len(own) <= 20 else own[:8] + "…" + own[-11:],
        "hostname": socket.gethostname(),
        "platform": platform.system().lower(),
        "architecture": platform.machine(),
        "pythonVersion": platform.python_version(),
        "processId": os.getpid(),
        "environment": settings.env,
        "uptime": round(time.monotonic() - _STARTED_MONOTONIC, 3),
        "memoryUsage": {"rss": resident_bytes()},
        "version": __version__,
        "table": settings.files,
    }
