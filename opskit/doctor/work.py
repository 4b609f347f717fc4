"""The checks of the work: what waits, what is held, who is there to do it."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator

from opskit.database import Database
from opskit.database.session import Row
from opskit.doctor.finding import Condition, Finding, lines, opskit
from opskit.queue import lanes as laning
from opskit.queue.reaper import LOOK_SECONDS
from opskit.support.wording import count, named, span

EXACT_ROWS = 100_000
"""Rows without a status up to which they are counted in a table of any size [rows]."""
EXACT_BYTES = 2**26
"""Size of the table up to which rows without a status are counted [bytes]."""
_COUNTED = 10_000  # a longer queue is "more than"; more finished files are not looked at


def waiting(db: Database, queues_new: bool) -> Iterator[Finding]:
    """Rows without a status: the table is not cut over, or rows from before were not adopted."""
    found = db.one("doctor/waiting", exact_rows=EXACT_ROWS, exact_bytes=EXACT_BYTES)
    if not found["waiting"]:
        return
    about = "about " if found["estimated"] else ""
    # A condition is the operator's to choose: without one, all that the old processor has done would be done again.
    adopt = opskit(db, "enqueue --existing --dry-run --where") + " \"uploaded_at > now() - interval '1 day'\""
    adopt += "  # your condition; then without --dry-run"
    if queues_new:
        yield Finding(
            "warning",
            about + count(found["waiting"], "row from before has no status", "rows from before have no status"),
            "no node claims them",
            adopt,
            condition=Condition.ROWS_WITHOUT_STATUS,
        )
    else:
        yield Finding(
            "warning",
            about
            + count(found["waiting"], "row waits without a status", "rows wait without a status")
            + ", and new rows join",
            "no node claims them: the table is not cut over yet",
            lines(opskit(db, "migrate --queue-new"), adopt),
            condition=Condition.ROWS_WITHOUT_STATUS,
        )


def queue(db: Database) -> Iterator[Finding]:
    """Files queued and nobody who claims."""
    now = db.one("doctor/queue", row_limit=_COUNTED + 1)
    queued = count(now["queued"], "file is queued", "files are queued", most=_COUNTED)
    live = "the live node" if now["live"] == 1 else f"each of {now['live']} live nodes"
    if now["queued"] and not now["live"]:
        yield Finding(
            "error",
            f"{queued} and no node is alive",
            "nobody processes them",
            opskit(db, "worker"),
            condition=Condition.NO_NODE_ALIVE,
        )
    elif now["queued"] and not now["active"]:
        yield Finding(
            "error",
            f"{queued} and {live} is draining or in quarantine",
            "nobody claims them",
            opskit(db, "worker"),
            condition=Condition.NO_NODE_CLAIMS,
        )
    elif now["queued"] and not now["claiming"]:
        # A pause of all ends with `resume --all`; one of a node alone with that node's name.
        scopes = [pause["scope"] for pause in db.run("pauses") if pause["kind"] != "breaker"]
        paused = ("*",) if "*" in scopes or not scopes else tuple(scopes)
        yield Finding(
            "warning",
            f"{queued} and {live} is paused, draining or in quarantine",
            "nobody claims them",
            lines(*(opskit(db, _resume(scope)) for scope in paused)),
            condition=Condition.NO_NODE_CLAIMS,
            concerns=paused,
        )


def lanes(db: Database) -> Iterator[Finding]:
    """Lanes whose files no node takes."""
    if laning.column(db) is None:
        return
    routes = [laning.Route.of_json(row["lanes"]) for row in db.run("doctor/routes")]
    due = [row for row in db.run("due_lanes", row_limit=laning.MOST_LANES, beyond="{}") if row["due_seconds"] <= 0]
    left = [row for row in due if not any(route.takes(row["lane"]) for route in routes)]
    if not left or not routes:  # without any node that claims, `queue` says so
        return
    shown = [laning.NO_LANE if row["lane"] is None else row["lane"] for row in left]
    oldest = span(-min(row["due_seconds"] for row in left))
    yield Finding(
        "error",
        f"no node takes the files of {count(len(left), 'lane')}: {named(shown)}; the first is due for {oldest}",
        "every node that claims is told to take other lanes (OPSKIT_LANES, OPSKIT_EXCEPT_LANES)",
        opskit(db, f"worker --lanes {shlex.quote(laning.listed(shown[:5]))}"),
        condition=Condition.LANES_NOT_TAKEN,
    )


def pauses(db: Database) -> Iterator[Finding]:
    """What is paused."""
    for pause in db.run("pauses"):
        if pause["kind"] == "breaker":
            continue
        who = "everything" if pause["scope"] == "*" else pause["scope"]
        yield Finding(
            "warning",
            f"{who} is paused since {pause['at']:%Y-%m-%d %H:%M} by {pause['actor']}: "
            f"{pause['reason'] or 'no reason given'}",
            "no file is claimed there",
            opskit(db, _resume(pause["scope"])),
            condition=Condition.PAUSED,
            concerns=(pause["scope"],),
        )


def _resume(scope: str) -> str:
    return "resume --all" if scope == "*" else f"resume {shlex.quote(scope)}"


def breaker(db: Database) -> Iterator[Finding]:
    """An error of the world that keeps every node from claiming."""
    for row in db.run("breaker", row_limit=_COUNTED + 1):
        waiting = count(row["waiting"], "file waits", "files wait", most=_COUNTED)
        where = f" in {row['place']}" if row["place"] else ""
        yield Finding(
            "error",
            f"the breaker is open for {span(row['open_seconds'])}: {row['error']}{where}; {waiting}",
            "every file fails alike: mend what the error names on every node (install it, make room, grant the right, "
            "reach the host); nodes try one file at least every 30 s and go on when one goes well",
            opskit(db, "resume --all") + "  # once it is mended, to go on at once",
            condition=Condition.BREAKER_OPEN,
            concerns=("*",),
        )


def claims(db: Database) -> Iterator[Finding]:
    """Claims that nobody works on."""
    found = db.run("stale", stale_after_seconds=db.settings.stale_after_seconds, look_seconds=LOOK_SECONDS, every=False)
    if found:
        oldest = found[0]
        server = oldest["processing_server_id"] or "an unnamed server"
        yield Finding(
            "error",
            f"{count(len(found), 'claim is', 'claims are')} stale or orphaned, "
            f"the oldest {oldest['original_filename']!r} "
            f"on {server} for {span(60 * (oldest['minutes_processing'] or 0))}",
            "nobody works on these files",
            opskit(db, "cleanup"),
            condition=Condition.CLAIMS_STUCK,
        )


def nodes(db: Database) -> Iterator[Finding]:
    """Nodes that died, that are of different versions."""
    found = db.run("nodes")
    dead = [node for node in found if node["state"] == "dead"]
    if dead:
        silent = [f"{n['server_id']} on {n['host']} for {span(n['seconds_since_heartbeat'])}" for n in dead]
        yield Finding(
            "warning",
            f"silent without a good-bye: {named(silent)}",
            "fewer nodes work than were started",
            lines(
                opskit(db, f"worker --node-id {shlex.quote(dead[0]['server_id'])}") + "  # on its host",
                opskit(db, "prune --node-days 0") + "  # if it is gone for good; else its row goes after 7 days",
            ),
            condition=Condition.NODE_SILENT,
            concerns=tuple(node["server_id"] for node in dead),
        )
    working = [node for node in found if node["state"] not in ("stopped", "dead")]
    versions = sorted({str(node["version"]) for node in working}, key=_version)
    if len(versions) > 1:
        older = [node["server_id"] for node in working if str(node["version"]) != versions[-1]]
        yield Finding(
            "warning",
            f"nodes of different versions are alive: {', '.join(versions)}",
            "an upgrade is not finished; whatever starts nodes starts a drained one again, with the new version",
            lines(*(opskit(db, f"drain {shlex.quote(name)}") for name in older)),
            condition=Condition.VERSIONS_DIFFER,
            concerns=tuple(older),
        )


def pruning(db: Database) -> Iterator[Finding]:
    """What should have been pruned: no node may delete, or none has run."""
    found = db.one("doctor/pruning")
    kept = [f"{count(found['nodes'], 'node')} silent for more than 8 days"] if found["nodes"] else []
    if found["oldest_seconds"] is not None:
        kept.append(f"events of {span(found['oldest_seconds'])} ago")
    if kept:
        yield Finding(
            "warning",
            f"nobody prunes what is old: {' and '.join(kept)}",
            "the history grows without end; nodes prune by themselves where their role may delete",
            opskit(db, "prune") + "  # and schedule it once a day",
            condition=Condition.NOBODY_PRUNES,
        )


def quarantines(db: Database) -> Iterator[Finding]:
    """Nodes in quarantine, each with the evidence."""
    for node in db.run("doctor/quarantines"):
        since = f" since {node['since']:%Y-%m-%d %H:%M}" if node["since"] else ""
        due = node["probe_seconds"]
        when = "" if due is None else f"; it tries one in {span(due)}" if due > 0 else "; it tries the next"
        yield Finding(
            "error",
            f"{node['server_id']} is in quarantine{since}: " + _charge(node),
            f"it claims nothing else until it completes a file{when}",
            opskit(db, f"resume {shlex.quote(node['server_id'])}"),
            condition=Condition.NODE_IN_QUARANTINE,
            concerns=(node["server_id"],),
        )


def _charge(node: Row) -> str:
    """What a node in quarantine failed, and where that completed."""
    files = node["files"] or []
    if not files:
        return f"{node['reason'] or 'no reason given'}; no evidence is kept"
    told = [
        f"{file['name'] or file['id']!r} ({file['error']}; completed on {file['completedBy']})" for file in files[:3]
    ]
    more = f" and {node['count'] - len(told)} more" if node["count"] > len(told) else ""
    return f"{count(node['count'], 'file')} failed there and completed elsewhere: {', '.join(told)}{more}"


def durations(db: Database) -> Iterator[Finding]:
    """The stale threshold against how long files really take."""
    found = db.one(
        "doctor/durations",
        stale_after_seconds=db.settings.stale_after_seconds,
        since_days=30,
        row_limit=_COUNTED,
    )
    if found["longer"]:
        enough = math.ceil(found["longest_seconds"] * 1.5 / 60) * 60
        among = f"of the newest {found['seen']:,} files" if found["seen"] == _COUNTED else "in 30 days"
        yield Finding(
            "warning",
            f"{count(found['longer'], 'file')} {among} ran longer than {span(found['threshold_seconds'])}, "
            f"one of them {span(found['longest_seconds'])}",
            "a file that takes longer without progress is ended as stale; let its processor report progress, or wait",
            f"export OPSKIT_STALE_AFTER_SECONDS={enough}  # on every node",
            condition=Condition.STALE_THRESHOLD,
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))
