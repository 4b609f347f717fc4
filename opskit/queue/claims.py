"""Claims: take a file, hold it under a token, let it go in the right state.

Whoever claims makes the token before asking, so that a lost answer can be looked up. Every statement
that ends a claim repeats the token in its WHERE: only the newest claim's token can finish a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import ClaimLostError, DatabaseError, DatabaseUnavailableError, NotClaimableError
from opskit.queue.cancelling import end_cancelled
from opskit.queue.completing import Completing, completed_by
from opskit.queue.error_identity import Identity, of_text
from opskit.queue.lanes import Lane, Turn
from opskit.queue.server_id import Boot
from opskit.queue.stored import as_json, clean_error
from opskit.support import notebook_output
from opskit.support.retry import Backoff

__all__ = ["completed_by", "completing"]
completing = Completing
ALL_OF_THE_QUEUE = "-infinity"
# A constant key in the index of one file per node decays under a pinned xmin: 1379 to 263 files/s after 10,000.
# Each dead claim of the epoch costs a page then (82 to 480 within 500 claims); each new epoch costs two statements.
CLAIMS_PER_EPOCH = 200
# By whether there are lanes, and whether one of them is asked alone.
_HOT = {None: "complete_and_claim", True: "complete_and_claim_of_lane", False: "complete_and_claim_in_turn"}


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a claim.

    Attributes:
        outcome: claimed, empty, paused or deposed.
        token: The token under which it was asked.
        row: The claimed file's columns; None unless claimed.
        next_seconds: When nothing is due: seconds until the next queued file is; None when there is none. While the
            breaker is open: seconds until its next probe is.
        probe: Whether it was claimed in quarantine, to see whether the node is well again.
        broken: The error for which the breaker is open, also when the file was claimed as its probe; None when closed.
        healed_seconds: How long the breaker was open that this claim has found healed, and closed [s]; else None.
    """

    outcome: str
    token: str
    row: Row | None = None
    next_seconds: float | None = None
    probe: bool = False
    broken: str | None = None
    healed_seconds: float | None = None

    @property
    def lane(self) -> Lane:
        """The lane that the file was claimed from; None where it has none, or lanes are off."""
        return self.row.get("lane") if self.row else None

    @property
    def cursor(self) -> str:
        """Where the next claim may begin to look."""
        return self.row["queued_at"] if self.row else ALL_OF_THE_QUEUE

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return notebook_output.record(f"claim: {self.outcome}", {**(self.row or {}), "token": self.token})


