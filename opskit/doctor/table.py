"""The checks of the table that is not ours: rights, structure, indexes and triggers of the application."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from opskit.database import Database
from opskit.doctor.finding import Condition, Finding, lines, opskit
from opskit.settings import ENVIRONMENTS
from opskit.support.wording import named

MOST_FOREIGN_INDEXES = 5
"""How many indexes of the application's own go without a word."""


def privileges(db: Database) -> Iterator[Finding]:
    """What this role may not do although a node does it."""
    role = db.one("doctor/session")["role"]
    rows = db.run("doctor/privileges", reading=db.settings.read_only)
    if kept := [row["name"] for row in rows if row["lacks"] == "DELETE"]:
        yield Finding(
            "warning",
            f"{role} lacks DELETE on {named(kept)}",
            "a node of this role works, and does not prune: silent nodes and old events stay",
            opskit(db, "prune") + "  # once a day, under a role that may delete",
            condition=Condition.NOBODY_PRUNES,
        )
    for row in db.run("doctor/breaker_privileges", reading=db.settings.read_only):
        yield Finding(
            "error",
            f"{role} may not write {row['name']}: a node of this role cannot open the breaker",
            "an error of the world, such as a missing package, fails the whole queue",
            row["mend"],
            condition=Condition.RIGHTS_LACKING,
        )
    for row in rows:
        if row["lacks"] == "DELETE":
            continue
        if row["name"] == db.names["logs"]:
            yield Finding(
                "warning",
                f"{role} lacks {row['lacks']} on {row['name']}",
                "a node of this role works, and what its attempts say is not kept",
                row["mend"],
                condition=Condition.RIGHTS_LACKING,
            )
            continue
        if row["hidden"]:
            what, why = (
                f"row-level security hides rows of {row['name']} from {role}",
                "hidden files are never processed",
            )
        else:
            what, why = f"{role} lacks {row['lacks']} on {row['name']}", "a node of this role cannot do its work"
        yield Finding(
            "error",
            what,
            why,
            row["mend"],
            condition=Condition.ROWS_HIDDEN if row["hidden"] else Condition.RIGHTS_LACKING,
        )


def structure(db: Database) -> Iterator[Finding]:
    """What is there and yet does not hold."""
    for row in db.run("doctor/structure"):
        if row["kind"] == "id":
            what, why = (
                f"id of {row['name']} is not unique",
                "a claim may take several rows, after a scan",
            )
        elif row["kind"] == "schema":
            yield Finding(
                "warning",
                f"every role may create in the schema {row['name']}",
                "a function of theirs may be called in place of PostgreSQL's own, with the rights of whoever calls",
                row["mend"],
                condition=Condition.OPEN_SCHEMA,
            )
            continue
        else:
            what, why = f"{row['name']} is UNLOGGED", "a crash of the server empties it: every file would be lost"
        yield Finding(
            "error",
            what,
            why,
            row["mend"],
            condition=Condition.ID_NOT_UNIQUE if row["kind"] == "id" else Condition.UNLOGGED_TABLE,
        )


def environments(db: Database) -> Iterator[Finding]:
    """Where the tables of the two environments differ, if both are there."""
    tables = {env: replace(db.settings, env=env).files for env in ENVIRONMENTS}
    rows = db.run("doctor/environments", **{f"{env}_files": table for env, table in tables.items()})
    for env, table in tables.items():
        lacking = [f"{row['kind']} {row['name']}" for row in rows if row["wanting"] == env]
        if lacking:
            yield Finding(
                "warning",
                f"{table} ({env}) is not migrated as this environment's table is: {named(lacking)}",
                "what is tried in development does not tell what happens in production",
                opskit(db, "migrate", env=env),
                condition=Condition.ENVIRONMENTS_DIFFER,
            )
    for row in rows:
        if row["wanting"] is None:
            there = row["in_development"] or "missing"
            # Ours in this environment are as they should be, or no check would be made.
            other = next(env for env in ENVIRONMENTS if env != db.settings.env)
            yield Finding(
                "warning",
                f"{row['kind']} {row['name']} is {row['in_production']} in {tables['production']} "
                f"and {there} in {tables['development']}",
                "what works in development may not work in production",
                row["mend"] or opskit(db, "migrate", env=other),
                condition=Condition.ENVIRONMENTS_DIFFER,
            )


def triggers(db: Database) -> Iterator[Finding]:
    """The application's triggers that fire at our updates."""
    for row in db.run("doctor/triggers"):
        when = "before" if row["is_before"] else "after"
        yield Finding(
            "warning",
            f"the application's trigger {row['name']} calls {row['function']} {when} every claim and completion",
            "it slows each file down twice, and may change or refuse what a node writes",
            row["mend"],
            condition=Condition.FOREIGN_TRIGGER,
        )


def indexes(db: Database) -> Iterator[Finding]:
    """The application's own indexes that cost two writes a file."""
    found = db.run("doctor/indexes")
    if len(found) > MOST_FOREIGN_INDEXES:
        unused = [row for row in found if not row["scans"] and not row["is_unique"]]
        names = [row["name"] + (" (never used)" if row in unused else "") for row in found]
        table = db.settings.files.replace("'", "''")
        ask = (
            "SELECT indexrelname, idx_scan, pg_size_pretty(pg_relation_size(indexrelid)) FROM pg_stat_user_indexes "
            f"WHERE relname = '{table}' ORDER BY idx_scan;"
        )
        yield Finding(
            "warning",
            f"{len(found)} indexes of the application are written to twice a file: {named(names)}",
            "a claim and a completion write to every index of the table; unused here may be used on a standby",
            lines(*(row["mend"] for row in unused)) or ask,
            condition=Condition.FOREIGN_INDEXES,
        )
