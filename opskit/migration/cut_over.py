"""The cut-over: from then on the application's new rows are queued. It is a separate step, with a preview."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opskit.database import Database, queries
from opskit.migration.applying import run
from opskit.migration.state import queues_new
from opskit.migration.steps import Step
from opskit.queue.readiness import demand_standing
from opskit.support.wording import count, span

EXACT_ROWS = 100_000
"""Rows without a status up to which they are counted in a table of any size [rows]."""
EXACT_BYTES = 2**26
"""Size of the table up to which rows are counted [bytes]; of a larger one the newest pages are looked at."""


def queue_new(db: Database, *, on: bool = True) -> None:
    """Cut over: from now on new rows are queued; off: they wait without a status again.

    Args:
        db: An open database.
        on: Whether new rows are to be queued.

    Raises:
        NotMigratedError: The table is not migrated, or by half; nothing was changed.

    SQL: sql/queue_new.sql, sql/no_queue_new.sql
    """
    db.writing()
    run(db, cut_over_step(db, on=on))


def cut_over_step(db: Database, *, on: bool = True) -> Step:
    """The one statement of the cut-over, or of its undoing.

    Args:
        db: An open database.
        on: Whether new rows are to be queued.

    Raises:
        NotMigratedError: The table is not migrated, or by half: new rows would be queued that nobody may take.
    """
    demand_standing(db)
    name = "queue_new" if on else "no_queue_new"
    statement = queries.statements(name)[0].compose(db.names).as_string()
    return Step(name, "cut over" if on else "undo the cut-over", "ACCESS EXCLUSIVE, a moment", statement)


def preview(db: Database, *, on: bool = True) -> dict[str, Any]:
    """What a cut-over, or its undoing, would change, and for whom; changes nothing.

    Args:
        db: An open database, migrated.
        on: Whether new rows are to be queued.

    Returns:
        changes (whether it would change anything), waiting (rows without a status; "estimated" says whether
        counted), per_hour (new rows in the last hour; None when the table does not tell), queued, nodes (those
        alive, by name), paused (those of them that claim nothing), older (whoever works without a token: server,
        holding, ended in the last hour, last_seconds), and sentences, which say it in words.

    SQL: sql/migrate/cut_over.sql, sql/migrate/older.sql, sql/doctor/waiting.sql, sql/nodes.sql
    """
    demand_standing(db)
    found = db.one("migrate/cut_over", exact_bytes=EXACT_BYTES)
    waiting = db.one("doctor/waiting", exact_rows=EXACT_ROWS, exact_bytes=EXACT_BYTES)
    nodes = [row for row in db.run("nodes") if row["state"] not in ("dead", "stopped")]
    idle = {"paused", "draining", "quarantined"}
    answer: dict[str, Any] = {
        "changes": queues_new(db) is not on,
        "waiting": waiting["waiting"],
        "estimated": waiting["estimated"],
        "per_hour": found["per_hour"],
        "queued": found["queued"],
        "nodes": [row["server_id"] for row in nodes],
        "paused": [row["server_id"] for row in nodes if row["state"] in idle],
        "older": db.run("migrate/older"),
    }
    answer["sentences"] = list(_forth(answer) if on else _back(answer))
    return answer


def _forth(answer: dict[str, Any]) -> Iterator[str]:
    if not answer["changes"]:
        yield "new rows are queued already; nothing would change"
    else:
        yield f"every new row is queued from then on{_rate(answer)}; rows that are there stay as they are"
    yield _takers(answer)
    if answer["waiting"]:
        yield f"{_waiting(answer)} without a status; opskit enqueue --existing --where … adopts those you name"
    for one in answer["older"]:
        yield (
            f"{one['server']} works without opskit: it holds {count(one['holding'], 'file')} and "
            f"has ended {one['ended']} in the last hour, "
            f"seen {_ago(one['last_seconds'])}; it finds no new rows without a status any more"
        )
    if not answer["older"]:
        yield "no older processor is seen; one that sets no status cannot be seen here: stop it, or have it set one"


def _back(answer: dict[str, Any]) -> Iterator[str]:
    if not answer["changes"]:
        yield "new rows wait without a status already; nothing would change"
    else:
        yield f"every new row waits without a status from then on{_rate(answer)}, and no node claims it"
    if answer["queued"]:
        one, many = "row that is queued stays", "rows that are queued stay"
        yield f"{count(answer['queued'], one, many, most=_MOST)} with the nodes"
    yield _takers(answer)


_MOST = 10_000  # as many of the queue are counted


def _takers(answer: dict[str, Any]) -> str:
    if not answer["nodes"]:
        return "no node is alive: what is queued waits until one is started"
    claiming = [name for name in answer["nodes"] if name not in answer["paused"]]
    idle = f"; {', '.join(answer['paused'])} claims nothing at present" if answer["paused"] else ""
    return f"{count(len(claiming), 'node claims', 'nodes claim')} what is queued: {', '.join(claiming) or 'none'}{idle}"


def _rate(answer: dict[str, Any]) -> str:
    rate = answer["per_hour"]
    return "" if rate is None else f", about {rate:,} an hour by uploaded_at lately"


def _waiting(answer: dict[str, Any]) -> str:
    return ("about " if answer["estimated"] else "") + count(answer["waiting"], "row waits", "rows wait")


def _ago(seconds: float | None) -> str:
    return "at a time unknown" if seconds is None else f"{span(seconds)} ago"
