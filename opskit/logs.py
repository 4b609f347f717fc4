"""Logging: every line carries the server ID and the environment."""

from __future__ import annotations

import logging
import sys


def set_up_logging(server_id: str, env: str, *, verbose: bool = False) -> None:
    """Send opskit's log to stderr, each line under the server ID and the environment it acts on."""
    own = logging.getLogger("opskit")
    handler = logging.StreamHandler(sys.stderr)
    # A server ID may hold a percent sign; the format is not the place for it.
    head = f"[{server_id} {env}]".replace("%", "%%")
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)-7s {head} %(message)s"))
    own.handlers[:] = [handler]
    own.propagate = False
    own.setLevel(logging.DEBUG if verbose else logging.INFO)
