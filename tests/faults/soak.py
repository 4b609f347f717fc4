"""A seeded storm: nodes at work, and at random moments a child, a supervisor or a backend is killed or frozen.

    python -m tests.faults.soak --kills 1000 --seed 1        (make soak KILLS=1000 SEED=1)

The seed chooses whom and when; what the victims are doing at that moment is up to the machine. Every
file carries an effect that a processor writes in the completion's own transaction, and every change of
state is recorded; at the end the history is checked. Exit 1 on any violation.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from opskit import migration
from opskit.database import Database
from opskit.settings import Settings
from tests.support import servers
from tests.support.nodes import Node, add_many, ask, counts, record, running_nodes, violations
from tests.support.waiting import child_of, eventually, signal_if_alive

NODES = 4
LEASE_SECONDS = 1.5
# So many files wait at any time: enough that there is always work to lose, and few enough that a file which is
# queued again is taken soon, so that the time until it is retaken tells of the dead and not of the queue.
WAITING = NODES * 2
FROZEN_SECONDS = (0.2, 4.0)  # up to well past a lease and two ticks
PAUSE_SECONDS = (0.05, 0.35)
# What is done to whom, and how often of a hundred.
ACTS = {"child": 40, "supervisor": 25, "freeze child": 8, "freeze node": 12, "backend": 15}


@dataclass
class Storm:
    """What a storm did, and what came of it."""

    seed: int
    kills: int = 0
    files: int = 0
    nodes: int = NODES
    seconds: float = 0.0
    acts: dict[str, int] = field(default_factory=dict)
    attempts_ended_badly: int = 0
    retaken: int = 0
    retaken_p50_seconds: float = 0.0
    retaken_p95_seconds: float = 0.0
    zombie_writes_refused: int = 0
    violations: list[str] = field(default_factory=list)
    hits: list[tuple[str, Any, Any]] = field(default_factory=list, repr=False)

    def figures(self) -> dict[str, Any]:
        """What is told of it."""
        return {key: value for key, value in asdict(self).items() if key != "hits"}


def blow(db: Database, folder: Path, *, kills: int, seed: int, out: bool = False) -> Storm:
    """Let *kills* blows fall on four nodes at work; the database is the caller's, migrated and empty."""
    rng = random.Random(seed)
    storm = Storm(seed=seed)
    began = time.monotonic()
    record(db)
    _top_up(db, storm)
    thaws: list[tuple[float, list[int]]] = []

    with running_nodes(db, folder) as start:
        logs: list[Node] = []

        def node(n: int) -> Node:
            began_node = start(f"node-{n}", act="effect", ACT_SECONDS="0.05")
            logs.append(began_node)
            return began_node

        nodes = [node(n) for n in range(NODES)]
        eventually(lambda: counts(db).get("completed", 0) > 0)
        while storm.kills < kills:
            time.sleep(rng.uniform(*PAUSE_SECONDS))
            _thaw(thaws)
            n = rng.randrange(NODES)
            (act,) = rng.choices(list(ACTS), list(ACTS.values()))
            held = ask(
                db,
                "SELECT id::text AS id, processing_token AS token, clock_timestamp() AS at FROM dev_uploaded_files "
                "WHERE processing_status = 'processing' AND processing_server_id = %s",
                f"node-{n}",
            )
            if _strike(act, db, nodes, n, rng, thaws):
                storm.kills += 1
                if act != "backend":
                    storm.hits += [(row["id"], row["token"], row["at"]) for row in held]
                storm.acts[act] = storm.acts.get(act, 0) + 1
                if out and storm.kills % 50 == 0:
                    print(f"{storm.kills} kills, {counts(db)}", file=sys.stderr, flush=True)
            for n, one in enumerate(nodes):
                if one.process.poll() is not None:
                    nodes[n] = node(n)
            _top_up(db, storm)
        _thaw(thaws, everything=True)
        eventually(lambda: counts(db) == {"completed": storm.files}, 120, "the end of the queue")
        storm.seconds = round(time.monotonic() - began, 1)
        storm.zombie_writes_refused = sum(one.log.count("is lost") for one in logs)

    _judge(db, storm)
    return storm


def _top_up(db: Database, storm: Storm) -> None:
    """See to it that files wait."""
    missing = WAITING - counts(db).get("queued", 0)
    if missing > 0:
        add_many(db, missing)
        storm.files += missing


