"""Readiness: checks the schema before a node starts, before a file is queued, and before new rows are queued."""

from __future__ import annotations

from opskit.database import Database
from opskit.errors import NotMigratedError


def demand_standing(db: Database) -> None:
    """See that everything is there that the promises rest on; one short query of the catalogs.

    Raises:
        NotMigratedError: Something is missing; the message names it.

    SQL: sql/migrate/standing.sql
    """
    lacking = db.one("migrate/standing")["lacking"]
    if lacking is not None:
        raise NotMigratedError(f"{db.settings.files} is not migrated ({lacking}); run: opskit migrate")
