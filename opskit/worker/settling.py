"""Settling: ends the claims of a dead child, with the true reason."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from opskit.database import Database
from opskit.queue import claims, nodes
from opskit.queue.cancelling import end_cancelled
from opskit.queue.interruptions import interrupt
from opskit.queue.server_id import Boot
from opskit.worker.child_process import Ending

log = logging.getLogger("opskit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The result of settling: how many files failed, how many are queued again, and whether the attempt was bad."""

    failed: int
    retried: int
    bad: bool


def settle(db: Database, boot: Boot, ending: Ending, *, begun: str) -> Settled | None:
    """End every claim that a dead child held; None when this boot was deposed.

    Raising the epoch first waits for a claim that its backend may still be making, and deposes one still
    on its way: nothing can land after we have looked.

    Args:
        db: The supervisor's database.
        boot: The node's boot; its epoch is raised.
        ending: How the child ended.
        begun: Token of the attempt that its processor had begun; empty when it had begun none.

    Raises:
        DatabaseUnavailableError: No answer: settle again.
    """
    epoch = nodes.advance(db, boot)
    if epoch is None:
        return None
    boot.epoch = epoch
    if ending.outcome == "cancelled":
        db.run("end_child", env=db.settings.env, boot=boot.boot)
    failed = retried = 0
    for row in claims.held(db, boot.server_id):
        if row["epoch"] >= epoch:
            continue  # another boot has taken our ID this moment: we are deposed, and shall be told
        held = {"id": row["id"], "token": str(row["token"]), "actor": boot.server_id}
        if ending.outcome == "cancelled" and held["token"] == ending.token:
            answer = end_cancelled(db, **held)
        elif ending.outcome == "cancelled":
            # The child was quicker than the cancel: it had this file in hand when it was killed.
            answer = claims.release(db, reason="released: its process was killed for a cancelled file", **held)
        elif ending.outcome == "released":
            answer = claims.release(db, reason=ending.reason, **held)
        elif ending.outcome == "interrupted" and held["token"] == begun:
            answer = interrupt(db, reason=ending.reason, **held)
            failed = int(answer == "failed")
        elif held["token"] != begun:
            # The claim's answer was lost, or came when the child was dying: no processor has seen the file.
            answer = claims.release(db, reason=f"claimed, not begun: {ending.reason}", **held)
        else:
            answer = claims.fail(
                db, outcome=ending.outcome, error=ending.reason, max_failures=db.settings.max_failures,
                retry_seconds=db.settings.retry_seconds, identity=ending.identity, **held,
            )  # fmt: skip
            failed, retried = int(answer == "failed"), int(answer == "queued")
        told = {"file": row["id"], "attempt": row.get("attempt"), "token": held["token"]}
        log.warning("file %s: %s; now %s", row["id"], ending.reason, answer, extra=told)
    if ending.outcome == "cancelled":
        failed = 1
    return Settled(failed=failed, retried=retried, bad=ending.outcome == "crashed" and bool(failed or retried))