def new_token() -> str:
    """A token for one claim: a random uuid (version 4), made in a fifth of the time that uuid.uuid4() takes."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def claim(
    db: Database,
    node: Boot,
    *,
    after: str = ALL_OF_THE_QUEUE,
    token: str | None = None,
    turn: Turn | None = None,
) -> Answer:
    """Claim the next file of the queue.

    Args:
        db: An open database.
        node: Who claims.
        after: Cursor: an earlier answer's, or "-infinity" for a full look.
        token: Made before asking. Defaults to a new one.
        turn: The lanes to claim from, each with a cursor of its own. Defaults to the whole queue.

    Raises:
        DatabaseUnavailableError: No answer; the claim may stand. Raise the epoch (`nodes.advance`) and look at what is
            `held` before anything else.

    SQL: sql/claim.sql, sql/breaker_close.sql, sql/breaker_probe.sql; with *turn* their fellows …_in_turn.sql
    """
    db.writing()
    token = token or new_token()
    who = {"server_id": node.server_id, "boot": node.boot, "epoch": node.epoch, "token": token}
    where: dict[str, str] = {"after": after} if turn is None else turn.values
    claim, probe = ("claim", "breaker_probe") if turn is None else ("claim_in_turn", "breaker_probe_in_turn")
    (row,) = db.run(claim, **where, **who)
    broken, healed = row["broken"], None
    if broken:
        try:
            healed = next(iter(db.run("breaker_close", server_id=node.server_id)), None)
            if healed is not None:
                (row,) = db.run(claim, **where, **who)
                broken = row["broken"]
            elif row["next_seconds"] <= 0:
                (row,) = db.run(probe, **(where if turn else {}), **who)
        except DatabaseError as error:
            # A role with the rights of an older version may neither close it nor take the probe: others do.
            if error.sqlstate != "42501":
                raise
            row["next_seconds"] = None
    healed_seconds = healed["open_seconds"] if healed else None
    return replace(_answer(row, token), broken=broken, healed_seconds=healed_seconds)


def claim_one(db: Database, node: Boot, id: str) -> Answer:
    """Claim one given file, by hand; safe beside the scheduled nodes.

    Raises:
        NotClaimableError: It is not queued; the message says in which state it is and who has it.

    SQL: sql/claim_one.sql
    """
    db.writing()
    token = new_token()
    try:
        (row,) = db.run("claim_one", server_id=node.server_id, boot=node.boot, epoch=node.epoch, token=token, id=id)
    except DatabaseError as error:
        if error.sqlstate and error.sqlstate.startswith("22"):
            raise NotClaimableError(f"there is no file {id!r}: the table's ids look different") from error
        raise
    if row["outcome"] == "empty":
        raise NotClaimableError(_why_not(db, id))
    return _answer(row, token)


def complete_and_claim(
    db: Database,
    node: Boot,
    *,
    id: str,
    done_token: str,
    result: Mapping[str, Any] | None,
    after: str,
    token: str,
    turn: Turn | None = None,
) -> Answer | None:
    """Complete the file in hand and claim the next: one statement, one round trip, one commit.

    Args:
        turn: The lanes to claim from. Defaults to the whole queue, from *after* on.

    Returns:
        The next file; None when there is none to be had, or the one in hand was not completed: ask `complete`
        and `claim`, which say why.

    Raises:
        DatabaseUnavailableError: No answer; both may have happened. `complete`, then `nodes.advance` and `held`,
            find out.

    SQL: sql/complete_and_claim.sql; with *turn* sql/complete_and_claim_of_lane.sql, sql/complete_and_claim_in_turn.sql
    """
    where: dict[str, str] = {"after": after} if turn is None else turn.values
    row: Row = db.ask(
        _HOT[None if turn is None else turn.alone],
        server_id=node.server_id,
        boot=node.boot,
        epoch=str(node.epoch),
        id=id,
        done_token=done_token,
        result=as_json(result),
        token=token,
        **where,
    )
    if not row:
        return None
    row["attempt"], row["failures"] = int(row["attempt"]), int(row["failures"] or 0)
    row["file_size"] = None if row["file_size"] is None else int(row["file_size"])
    return Answer("claimed", token, row)


def complete(
    db: Database,
    *,
    id: str,
    token: str,
    result: Mapping[str, Any] | None = None,
    patience_seconds: float = 30.0,
) -> str:
    """Complete a file under its token, with patience for a database that is away for a moment.

    Args:
        db: An open database.
        id: The file.
        token: Its claim's token: the fence.
        result: Stored with the row, as JSON.
        patience_seconds: How long to try again when the database is away or an earlier try is in flight [s].

    Returns:
        "done", or "already" when an earlier try whose answer was lost has done it.

    Raises:
        ClaimLostError: The claim is no longer this token's; nothing was written.
        DatabaseUnavailableError: No answer within the patience; unknown whether it is completed.

    SQL: sql/complete.sql
    """
    backoff = Backoff(0.05, 2.0, patience_seconds)
    while True:
        try:
            answer = db.one("complete", id=id, token=token, result=as_json(result))["answer"]
        except DatabaseUnavailableError:
            if backoff.is_last:
                raise
            answer = "again"
        if answer == "lost":
            raise ClaimLostError(f"the claim of file {id} is lost; its completion was refused")
        if answer != "again":
            return str(answer)
        if backoff.is_over:
            raise DatabaseUnavailableError(f"file {id} is locked by another transaction; it is not completed")
        backoff.wait()


def store_result(db: Database, *, id: str, token: str, result: Mapping[str, Any]) -> bool:
    """Store the result of a file that was completed within `completing`.

    Returns:
        Whether it is stored: False when the row has moved on since, or is gone.

    SQL: sql/store_result.sql
    """
    return bool(db.run("store_result", id=id, token=token, result=as_json(result)))


def fail(
    db: Database,
    *,
    id: str,
    token: str,
    outcome: str,
    error: str,
    max_failures: int,
    retry_seconds: float,
    actor: str,
    identity: Identity | None = None,
    wait_seconds: float | None = None,
) -> str:
    """End an attempt that went wrong, with the reason, in one transaction.

    Args:
        outcome: raised or crashed (tried again while the budget lasts), rejected or timeout (failed at once).
        error: Why, as it is stored.
        identity: What the failure is grouped by. Defaults to the last line of *error*.
        wait_seconds: Wait before the retry [s]. Defaults to *retry_seconds*, doubled for each further one.

    Returns:
        The state that follows: "queued" or "failed"; "lost" when the claim is no longer this token's
        (which is no alarm: an earlier try whose answer was lost may have done it).

    SQL: sql/fail.sql
    """
    row = db.one(
        "fail",
        id=id,
        token=token,
        outcome=outcome,
        error=clean_error(error),
        identity=(identity or of_text(error)).as_json(),
        max_failures=max_failures,
        retry_seconds=retry_seconds,
        wait_seconds="" if wait_seconds is None else wait_seconds,
        actor=actor,
    )
    return _ended(db, row["answer"], id=id, token=token, actor=actor)


def release(db: Database, *, id: str, token: str, reason: str, actor: str) -> str:
    """Give a file back unharmed: "queued", or "lost" when the claim is no longer this token's.

    Returns:
        "failed" where somebody has asked meanwhile to cancel it.

    SQL: sql/release.sql
    """
    answer = db.one("release", id=id, token=token, reason=reason, actor=actor)["answer"]
    return _ended(db, answer, id=id, token=token, actor=actor)


def _ended(db: Database, answer: str, *, id: str, token: str, actor: str) -> str:
    """The next state of the file; a claim with a cancel request ends as cancelled, whatever else has ended it."""
    return end_cancelled(db, id=id, token=token, actor=actor) if answer == "cancelled" else answer


def held(db: Database, server_id: str) -> list[Row]:
    """The claims that a server ID holds; more than one never stands.

    SQL: sql/held.sql
    """
    return db.run("held", server_id=server_id)


def _answer(row: Row, token: str) -> Answer:
    claimed = row["outcome"] == "claimed"
    probe = claimed and row.get("probe", False)
    return Answer(row["outcome"], token, row if claimed else None, row["next_seconds"], probe)


def _why_not(db: Database, id: str) -> str:
    rows = db.run("holder", id=id)
    if not rows:
        return f"there is no file {id!r} in {db.settings.files}"
    row = rows[0]
    status, server = row["status"], row["server_id"] or "an unnamed server"
    if row["deleted"]:
        return f"file {id} is deleted"
    if status == "processing":
        return f"file {id} is being processed by {server} since {row['started_at']:%Y-%m-%d %H:%M:%S}"
    if status in ("completed", "failed"):
        when = f" at {row['completed_at']:%Y-%m-%d %H:%M:%S}" if row["completed_at"] else ""
        return f"file {id} was {status} by {server}{when}; opskit requeue {id} queues it again"
    if status is None:
        return f"file {id} waits without a status; opskit enqueue --existing adopts it"
    return f"file {id} is queued, but somebody else was claiming it at this moment"
