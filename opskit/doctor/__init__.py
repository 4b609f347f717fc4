"""The doctor: looks at one environment and says what is wrong, why it matters, and the command that mends it.

Each check asks one file of `sql/doctor/` and words what it finds. It reads catalogs, the live states' partial
indexes and bounded stretches of the table, never the whole of a large one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from opskit import migration
from opskit.database import Database
from opskit.doctor import libraries, server, table, trends, work
from opskit.doctor.finding import Check, Condition, Finding, Findings, opskit
from opskit.errors import DatabaseError

__all__ = ["CHECKS", "WORK", "Condition", "Finding", "Findings", "examine"]
CHECKS: tuple[Check, ...] = (
    table.privileges, server.durability, table.structure,
    work.queue, work.lanes, work.claims, trends.failing, trends.backlog, work.nodes, work.quarantines, work.pauses,
    work.breaker, work.pruning, work.durations,
    table.environments, table.triggers, table.indexes,
    server.heartbeats, server.horizon, server.vacuum, server.connections, server.pooler, server.clock,
    libraries.libraries,
)  # fmt: skip
"""Every check but `work.waiting`, which has to be told whether the table is cut over."""
WORK = frozenset({"queue", "lanes", "claims", "nodes", "quarantines", "breaker", "pauses", "failing", "backlog"})
"""The checks of the work itself, by name: what they find needs a person now, warnings too."""
_DENIED, _CANCELED = "42501", "57014"


def examine(db: Database, *, missing: Sequence[str] | None = None, queues_new: bool | None = None) -> Findings:
    """Examine one environment: its tables, its nodes, and the server as far as it matters to them.

    Reads only. What this role may not look at, or what does not answer within the connection's time, is a
    finding too, never an exception.

    Args:
        db: An open database.
        missing: What `state.missing` answers. Defaults to asking it.
        queues_new: What `state.queues_new` answers. Defaults to asking it.

    Returns:
        What was found, errors first; none when all is well. A list, which a notebook shows as a table.

    Raises:
        DatabaseUnavailableError: No answer.

    SQL: sql/doctor/*.sql
    After: PgHero, for the shape: each finding with the statement that mends it.
    """
    page = f"{db.settings.page_url.rstrip('/')}/doctor" if db.settings.page_url else ""
    if missing is None:
        missing = migration.missing(db)
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        what = "; ".join(missing[:5]) + more
        return Findings(
            [
                Finding(
                    "error",
                    what,
                    "without them the promises do not hold",
                    opskit(db, "migrate"),
                    condition=Condition.NOT_MIGRATED,
                    page=page,
                )
            ]
        )
    if queues_new is None:
        queues_new = migration.queues_new(db)
    findings: list[Finding] = []
    unexamined: dict[str, list[str]] = {_DENIED: [], _CANCELED: []}
    checks: dict[str, Check] = {"waiting": partial(work.waiting, queues_new=queues_new)}
    for name, check in (checks | {check.__name__: check for check in CHECKS}).items():
        try:
            findings += [replace(finding, check=name) for finding in check(db)]
        except DatabaseError as error:
            if error.sqlstate not in unexamined:
                raise
            unexamined[error.sqlstate].append(name)
    findings += _unexamined(db, denied=unexamined[_DENIED], late=unexamined[_CANCELED])
    return Findings(replace(one, page=page) for one in sorted(findings, key=lambda finding: finding.level))


def _unexamined(db: Database, *, denied: list[str], late: list[str]) -> Iterator[Finding]:
    why = "what is wrong there stays unknown"
    if denied:
        role = db.one("doctor/session")["role"]
        mend = f"GRANT pg_read_all_data, pg_monitor TO {role};"
        yield Finding(
            "warning",
            f"{role} may not look at: {', '.join(denied)}",
            why,
            mend,
            condition=Condition.NOT_ALLOWED_TO_LOOK,
        )
    if late:
        mend = opskit(db, "doctor") + "  # a shell waits as long as it takes"
        yield Finding(
            "warning", f"no answer in time about: {', '.join(late)}", why, mend, condition=Condition.NO_ANSWER_IN_TIME
        )


def __dir__() -> list[str]:
    return __all__
