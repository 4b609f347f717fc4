"""A processor: the rows of a CSV file into a table, in the transaction that completes the file.

PYTHONPATH=examples python -m opskit.worker --processor ledger:process
"""

from __future__ import annotations

import csv
import io

import opskit


def process(file: opskit.ClaimedFile) -> dict[str, int]:
    """Load one file; its rows and `completed` commit together, or neither."""
    with file.open() as stream:  # a path, s3://… or the row's file_content; what is read counts as progress
        rows = list(csv.reader(io.TextIOWrapper(stream, "utf-8")))
    if not rows:
        raise opskit.Reject("the file is empty")  # the file is bad: failed at once, no retry
    with file.completing() as tx:
        tx.execute("CREATE TABLE IF NOT EXISTS ledger (file_id text, line text[])")
        for row in rows[1:]:
            tx.execute("INSERT INTO ledger VALUES (%s, %s)", (file.id, row))
    return {"records": len(rows) - 1}  # stored in processing_result