def _strike(
    act: str,
    db: Database,
    nodes: list[Node],
    n: int,
    rng: random.Random,
    thaws: list[tuple[float, list[int]]],
) -> bool:
    """Do one thing to one node; False when there was nobody to do it to."""
    frozen = {pid for _, pids in thaws for pid in pids}
    one = nodes[n]
    child = child_of(one)
    if act == "child":
        return child not in frozen and signal_if_alive(child, signal.SIGKILL)
    if act == "supervisor":
        if one.process.pid in frozen or one.process.poll() is not None:
            return False
        one.kill()
        one.end()
        return True
    if act == "backend":
        ended = ask(
            db,
            "SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name LIKE 'opskit development%%' AND pid <> pg_backend_pid() "
            "ORDER BY pid OFFSET %s LIMIT 1",
            rng.randrange(NODES * 2),
        )
        return bool(ended)
    pids = [child] if act == "freeze child" else [one.process.pid, child]
    pids = [pid for pid in pids if pid and pid not in frozen]
    if child is None or not pids or not all(signal_if_alive(pid, signal.SIGSTOP) for pid in pids):
        return False
    # The child thaws first and goes for its completion before its supervisor can stop it.
    thaws.append((time.monotonic() + rng.uniform(*FROZEN_SECONDS), [pid for pid in reversed(pids) if pid]))
    return True


def _thaw(thaws: list[tuple[float, list[int]]], *, everything: bool = False) -> None:
    for when, pids in list(thaws):
        if everything or time.monotonic() >= when:
            thaws.remove((when, pids))
            for pid in pids:
                signal_if_alive(pid, signal.SIGCONT)
                time.sleep(0.02)


def _judge(db: Database, storm: Storm) -> None:
    """Fill in what the history says."""
    storm.violations = violations(db)
    if counts(db) != {"completed": storm.files}:
        storm.violations.append(f"{storm.files} files became {counts(db)}")
    effects = ask(db, "SELECT count(*) AS n, count(DISTINCT file_id) AS d FROM effects")[0]
    if effects != {"n": storm.files, "d": storm.files}:
        storm.violations.append(f"{storm.files} files have {effects['n']} effects")
    events = db.run("events", file_id="", kind="attempt", row_limit=1_000_000)
    storm.attempts_ended_badly = len(events)
    storm.violations += [
        f"an attempt ended as {event['outcome']}: {event['reason']}"
        for event in events
        # A backend that is killed under a processor interrupts its attempt.
        if event["outcome"] not in ("crashed", "orphaned", "released", "interrupted", "raised") or not event["reason"]
    ]
    # From a blow at whoever had a file in hand to the next claim of that file.
    waits = [
        ask(
            db,
            "SELECT extract(epoch FROM min(at) - %s)::float8 AS seconds FROM transitions "
            "WHERE file_id = %s AND became = 'processing' AND token <> %s AND at > %s",
            at, file, token, at,
        )[0]
        for file, token, at in storm.hits
    ]  # fmt: skip
    seconds = sorted(row["seconds"] for row in waits if row["seconds"] is not None)
    storm.retaken = len(seconds)
    if seconds:
        storm.retaken_p50_seconds = round(seconds[len(seconds) // 2], 2)
        storm.retaken_p95_seconds = round(seconds[int(len(seconds) * 0.95)], 2)


def table(storm: Storm) -> str:
    """The figures for people."""
    told = {key.replace("_", " "): value for key, value in storm.figures().items()}
    told["acts"] = ", ".join(f"{count} {act}" for act, count in sorted(storm.acts.items()))
    told["violations"] = len(storm.violations)
    rows = list(told.items())
    width = max(len(key) for key, _ in rows)
    return "\n".join([f"{key:<{width}}  {value}" for key, value in rows] + [f"  {text}" for text in storm.violations])


def main() -> int:
    """Blow once over a server of one's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=int(os.environ.get("KILLS") or 200))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or 1))
    parser.add_argument("--figures", type=Path, help="where the figures go as JSON, beside the screen")
    given = parser.parse_args()
    for name in list(os.environ):
        if name in ("DATABASE_URL", "NODE_ID") or name.startswith(("OPSKIT_", "PG")):
            del os.environ[name]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(servers.running_server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = Settings.load(
            {},
            database_url=server.create_database(),
            env="development",
            home=str(folder),
            **short_times(),
        )
        db = stack.enter_context(Database(settings))
        migration.migrate(db)
        storm = blow(db, folder, kills=given.kills, seed=given.seed, out=True)
    print(table(storm))
    told = {"at": time.strftime("%Y-%m-%d", time.gmtime()), **storm.figures()}
    if given.figures is not None:
        given.figures.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told))
    return 1 if storm.violations else 0


def short_times() -> dict[str, Any]:
    """Settings under which a storm does not take all day; the retry budget is not what is tried."""
    return {"lease_seconds": LEASE_SECONDS, "poll_seconds": 0.2, "retry_seconds": 0.0, "max_failures": 100_000}


if __name__ == "__main__":
    raise SystemExit(main())
