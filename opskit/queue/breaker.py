"""The circuit breaker: an error of the environment (a missing package, a full disk, a dead network) fails no file.

When enough different files fail with one such error and none goes well, one node opens the breaker and gives back what
the error cost. Nodes then claim nothing but a probe now and then; the first that goes well closes it. Errors of a file,
such as a decode error, never open it. The rules are in sql/breaker_*.sql and sql/claim.sql.
"""

from __future__ import annotations

import importlib
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import DatabaseError, DatabaseUnavailableError
from opskit.queue.claims import Answer
from opskit.queue.error_identity import Identity
from opskit.queue.server_id import Boot
from opskit.support import wording

log = logging.getLogger("opskit")
MOST_FILES = 5
"""How many different files must fail with one error of the world before the breaker opens."""
DRAIN_SECONDS = 30.0
"""How long an open breaker is waited for by whoever is to end when the queue is empty [s]."""
_SINCE_SECONDS = 3600.0
_MOST_COUNTED = 10_000
_ABSENT = (DatabaseUnavailableError, DatabaseError)


def judged(identity: Identity, error: BaseException) -> Identity:
    """The identity of an error that a processor raised, of the world where only its file's path can tell that.

    A file that is not there is the file's fault, unless the folder that should lead to it is there and empty: that is
    what the place of a share looks like that is not mounted.
    """
    if isinstance(error, FileNotFoundError) and _not_mounted(error.filename):
        return replace(identity, kind="world")
    return identity


def _not_mounted(path: object) -> bool:
    if not isinstance(path, (str, bytes, os.PathLike)):
        return False
    try:
        folder = Path(os.fsdecode(path)).absolute().parent
        while not folder.exists():
            folder = folder.parent
        with os.scandir(folder) as inside:
            return next(inside, None) is None
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed with an error of the world."""

    id: str
    attempt: int
    identity: Identity


class Breaker:
    """A child's part in the breaker: opens it, gives failures back, and logs its changes.

    Args:
        db: The child's database.
        node: Whose child it is.
    """

    def __init__(self, db: Database, node: Boot) -> None:
        self._db = db
        self._node = node
        self._told = False

    def failed(self, failure: Failure) -> bool:
        """An attempt has failed with an error of the world: open the breaker if that is due, or give the failure back.

        A role that may not write pauses, and a database that is away, change nothing: the failure stays counted.

        Returns:
            Whether the failure was given back.

        SQL: sql/breaker_evidence.sql, sql/breaker_open.sql, sql/breaker_give_back.sql
        """
        try:
            return self._failed(failure)
        except _ABSENT as error:
            log.warning("the breaker cannot be asked: %s", error)
            return False

    def _failed(self, failure: Failure) -> bool:
        error, place = failure.identity.error, failure.identity.place
        evidence = self._db.one(
            "breaker_evidence", error=error, place=place, most_files=MOST_FILES, since_seconds=_SINCE_SECONDS
        )
        if evidence["opens"] and not evidence["is_open"]:
            done = self._db.one(
                "breaker_open",
                error=error,
                place=place,
                ids=evidence["ids"],
                since=evidence["since"].isoformat(),
                server_id=self._node.server_id,
                reason=f"{error} (in {place})" if place else error,
            )
            if done["opened"]:
                log.error(
                    "the breaker is open: %s failed on %s, none went well: %s; they lose no try (queued again: %d), "
                    "and one file is tried now and then until one goes well",
                    wording.count(len(evidence["ids"]), "file"), ", ".join(evidence["nodes"]), error, done["requeued"],
                )  # fmt: skip
                self._told = True
                return failure.id in evidence["ids"]
        # The breaker is open already, or another node has opened it this moment.
        given = self._db.run("breaker_give_back", id=failure.id, attempt=failure.attempt, actor=self._node.server_id)
        return bool(given)

    def heard(self, answer: Answer) -> None:
        """Log once that the breaker is open, and that it was closed, by the result of a claim."""
        if answer.healed_seconds is not None:
            log.info("the breaker is closed: a file went well again after %.0f s", answer.healed_seconds)
        if answer.broken is None:
            self._told = self._told and answer.outcome == "paused"
            return
        if not self._told:
            log.warning("the breaker is open: %s; one file is tried now and then", answer.broken)
        self._told = True
        # Python forgets which folders lacked a package: it may have been installed meanwhile.
        importlib.invalidate_caches()


def state(db: Database) -> Row | None:
    """The breaker while it is open, as sql/breaker.sql answers it; None while it is closed.

    SQL: sql/breaker.sql
    """
    rows = db.run("breaker", row_limit=_MOST_COUNTED + 1)
    return rows[0] if rows else None


def waiting(row: Row) -> str:
    """How many files wait for an open breaker, in words."""
    return wording.count(row["waiting"], "file", most=_MOST_COUNTED)


def in_vain(db: Database) -> str | None:
    """Why nobody should wait for the queue to become empty: the breaker has been open for `DRAIN_SECONDS`.

    Nobody gives up while a probe is under way, or is due: one that is overdue for as long will not come.
    """
    row = state(db)
    if row is None or row["open_seconds"] < DRAIN_SECONDS or row["probing"]:
        return None
    if -DRAIN_SECONDS < row["probe_in_seconds"] <= 0:
        return None
    return (
        f"the breaker is open for {row['open_seconds']:.0f} s: {row['reason']}; {waiting(row)} wait; mend it and run "
        "this again"
    )
