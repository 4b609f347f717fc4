"""Under a pinned xmin: a long transaction stops vacuum, and a queue that walks its dead entries slows down."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import psycopg
from bench import HERE, database, fill, tell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=50_000)
    given = parser.parse_args()
    tenth = given.files // 10
    with database() as db:
        fill(db, given.files)
        url = db.settings.database_url or ""
        with psycopg.connect(url) as pinning:
            pinning.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            pinning.execute("SELECT count(*) FROM dev_uploaded_files")
            environ = {**os.environ, **db.settings.environ(), "NODE_ID": "w", "PYTHONPATH": str(HERE)}
            subprocess.run(
                [sys.executable, "-m", "opskit.worker", "--drain", "--processor", "bench:nothing"],
                env=environ, check=True, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        with db.connection() as connection:
            rows = connection.execute(
                f"""SELECT (n - 1) / {tenth} AS tenth, count(*) / extract(epoch FROM max(ended) - min(ended)) AS rate
                      FROM (SELECT processing_completed_at AS ended,
                                   row_number() OVER (ORDER BY processing_completed_at) AS n
                              FROM dev_uploaded_files) AS f
                     GROUP BY 1 ORDER BY 1""".encode()
            ).fetchall()
    first = float(rows[0]["rate"])
    tell(
        "pinned",
        [
            {
                "files": f"{row['tenth'] * tenth + 1:,} to {(row['tenth'] + 1) * tenth:,}",
                "files a second": round(row["rate"]),
                "of the first": round(float(row["rate"]) / first, 3),
            }
            for row in rows
        ],
    )


if __name__ == "__main__":
    main()
