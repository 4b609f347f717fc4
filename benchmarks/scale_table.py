"""A large table for the benchmarks, with a queue and claims: made once and, where a folder is named, kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from opskit import migration
from opskit.database import Database, embedded
from opskit.settings import Settings

SERVERS = 50
QUEUED = 10_000
OPTIONS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "maintenance_work_mem": "512MB", "track_io_timing": "on"}


def fill(db: Database, rows: int) -> None:
    """So many finished files, 2 % of them failed; as many claims as servers, and a queue; the indexes built last."""
    with db.connection() as connection:
        connection.execute(b"TRUNCATE dev_uploaded_files, dev_processing_nodes, dev_processing_events RESTART IDENTITY")
        for name in [key for key in db.names if key.endswith("_index")]:
            connection.execute(f"DROP INDEX IF EXISTS {db.names[name]}".encode())
        text = Path(__file__).with_suffix(".sql").read_text()
        for name, value in {":rows": rows, ":servers": SERVERS, ":queued": min(QUEUED, rows)}.items():
            text = text.replace(name, str(value))
        connection.execute(text.encode())
    migration.migrate(db)
    with db.connection() as connection:
        connection.execute(b"VACUUM (ANALYZE) dev_uploaded_files, dev_processing_nodes, dev_processing_events")
        connection.execute(b"CHECKPOINT")


def claim(db: Database, rows: int) -> None:
    """Each server holds its file again, half of them for two hours without progress: a kept table's claims grow old."""
    with db.connection() as connection:
        connection.execute(
            b"UPDATE dev_processing_nodes SET beat_at = now(), lease_until = now() + interval '1 d',"
            b" looked_lease = NULL, looked_at = NULL, stale_token = NULL, stale_at = NULL, token = gen_random_uuid()"
        )
        connection.execute(
            b"UPDATE dev_uploaded_files AS f SET processing_status = 'processing', processing_server_id = n.server_id,"
            b" processing_started_at = now() - right(n.server_id, 2)::int %% 2 * interval '2 h',"
            b" processing_completed_at = NULL, processing_errors = NULL, processing_failures = 0,"
            b" processing_token = n.token, processing_done_token = NULL, processing_epoch = n.epoch"
            b"  FROM dev_processing_nodes AS n WHERE f.id > %s AND f.id <= %s"
            b"   AND n.server_id = 'upload-node-' || lpad(substring(f.original_filename FROM '\\d+'), 2, '0')",
            (rows, rows + SERVERS),
        )


@contextlib.contextmanager
def table(rows: int, folder: str | None = None) -> Iterator[Database]:
    """A server of its own with such a table; in *folder* both are kept, and found again by the next run.

    Args:
        rows: Finished files.
        folder: Where to keep them. Defaults to nowhere: they are made, and removed at the end.
    """
    made = None if folder else tempfile.mkdtemp(prefix="opskit-scale-", dir=os.environ.get("BENCH_DIR"))
    home = Path(made or Path(folder or ".") / f"rows-{rows}")
    settings = Settings.load({}, home=str(home), pg_port=21433)
    home.mkdir(parents=True, exist_ok=True)
    try:
        url = embedded.start(settings, OPTIONS)
        with Database(Settings.load({}, database_url=url, home=str(home))) as db:
            migration.migrate(db)
            if not db.run("any_file"):
                began = time.monotonic()
                fill(db, rows)
                print(f"{rows:,} rows in {time.monotonic() - began:.0f} s", flush=True)
            claim(db, rows)
            yield db
    finally:
        embedded.stop(settings)
        if not folder:
            shutil.rmtree(home, ignore_errors=True)
