"""A file whose bytes come for ever."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from opskit.database import Database
from tests.support.tables import files


@contextlib.contextmanager
def dripping(db: Database, folder: Path) -> Iterator[str]:
    """Queue such a file, and return its id: load_table holds its row for as long, inside one COPY."""
    pipe = folder / "sales.csv"
    os.mkfifo(pipe)
    stop = threading.Event()

    def drip() -> None:
        with contextlib.suppress(BrokenPipeError), pipe.open("w") as out:
            out.write("a,b\n")
            while not stop.wait(0.01):
                out.write("1,2\n" * 1000)
                out.flush()

    writer = threading.Thread(target=drip)
    writer.start()
    try:
        yield files(db, "sales.csv", storage_path=str(pipe))[0]
    finally:
        stop.set()
        with contextlib.suppress(OSError):  # nobody reads: the writer still waits for a reader
            os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
        writer.join()
