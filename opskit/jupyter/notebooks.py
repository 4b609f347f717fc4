"""The notebooks: take them out of the package, open them, and what they need to be tried without harm.

    copy, open_lab   the files themselves
    welcome          an embedded database that is empty gets the sample files, processed by two real nodes
    scratch          a schema of its own in the same database, where anything may be played; close() drops it
    work             real nodes, until the queue is empty

A scratch is a schema, not another table name: the nodes, events and pauses of an environment are one set,
and a rollback on a scratch table beside the real one would drop them.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from opskit import migration, queue
from opskit.database import Database, embedded
from opskit.database.scratch import first_value
from opskit.errors import EmbeddedServerError, MissingExtraError, OpskitError, SettingError
from opskit.files.listing import expand
from opskit.local.nodes import run_until_drained
from opskit.local.samples import SAMPLES
from opskit.settings import Settings
from opskit.support.resources import folder

# Figures travel as data, which JupyterLab and VS Code draw; plotly's own choice would put 4 MB of script into
# every notebook. Plotly reads this when it draws its first figure.
os.environ.setdefault("PLOTLY_RENDERER", "plotly_mimetype")
FOLDER = folder("notebooks")


def copy(folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Copy the notebooks into a folder, which is made if it is missing.

    Args:
        folder: Where they shall lie.
        overwrite: Replace those that are there already. Defaults to keeping them: they may hold work.

    Returns:
        The notebooks that were written, by name.

    Raises:
        OpskitError: The folder cannot be written.
    """
    target = Path(folder).expanduser()
    written = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for source in sorted(FOLDER.glob("*.ipynb")):
            place = target / source.name
            if overwrite or not place.exists():
                shutil.copyfile(source, place)
                written.append(place)
    except shutil.SameFileError:
        raise OpskitError(f"{str(target)!r} is where the notebooks come from; name another folder") from None
    except OSError as error:
        raise OpskitError(f"the notebooks cannot be copied to {str(target)!r}: {error.strerror}") from error
    return written


def differing(folder: str | os.PathLike[str]) -> list[Path]:
    """The notebooks of a folder that are not as this version has them, by name: worked on, or of another version.

    Their outputs do not count.
    """
    kept = [Path(folder).expanduser() / source.name for source in sorted(FOLDER.glob("*.ipynb"))]
    return [path for path in kept if path.is_file() and _cells(path) != _cells(FOLDER / path.name)]


def _cells(path: Path) -> object:
    """The cells of a notebook as text; None for a file that is no notebook."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_lab(folder: str | os.PathLike[str], settings: Settings | None = None, *, arguments: Sequence[str] = ()) -> int:
    """Copy the notebooks into a folder, open it in JupyterLab, and stay until that ends.

    Args:
        folder: Where they lie or shall lie.
        settings: Which database they open by themselves. Defaults to the environment's.
        arguments: For JupyterLab, such as --no-browser. As root it is allowed to run.

    Returns:
        JupyterLab's exit code.

    Raises:
        MissingExtraError: JupyterLab is not installed.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingExtraError("JupyterLab", "notebooks")
    settings = settings or Settings.load()
    copy(folder)
    # A kernel works in its notebook's folder: a relative home would be another server there.
    settings = dataclasses.replace(settings, home=str(settings.home_path))
    # Ctrl-C is JupyterLab's, which asks back: a handler that does nothing is not inherited.
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        root = ["--allow-root"] if os.geteuid() == 0 else []
        command = [sys.executable, "-P", "-m", "jupyterlab", str(Path(folder).expanduser()), *root, *arguments]
        return subprocess.call(command, env={**os.environ, **settings.environ()})
    finally:
        signal.signal(signal.SIGINT, previous)


def welcome(db: Database) -> int:
    """Give an empty embedded database of development the sample files, and have two real nodes process them.

    Any other database, a read-only connection, the tables of production, and an embedded database that has files are
    left as they are. The nodes run the built-in processor with times as by default, whatever the settings say. What
    was done is printed.

    Args:
        db: An open database.

    Returns:
        How many files were processed.
    """
    if db.settings.env != "development" or db.settings.read_only or not _is_embedded(db):
        return 0
    # A connection of its own: the lock ends with it. Who comes second waits, and finds the files.
    with Database(db.settings, pooled=False) as alone, alone.connection() as connection:
        # Asked again and again: the snapshot of who waits inside the server would keep an index from being finished.
        while not first_value(connection, "SELECT pg_try_advisory_lock(hashtext('opskit notebooks welcome')) AS value"):
            time.sleep(0.1)
        if migration.exists(db, "files") and db.run("any_file"):
            return 0
        migrated = migration.check(db)
        if not migrated:
            migration.migrate(db)
        count = queue.enqueue(db, samples(), skip_known=True)
        run_until_drained(_as_by_default(db.settings), ["notebook-a", "notebook-b"], max_files=(count + 1) // 2)
    made = "" if migrated else "was migrated, "
    print(f"{db.settings.files} (development) {made}got {count} sample files, and two nodes processed them")
    return count


def url_in(variable: str) -> str | None:
    """The URL of a database that an environment variable holds.

    A notebook takes the variable's name as its parameter: papermill writes parameters into the notebook that it makes.

    Args:
        variable: Its name; "" for none.

    Returns:
        What it holds; None for no name.

    Raises:
        SettingError: It is not set.
    """
    if not variable:
        return None
    url = os.environ.get(variable, "").strip()
    if not url:
        raise SettingError(f"database_env is {variable!r}, and there is no such environment variable, or it is empty")
    return url


def samples() -> list[str]:
    """The sample files' paths."""
    return [path for path, name, _ in expand([SAMPLES]) if name != "README.md"]


def _as_by_default(settings: Settings) -> Settings:
    """Settings that lead to the same tables, and are otherwise as by default: nobody's own processor runs."""
    return Settings(
        database_url=settings.database_url, env=settings.env, table=settings.table, home=str(settings.home_path)
    )


def _is_embedded(db: Database) -> bool:
    try:
        return embedded.url(db.settings) == db.settings.database_url
    except EmbeddedServerError:
        return False
