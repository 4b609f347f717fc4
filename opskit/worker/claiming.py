"""Claiming: a child's cursor, its lanes in turn, its epoch, and the recovery of claims that got no answer."""

from __future__ import annotations

import functools
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import DatabaseError, DatabaseUnavailableError
from opskit.files.claimed import ClaimedFile
from opskit.queue import breaker, claims, lanes, nodes
from opskit.queue.claims import ALL_OF_THE_QUEUE, CLAIMS_PER_EPOCH, Answer
from opskit.queue.interruptions import passing
from opskit.queue.server_id import Boot
from opskit.worker import quarantine
from opskit.worker.listener import Listener
from opskit.worker.patience import patiently
from opskit.worker.status import SharedStatus

log = logging.getLogger("opskit")
# Rows whose transaction committed late, or that were requeued at an old place, lie before the cursor.
FULL_LOOK_SECONDS = 5.0
# How often a child that works without a pause asks whether files of other lanes have come: it costs as much as a turn.
HEAR_SECONDS = 0.02
# How often a child asks whether lanes were switched on or off.
COLUMN_SECONDS = 60.0


class Claimer:
    """Claims files for a child, one after the other.

    Args:
        db: The child's database.
        node: Whose child it is.
        shared_status: Where it reports.
        listener: What wakes it, and what it waits with.
        breaker: It learns of each claim whether the breaker is open.
        stopping: Whether the child is told to stop.

    Attributes:
        begun: Token of the attempt that began last.
        column: The application's column whose values are lanes; None where lanes are off.
    """

    def __init__(
        self,
        db: Database,
        node: Boot,
        shared_status: SharedStatus,
        listener: Listener,
        breaker: breaker.Breaker,
        stopping: Callable[[], bool],
    ) -> None:
        self.db = db
        self.node = node
        self.shared_status = shared_status
        self.begun = ""
        self.column: lanes.Column | None = None
        self._listener = listener
        self._breaker = breaker
        self._stopping = stopping
        self._rest = quarantine.Rest(db, node, shared_status)
        self._cursor = ALL_OF_THE_QUEUE
        self._full_look_at = 0.0
        self._claimed = 0
        self._refused = 0
        self._route = lanes.Route.of(db.settings)
        self._lanes: lanes.Lanes | None = None
        self._column_at = self._hear_at = 0.0

    def claim(self) -> Answer:
        """Claim the next file, after a rest where one is due; searches the whole queue when the cursor finds none."""
        self._rest.take(self._listener.pause, self._stopping)
        if self._stopping():
            return Answer("empty", "")
        token = claims.new_token()
        try:
            if time.monotonic() >= self._column_at:
                self.learn_lanes()
            answer = self._ask(token) if self._lanes is None else self._ask_in_turn(self._lanes, token)
        except (DatabaseUnavailableError, DatabaseError) as error:
            if not passing(error):
                raise
            return self.recover(token, error)
        return self.answered(answer)

    def _ask(self, token: str) -> Answer:
        answer = claims.claim(self.db, self.node, after=self._after(), token=token)
        if answer.outcome == "empty" and self._cursor != ALL_OF_THE_QUEUE:
            self._cursor = ALL_OF_THE_QUEUE
            answer = claims.claim(self.db, self.node, token=token)
        return answer

    def _ask_in_turn(self, mine: lanes.Lanes, token: str) -> Answer:
        """Claim from the lanes in turn, until one has a file or a look finds none that has."""
        begun = time.monotonic()
        if self._listener.heard():
            mine.notified()
        while True:
            turn = mine.next()
            answer = claims.claim(self.db, self.node, token=token, turn=turn)
            if answer.outcome != "empty":
                return answer
            mine.had_none(turn)
            if turn.lanes:
                continue
            if mine.looked_at >= begun:
                return replace(answer, next_seconds=mine.next_seconds)
            mine.look()

    def learn_lanes(self) -> None:
        """Read whether the application's table has lanes: at the start, and once a minute."""
        self._column_at = time.monotonic() + COLUMN_SECONDS
        column = lanes.demand_column(self.db, self._route)
        if column != self.column:
            self._lanes = None if column is None else lanes.Lanes(self.db, self._route)
            log.info("lanes are off" if column is None else f"lanes: {column.lane}")
        self.column = column

    def _after(self) -> str:
        if time.monotonic() >= self._full_look_at:
            self._full_look_at = time.monotonic() + FULL_LOOK_SECONDS
            self._cursor = ALL_OF_THE_QUEUE
        return self._cursor

    def _took(self, answer: Answer) -> Answer:
        self._breaker.heard(answer)
        if answer.outcome == "claimed":
            self._cursor = answer.cursor
            if self._lanes is not None:
                self._lanes.took(answer.lane, answer.cursor)
            self._claimed += 1
            self._listener.found()
            if answer.probe:
                quarantine.probed(self.db, self.node)
        elif answer.outcome == "paused":
            self.shared_status.forgive()
        return answer

    def _turn(self) -> lanes.Turn | None:
        """The lanes that the next claim asks; None where lanes are off."""
        if self._lanes is None:
            return None
        if time.monotonic() >= self._hear_at:
            self._hear_at = time.monotonic() + HEAR_SECONDS
            if self._listener.heard():
                self._lanes.notified()
        return self._lanes.next(alone=True)

    def complete_and_claim(self, file: ClaimedFile, result: Mapping[str, Any] | None, token: str) -> Answer | None:
        """Complete a file and claim the next in one statement; None when the file was not completed.

        Args:
            file: The file in hand.
            result: What its processor has returned.
            token: The next claim's.

        Raises:
            DatabaseError: The database refused it.
            DatabaseUnavailableError: No answer: perhaps it was done.
        """
        ask = functools.partial(
            claims.complete_and_claim,
            self.db,
            self.node,
            id=file.id,
            done_token=file.token,
            result=result,
            after=self._after(),
            token=token,
        )
        turn = self._turn()
        answer = ask(turn=turn)
        if answer is None and turn is not None and turn.alone and self._lanes is not None:
            self._lanes.had_no_first()
            answer = ask(turn=self._lanes.next())
        if answer is None:
            self._cursor = ALL_OF_THE_QUEUE
        return answer

    @property
    def is_epoch_over(self) -> bool:
        """Whether the next claim needs a new epoch."""
        return self._claimed >= CLAIMS_PER_EPOCH

    # -- when the database is away -----------------------------------------------------------

    def recover(self, token: str, error: Exception) -> Answer:
        """Find out whether a claim without an answer stands, before anything else is claimed.

        Raising the epoch waits for a claim in flight and deposes one that is still on its way; what is held
        after that is all that will ever be. Looking first and asking again could leave a late claim behind.
        """
        self._refused += 1
        if self._refused == 1:
            log.warning("no answer to a claim (%s); looking it up", error)
        self.db.drop_connection()
        answer = patiently(self.db, lambda: self.look_up(token))
        if self._refused > 1 and answer.outcome == "empty":
            # A database that answers and yet refuses every claim (a full disk, say) is asked ever more rarely.
            pause = min(0.05 * 2 ** min(self._refused, 10), 5.0)
            self._listener.pause(pause * random.uniform(0.5, 1.0))
        return self._took(answer)

    def answered(self, answer: Answer) -> Answer:
        """Remember the answer of a claim, and log it if several claims before got none."""
        if self._refused > 1:
            log.info("claims are answered again")
        self._refused = 0
        return self._took(answer)

    def look_up(self, token: str) -> Answer:
        """The claim whose answer was lost, if it stands; what else this server ID holds is given up."""
        if not self.rotate():
            return Answer("deposed", token)
        mine = None
        # A later epoch is another boot's, which has taken our ID this moment.
        for row in claims.held(self.db, self.node.server_id):
            if str(row["token"]) == token:
                mine = row
            elif row["epoch"] < self.node.epoch:
                self._give_up(row)
        return Answer("claimed", token, mine) if mine else Answer("empty", token, None, 0.0)

    def _give_up(self, row: Row) -> None:
        """End a claim under this server ID that nobody works on: it must not stand beside the next.

        An attempt that began ends counted, whatever has become of its end: a file must not come back for ever.
        """
        held = {"id": row["id"], "token": str(row["token"]), "actor": self.node.server_id}
        if held["token"] != self.begun:
            claims.release(self.db, reason="left behind by a claim whose answer was lost", **held)
            return
        settings = self.db.settings
        answer = claims.fail(
            self.db,
            outcome="crashed",
            error="the attempt began, and its end was not written down",
            max_failures=settings.max_failures,
            retry_seconds=settings.retry_seconds,
            **held,
        )
        self.shared_status.end(failed=int(answer == "failed"), retried=int(answer == "queued"), bad=True)

    def rotate(self) -> bool:
        """Begin a new epoch; returns whether this boot is still its node's."""
        epoch = nodes.advance(self.db, self.node)
        if epoch is not None:
            self.node.epoch = epoch
            self._claimed = 0
        return epoch is not None
