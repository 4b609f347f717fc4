"""The actor for the history: the person who runs this process."""

from __future__ import annotations

import getpass
import os
import socket


def person() -> str:
    """The user of JupyterHub ($JUPYTERHUB_USER), else the user of this machine, as name@host."""
    if name := os.environ.get("JUPYTERHUB_USER", "").strip():
        return name
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return f"{os.getuid()}@{socket.gethostname()}"
