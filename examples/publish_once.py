"""A processor with an effect outside the database: a compressed copy, published exactly once.

An attempt may be killed after it has written its copy, and the file is then processed again. So each attempt writes
under its own token, and the name becomes known in the transaction that completes the file. A copy that nobody knows is
rubbish, never a second result.

OUTBOX=/srv/outbox PYTHONPATH=examples python -m opskit.worker --processor publish_once:process
"""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import opskit


def process(file: opskit.ClaimedFile) -> dict[str, str]:
    """Compress one file; its copy is published with the completion."""
    outbox = Path(os.environ["OUTBOX"])
    copy = outbox / f"{file.id}-{file.token}.gz"
    with file.open() as source, gzip.open(copy, "wb") as target:
        shutil.copyfileobj(source, target)
    with file.completing() as tx:
        tx.execute("CREATE TABLE IF NOT EXISTS published (file_id text PRIMARY KEY, path text NOT NULL)")
        tx.execute(
            "INSERT INTO published VALUES (%s, %s) ON CONFLICT (file_id) DO UPDATE SET path = excluded.path",
            (file.id, str(copy)),
        )
    return {"published": copy.name}
