"""The checks of the server: vacuum and who keeps it back, connections, commits, clocks."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from opskit.database import Database
from opskit.database.session import Row
from opskit.doctor.finding import Condition, Finding, lines
from opskit.support.wording import count, span

LONG_SECONDS = 600.0
"""Age from which a transaction is long [s]."""
OLD_TRANSACTIONS = 100_000
"""Age of a standby's snapshot from which it is old [transactions]."""
MOST_DEAD_ROWS = 10_000
"""Dead rows that go without a word."""
FEWEST_HEARTBEATS = 1000
"""Updates of the nodes table from which on the share of cheap ones says something."""
MOST_CLOCK_SECONDS = 2.0
"""How far this machine's clock may be from the database's [s]."""


def heartbeats(db: Database) -> Iterator[Finding]:
    """Whether heartbeats stay HOT."""
    found = db.one("doctor/heartbeats")
    name = found["name"]
    full = found["fill_factor"] > 50
    cold = found["updates"] >= FEWEST_HEARTBEATS and found["cold_updates"] > 0.05 * found["updates"]
    room = [f"ALTER TABLE {name} SET (fillfactor = 40);"] if full else []
    for index in found["foreign_indexes"]:
        yield Finding(
            "warning",
            f"{name} has an index that is not ours: {index}",
            "each heartbeat may have to write to it, instead of a cheap update in place",
            f"DROP INDEX CONCURRENTLY {index};",
            condition=Condition.HEARTBEATS_COST,
        )
    if cold:
        yield Finding(
            "warning",
            f"{found['cold_updates']} of {found['updates']} updates of {name} found no room on their page",
            "heartbeats grow table and indexes instead of staying in place; often an old transaction is the cause",
            lines(*room, f"VACUUM FULL {name};", f"SELECT pg_stat_reset_single_table_counters('{name}'::regclass);"),
            condition=Condition.HEARTBEATS_COST,
        )
    elif full:
        yield Finding(
            "warning",
            f"{name} has a fillfactor of {found['fill_factor']}",
            "heartbeats need room on their page to stay cheap",
            lines(*room, f"VACUUM FULL {name};"),
            condition=Condition.HEARTBEATS_COST,
        )


def vacuum(db: Database) -> Iterator[Finding]:
    """Dead rows that autovacuum leaves."""
    for row in db.run("doctor/vacuum", dead_rows=MOST_DEAD_ROWS):
        off = row["switched_off"]
        if off:
            what = f"autovacuum is switched off for {row['name']}" + ("" if off == "table" else f" ({off} = off)")
            reload = [] if off == "table" else ["SELECT pg_reload_conf();"]
            mend = lines(row["mend"], *reload, f"VACUUM (ANALYZE) {row['name']};")
        else:
            seen = f"came last {row['visited_at']:%Y-%m-%d %H:%M}" if row["visited_at"] else "has never come"
            what = f"{row['name']} holds {row['dead']} dead rows, and vacuum {seen}"
            mend = f"VACUUM (ANALYZE) {row['name']};"
        yield Finding(
            "warning", what, "dead rows slow down every claim and every statistic", mend, condition=Condition.DEAD_ROWS
        )


_HOLDERS = {
    "session": "process {name} is in a transaction for {time} ({about})",
    "prepared": "the prepared transaction {name!r} is open for {time} ({about})",
    "slot": "the replication slot {name} holds an old snapshot ({about})",
    "standby": "the standby {name} holds an old snapshot ({about})",
    "hidden": "{name} {about} cannot be judged by this role",
}


def horizon(db: Database) -> Iterator[Finding]:
    """Who keeps vacuum from removing dead rows."""
    for row in db.run("doctor/horizon", long_seconds=LONG_SECONDS, old_transactions=OLD_TRANSACTIONS):
        why = "vacuum cannot remove what died since, and migrations wait for its locks"
        if row["kind"] == "hidden":
            why = "one of them may keep vacuum back"
        elif row["kind"] in ("slot", "standby"):
            why = "vacuum cannot remove what died since; drop a slot only if its standby is gone for good"
        time_open = span(row["seconds"] or 0)
        what = _HOLDERS[row["kind"]].format(name=row["name"], about=row["about"], time=time_open)
        yield Finding("warning", what, why, row["mend"], condition=Condition.OLD_SNAPSHOT)


