"""psql on the embedded server: a prompt, or what its arguments say."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from urllib.parse import urlsplit

from opskit.database import embedded
from opskit.database.programs import explained, find_binaries
from opskit.errors import EmbeddedServerError
from opskit.settings import Settings


@explained()
def run(settings: Settings, argv: Sequence[str] = ()) -> int:
    """Run psql on the embedded server, which is started if need be; for the main thread only.

    Args:
        settings: As for `start`.
        argv: Arguments of psql, such as ["-c", "SELECT 1"]. Defaults to none: a prompt.

    Returns:
        The exit code of psql.

    Raises:
        EmbeddedServerError: The server does not start, or there is no psql.
    """
    server = urlsplit(embedded.start(settings))
    folder = find_binaries(settings)
    program = shutil.which("psql", path=folder) or shutil.which("psql")
    if program is None:
        raise EmbeddedServerError(f"there is no psql, neither in {folder} nor on PATH")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environ |= {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGDATABASE": embedded.DATABASE}
    environ |= {"PGUSER": embedded.USER, "PGPASSWORD": str(server.password)}
    # Ctrl-C is psql's, to cancel a query: a handler that does nothing is not inherited, SIG_IGN would be.
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.call([program, *argv], env=environ)
    finally:
        signal.signal(signal.SIGINT, previous)
