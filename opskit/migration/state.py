"""The state of the schema: which names are missing, and which definitions are not this version's."""

from __future__ import annotations

from collections.abc import Iterable

from opskit.database import Database
from opskit.migration.comparing import Difference, differences
from opskit.migration.steps import FORMER_CHECKS, INDEXES, TRIGGERS

_COLUMNS = (
    "processing_status", "processing_server_id", "processing_started_at", "processing_completed_at",
    "processing_errors", "processing_queued_at", "processing_attempt", "processing_failures", "processing_token",
    "processing_done_token", "processing_epoch", "processing_result", "processing_failure", "processing_arrived_at",
    "original_filename", "storage_path", "file_size", "uploaded_at", "deleted",
)  # fmt: skip
_TABLES = ("files", "nodes", "events", "pauses", "logs")
Lacking = dict[str, dict[str, str]]
"""By the part of the migration that mends it: what is lacking (a key of `db.names`, or a name), and a phrase."""


def missing(db: Database, *, definitions: bool = True) -> list[str]:
    """What is missing in the schema for this version, one phrase each; empty when it is migrated.

    Args:
        db: An open database.
        definitions: Look into what is there, too: whether each index, trigger and function is the
            one that this version makes, and whether the triggers are switched on. False: by name only, which
            costs three short queries; for probes that ask every second.
    """
    lacks = lacking(db, differences(db) if definitions else None)
    return [phrase for phrases in lacks.values() for phrase in phrases.values()]


def still_lacking(db: Database) -> list[str]:
    """What a migration that has run has not brought about, one phrase each.

    Rows are left out: a processor of the application's may have brought new ones to settle meanwhile.
    """
    lacks = lacking(db, differences(db))
    return [phrase for part, phrases in lacks.items() if part != "settle" for phrase in phrases.values()]


def check(db: Database) -> bool:
    """Whether this environment's tables are migrated."""
    return not missing(db)


def queues_new(db: Database) -> bool:
    """Whether new rows of the application are queued by themselves."""
    rows = [row for row in db.run("columns") if row["column_name"] == "processing_status"]
    return bool(rows) and "'queued'" in (rows[0]["column_default"] or "")


def wakes(db: Database) -> bool:
    """Whether an insert wakes waiting nodes; False where the wake-up was left out, and they poll."""
    return {"name": db.names["wake"], "fault": None} in db.run("migrate/there")


def exists(db: Database, name: str) -> bool:
    """Whether one of opskit's tables exists; *name* is its key in `db.names`."""
    with db.connection() as connection:
        row = connection.execute(
            "SELECT to_regclass(quote_ident(%s)) IS NOT NULL AS there", (db.names[name],)
        ).fetchone()
    return bool(row and row["there"])


def lacking(db: Database, differing: Iterable[Difference] | None) -> Lacking:
    """The differences from this version's schema, by the part of the migration that mends them.

    Args:
        db: An open database.
        differing: What `differences` answers. None: only what is missing by name, or not valid, counts.
    """
    named, found = db.names, {row["name"]: row["fault"] for row in db.run("migrate/there")}
    lacks: Lacking = {}

    def need(part: str, key: str, phrase: str) -> None:
        lacks.setdefault(part, {}).setdefault(key, phrase)

    for part, keys in (("tables", _TABLES), ("indexes", INDEXES)):
        for key in keys:
            if named[key] not in found:
                need(part, key, f"{named[key]} is missing")
            elif found[named[key]] == "not valid":
                need(part, key, f"{named[key]} is not valid")
    if differing is not None and named["events"] in found and found.get(named["lanes_index"], "missing"):
        for row in db.run("migrate/chosen_lanes"):
            if row["lane"] is not None:
                db.rename(lane=row["lane"])
                need("lanes", "lanes_index", f"{named['lanes_index']}, of the lanes by {row['lane']}, is missing")
    columns = {row["column_name"]: row for row in db.run("columns")}
    for name in _COLUMNS:
        if name not in columns:
            need("columns", name, f"column {name} of {named['files']} is missing")
    if "processing_queued_at" in columns and not columns["processing_queued_at"]["column_default"]:
        need("columns", "processing_queued_at", "processing_queued_at has no default")
    for key in TRIGGERS:
        part = "wake" if key == "wake" else "guard"
        if named[key] not in found:
            need(part, key, f"{named[key]} is missing")
        elif found[named[key]] == "switched off" and differing is not None:
            need(part, key, f"the trigger {named[key]} is {found[named[key]]}")
    for each in differing or ():
        need("indexes" if each.part == "outdated" else each.part, each.key, each.phrase)
    for key in FORMER_CHECKS:
        if named[key] in found:
            need("former_checks", key, f"{named[key]}, of an older version, is still there")
    for key in (f"old_{key}" for key in INDEXES):
        if named[key] in found:
            need("superseded", key, f"{named[key]}, of an older version, is still there")
    if "columns" in lacks or "tables" in lacks or db.run("migrate/unsettled"):
        need("settle", "files", "claims from before may lack a start, or queued files their place")
    return lacks
