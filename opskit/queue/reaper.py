"""The reaper ends stale claims and orphans: on every node by itself, and when an operator runs a cleanup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import DatabaseError
from opskit.support import notebook_output

LOOK_SECONDS = 2.0
"""Least age of the suspicion (the same lease end, seen before) on which an operator's cleanup acts [s]."""
# No privilege; a transaction, a session or a whole server that only reads.
_READS_ONLY = ("42501", "25006")


@dataclass(frozen=True, slots=True)
class Cleanup:
    """The result of a cleanup.

    Attributes:
        ended: Claims ended now, oldest first: id, original_filename, server_id, started_at, outcome
            (failed or queued), reason, verdict, claim.
        pending: Claims that a second look would end, and those that a trigger of the table does not let end, as
            their reason says.
        skipped: Claims that were asked for, and have moved on by themselves.
    """

    ended: list[Row]
    pending: list[Row]
    skipped: list[str]

    @property
    def message(self) -> str:
        """The sentence that clients of the API have always been given."""
        if not self.ended:
            return "No stale processing locks found"
        return f"Cleaned up {len(self.ended)} stale processing locks"

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return notebook_output.cleanup(self.message, ended=self.ended, pending=self.pending, skipped=self.skipped)


def cleanup(
    db: Database,
    *,
    claims: Sequence[str] = (),
    server_id: str = "",
    look_seconds: float | None = LOOK_SECONDS,
    limit: int = 10_000,
    evict: bool = True,
    actor: str = "",
    reason: str = "",
) -> Cleanup:
    """End the claims that nobody works on any more.

    Stale claims fail, orphans are queued again while their retry budget lasts. Ages are judged by the
    database's clock and by the owner's policy; what needs a second look is answered as pending.
    A claim that has moved on since it was looked at is never touched.

    Args:
        db: An open database.
        claims: Only these, as `preview` names them. Defaults to all.
        server_id: Only this server's. Defaults to all.
        look_seconds: Age of the look that must have seen the same [s]; None: the owner's beat, as nodes do it.
        limit: Most claims to end in one call.
        evict: First end the transactions that boots which are out have left open; the rows that they lock are passed
            over until then.
        actor: Who does it, for the history. Defaults to the connection's.
        reason: Why, for the history.

    Raises:
        DatabaseUnavailableError: No answer; run it again.

    SQL: sql/evict.sql, sql/look.sql, sql/cleanup.sql
    After: River, internal/maintenance/job_rescuer.go, for the shape; its rescue by id alone is what we avoid.
    """
    db.writing()
    age = "" if look_seconds is None else look_seconds
    if evict:
        db.run("evict", env=db.settings.env, look_seconds=age)
    db.run("look")
    rows = db.run(
        "cleanup",
        stale_after_seconds=db.settings.stale_after_seconds,
        look_seconds=age,
        claims=list(claims),
        server_id=server_id,
        row_limit=limit,
        actor=actor or db.actor,
        reason=reason,
    )
    seen = {row["claim"] for row in rows}
    return Cleanup(
        ended=[row for row in rows if row["outcome"] != "pending"],
        pending=[row for row in rows if row["outcome"] == "pending"],
        skipped=[claim for claim in claims if claim not in seen],
    )


def take_look(db: Database) -> bool:
    """Count as the first of the two looks.

    Returns:
        Whether it counts: not where nothing can be written (read-only, a standby) or this role may not.

    SQL: sql/look.sql
    """
    if db.settings.read_only:
        return False
    try:
        db.run("look")
    except DatabaseError as error:
        if error.sqlstate not in _READS_ONLY:
            raise
        return False
    return True


class Preview(list[Row]):
    """The claims that a cleanup would end or suspects, each with its evidence: a list."""

    @property
    def message(self) -> str:
        """The same in a sentence."""
        if not self:
            return "nothing is stale: a cleanup would end no claim"
        verdicts = Counter(row["verdict"] for row in self)
        told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
        return f"{len(self)} {'claim' if len(self) == 1 else 'claims'}: {told}"

    def __repr__(self) -> str:
        lines = (f"  {row['original_filename']} on {row['processing_server_id']}: {row['verdict']}" for row in self)
        return "\n".join([self.message, *lines])

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return notebook_output.preview(self.message, self)


def preview(db: Database, *, look: bool = True, every: bool = False) -> Preview:
    """What cleanup would end or suspects, with the evidence.

    Args:
        db: An open database.
        look: Count as the first of the two looks, where this connection may write. False reads only.
        every: The claims that are well, too.

    Raises:
        NotMigratedError: The table is not migrated.
        DatabaseUnavailableError: No answer.

    SQL: sql/look.sql, sql/stale.sql
    """
    if look:
        take_look(db)
    return Preview(
        db.run("stale", stale_after_seconds=db.settings.stale_after_seconds, look_seconds=LOOK_SECONDS, every=every)
    )
