"""Trying a statement again for as long as the database is away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError
from opskit.queue.interruptions import passing
from opskit.support.retry import Backoff

log = logging.getLogger("opskit")
T = TypeVar("T")


def patiently(db: Database, action: Callable[[], T]) -> T:
    """Do it again until the database answers. The supervisor ends us when the lease is gone.

    Args:
        db: The child's database; after each error its connection is given up.
        action: What to do.

    Raises:
        DatabaseError: The database refuses it for a reason that does not pass.
    """
    backoff, away = Backoff(0.05, 5.0), False
    while True:
        try:
            done = action()
        except (DatabaseUnavailableError, DatabaseError) as error:
            if not passing(error):
                raise
            if not away:
                log.warning("%s; trying again", error)
            away = True
            db.drop_connection()
            backoff.wait(jitter=True)
        else:
            if away:
                log.info("the database answers again")
            return done
