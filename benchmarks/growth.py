"""Growth: does a node slow down when the table has ten million finished rows, or the queue a million files?

And what cleanup takes there: 10,000 stale claims among the finished rows.
"""

from __future__ import annotations

import time

from bench import Finding, Size, alone, ask, drain, empty, fill, finished, median_of, nodes, one, settle

from opskit import queue
from opskit.database import Database

STALE = 10_000


def measure(db: Database, size: Size) -> Finding:
    """One node's rate on small and large tables, and cleanup on the large one."""
    finding = Finding()
    few = min(1_000, size.queued)

    def on_few() -> float:
        empty(db)
        finished(db, 1_000)
        return drain(db, 1, size.files)

    rates = median_of(size.rounds, {"few": on_few})
    finished(db, size.finished)
    many = median_of(size.rounds, {"many": lambda: again(db, size)})["many"]
    flat(finding, f"1,000 → {size.finished:,} finished rows", rates["few"], many)
    cleanup(db, size, finding)
    empty(db)
    short = median_of(size.rounds, {"short": lambda: of_a_queue(db, few + size.files, size.files)})["short"]
    long = median_of(size.rounds, {"long": lambda: of_a_queue(db, size.queued, size.files)})["long"]
    flat(finding, f"{few:,} → {size.queued:,} queued", short, long)
    return finding


def again(db: Database, size: Size) -> float:
    """Drain once more beside the finished rows; those of before stay, as a few finished rows more."""
    ask(db, "UPDATE dev_uploaded_files SET processing_server_id = 'done' WHERE processing_server_id LIKE 'w%'")
    ask(db, "VACUUM dev_uploaded_files")
    return drain(db, 1, size.files)


def of_a_queue(db: Database, queued: int, files: int) -> float:
    """The first so many files of a queue of so many."""
    empty(db)
    fill(db, queued)
    ask(db, "VACUUM ANALYZE dev_uploaded_files")
    settle(db)
    with nodes(db, 1, "--max-files", str(files)) as (node,):
        node.wait()
    return float(
        one(
            db,
            """SELECT 0.8 * count(*) / extract(epoch FROM percentile_disc(0.9) WITHIN GROUP (ORDER BY ended)
                                                        - percentile_disc(0.1) WITHIN GROUP (ORDER BY ended))
                 FROM (SELECT processing_completed_at AS ended FROM dev_uploaded_files
                        WHERE processing_status = 'completed') AS f""",
        )
    )


def flat(finding: Finding, what: str, small: float, large: float) -> None:
    finding.table.append({"growth": what, "small [files/s]": round(small), "large [files/s]": round(large)})
    finding.goal(
        f"growth: {what}", "rate changes < 10 %", f"{small:,.0f} → {large:,.0f} files/s", large > 0.9 * small,
        large / small,
    )  # fmt: skip


def cleanup(db: Database, size: Size, finding: Finding) -> None:
    """Preview and cleanup of stale claims that older processors have left among the finished rows."""
    ask(
        db,
        f"""INSERT INTO dev_uploaded_files (original_filename, processing_status, processing_server_id,
                processing_started_at, processing_attempt)
            SELECT 'stuck-' || n, 'processing', 'old-' || n % 50, clock_timestamp() - interval '2 hours', 1
              FROM generate_series(1, {STALE}) AS n""",
    )
    ask(db, "ANALYZE dev_uploaded_files")
    settle(db)
    began = time.perf_counter()
    shown = len(queue.preview(db))
    previewed = time.perf_counter()
    ended = len(queue.cleanup(db, actor="bench", limit=STALE).ended)
    took = time.perf_counter() - began
    finding.table.append(
        {
            "growth": f"{ended:,} stale claims of {shown:,} among {size.finished:,} rows",
            "preview [s]": round(previewed - began, 2),
            "cleanup [s]": round(took - (previewed - began), 2),
        }
    )
    finding.goal(
        f"preview + cleanup of {ended:,} among {size.finished:,} rows", "< 1 s", f"{took:.2f} s",
        took < 1 and ended == STALE,
    )  # fmt: skip


if __name__ == "__main__":
    alone("growth", measure, __doc__)