def connections(db: Database) -> Iterator[Finding]:
    """Room for one more start of every node: a deploy may start the new ones first."""
    for row in db.run("doctor/connections"):
        left = row["most"] - row["used"]
        needed = max(4, 2 * row["live"], row["most"] // 10 if row["kind"] == "server" else 0)
        if left < needed:
            how = "; this takes a restart, or PgBouncer before the server" if row["kind"] == "server" else ""
            of_all = f"of {count(row['most'], 'connection')} of the {row['kind']}"
            yield Finding(
                "warning",
                count(row["used"], f"{of_all} is in use", f"{of_all} are in use"),
                f"{count(row['live'], 'node takes', 'nodes take')} two each, "
                "and a deploy may start the new ones before the old ones end" + how,
                row["mend"],
                condition=Condition.CONNECTIONS_SHORT,
            )
            return


def durability(db: Database) -> Iterator[Finding]:
    """What "completed" means on this server."""
    now = db.one("doctor/durability")
    if now["is_standby"]:
        url = db.settings.database_url or ""
        joint = ("&" if "?" in url else "?") if "://" in url else " "
        yield Finding(
            "error",
            "this server is a standby",
            "nothing can be written here: no node can claim",
            f'export DATABASE_URL="$DATABASE_URL{joint}target_session_attrs=read-write"',
            condition=Condition.SERVER_IS_STANDBY,
        )
    elif now["read_only_at_first" if db.settings.read_only else "is_read_only"]:
        yield Finding(
            "error",
            "sessions are read-only by default (default_transaction_read_only)",
            "nothing can be written: no node can claim",
            lines("SET default_transaction_read_only = off;", *_reset(now, "default_transaction_read_only", "off")),
            condition=Condition.SESSIONS_READ_ONLY,
        )
    commit, wanted = now["synchronous_commit"], now["wanted"]
    if commit == "off" or (commit == "local" and wanted):
        lost = "a failover" if commit == "local" else "a crash of the server"
        yield Finding(
            "warning",
            f"synchronous_commit is {commit}",
            f'"completed" may be forgotten in {lost}: the file is then processed once more',
            lines(*_reset(now, "synchronous_commit", "on")),
            condition=Condition.COMMITS_NOT_DURABLE,
        )
    elif commit != "local" and now["there"] is not None and now["there"] < wanted:
        yield Finding(
            "error",
            f"{count(wanted, 'synchronous standby')} must confirm each commit, "
            f"and {count(now['there'], 'is', 'are')} connected",
            "every commit waits: nothing is claimed or completed. Start the standby, or give up what it promises:",
            "ALTER SYSTEM SET synchronous_standby_names = '';\nSELECT pg_reload_conf();",
            condition=Condition.STANDBYS_MISSING,
        )


def pooler(db: Database) -> Iterator[Finding]:
    """A pooler in transaction mode has no LISTEN."""
    db.one("doctor/session")  # what stands between is known once there is a connection
    if db.pooler and db.settings.poll_seconds > 1:
        yield Finding(
            "warning",
            "a pooler stands between this process and the database",
            f"there is no LISTEN through it: an idle node sees a new file after up to {db.settings.poll_seconds:g} s",
            "export OPSKIT_POLL_SECONDS=1  # or give nodes the server's own address",
            condition=Condition.POOLER_WITHOUT_LISTEN,
        )


def clock(db: Database) -> Iterator[Finding]:
    """This machine's clock against the database's."""
    before = time.time()
    now = db.one("doctor/session")["now"].timestamp()
    off = max(before - now, now - time.time())
    if off > MOST_CLOCK_SECONDS:
        yield Finding(
            "warning",
            f"the clock of {socket.gethostname()} is {span(round(off, 1), fine=True)} away from the database's",
            "ages are judged by the database's clock alone, but the times in this machine's logs mislead",
            "sudo timedatectl set-ntp true",
            condition=Condition.CLOCK_OFF,
        )


def _reset(now: Row, name: str, value: str) -> list[str]:
    """The statements that undo a setting where it was made."""
    role, database = now["role"], now["database"]
    source = now["set_by"] if name == "synchronous_commit" else now["read_only_by"]
    places = {
        "database": f"ALTER DATABASE {database} RESET {name};",
        "user": f"ALTER ROLE {role} RESET {name};",
        "database user": f"ALTER ROLE {role} IN DATABASE {database} RESET {name};",
        "client": f"unset PGOPTIONS  # or take {name} out of DATABASE_URL",
    }
    if source in places:
        return [places[source]]
    return [f"ALTER SYSTEM SET {name} = {value};", "SELECT pg_reload_conf();"]
