"""A long life compressed: tens of thousands of files through one node process that must not grow.

    python benchmarks/endurance.py [--files 50000]

One node works through batches. Some files raise once, some complete within their own transaction, and between
batches the node is idle and is woken by notification; its sessions are ended every few batches, so that it must
connect anew. All the while it beats, reaps, raises its epoch and takes full looks. Memory, file descriptors, threads,
sessions, snapshots held and the server's log are sampled. Exit 1 when something grows or a file is not completed once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BATCH = 5_000
# The sessions are ended after so many batches, never after the last.
CUT_EVERY = 3
SAMPLES_PER_BATCH = 4
SERVER = {"max_wal_size": "64MB", "min_wal_size": "32MB", "checkpoint_timeout": "30s"}
# What may be added between the second fifth and the last: 2 MB over 30,000 files are 70 bytes a file.
MEMORY_SLACK_MB = 2.0
LOG_LIMIT_MB = 64 * 1.5 + 16
# A live node's snapshots last one statement; they may not keep a vacuum from its work for longer than this.
SNAPSHOT_LIMIT = 5_000


def work(file: Any) -> dict[str, int] | None:
    """The processor: what its file's number says."""
    number = int(file.original_filename)
    if number % 100 == 0 and file.attempt == 1:
        raise ValueError(f"file {number} is not there yet")
    file.progress(done=number % 7, total=7)
    if number % 10 == 1:
        with file.completing() as tx:
            tx.execute("INSERT INTO effects (file_id) VALUES (%s)", (file.id,))
    return {"number": number} if number % 3 else None


class Life:
    """One node and what is seen of it."""

    def __init__(self, db: Any, node: subprocess.Popen[bytes]) -> None:
        self.db = db
        self.node = node
        self.child = 0
        self.samples: list[dict[str, float]] = []
        self._began = time.monotonic()

    def ask(self, query: str) -> dict[str, Any]:
        """One row."""
        with self.db.connection() as connection:
            return connection.execute(query.encode()).fetchone() or {}

    def completed(self) -> int:
        """How many files are done."""
        return int(self.ask("SELECT count(*) AS n FROM dev_uploaded_files WHERE processing_status = 'completed'")["n"])

    def sample(self) -> None:
        """Write down how large everything is."""
        children = Path(f"/proc/{self.node.pid}/task/{self.node.pid}/children").read_text().split()
        self.child = self.child or int(children[0])
        if children != [str(self.child)]:
            raise SystemExit(f"the child was {self.child} and is {children}: no life of one process")
        server = self.ask(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'opskit development%' "
            "           AND pid <> pg_backend_pid()) AS sessions, "
            "       (SELECT coalesce(max(age(backend_xmin)), 0) FROM pg_stat_activity "
            "         WHERE application_name LIKE 'opskit development%') AS snapshot_age, "
            "       (SELECT sum(size) / 1048576.0 FROM pg_ls_waldir()) AS log_mb, "
            "       (SELECT count(*) FROM pg_replication_slots) AS slots"
        )
        self.samples.append(
            {"files": self.completed(), "seconds": round(time.monotonic() - self._began, 1)}
            | {f"supervisor_{key}": value for key, value in _process(self.node.pid).items()}
            | {f"child_{key}": value for key, value in _process(self.child).items()}
            | {key: round(float(value), 1) for key, value in server.items()}
        )

    def cut(self) -> None:
        """End the node's sessions."""
        self.ask(
            "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity "
            "WHERE application_name LIKE 'opskit development%' AND pid <> pg_backend_pid()"
        )


def _process(pid: int) -> dict[str, float]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "rss_mb": round(int(status["VmRSS"].split()[0]) / 1024, 2),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
    }


def live(db: Any, node: subprocess.Popen[bytes], files: int) -> Life:
    """Feed the node batch by batch, and watch it."""
    life = Life(db, node)
    for batch in range(files // BATCH):
        first = batch * BATCH
        life.ask(
            "WITH fed AS (INSERT INTO dev_uploaded_files (original_filename) "
            f"SELECT n::text FROM generate_series({first}, {first + BATCH - 1}) AS n RETURNING 1) "
            "SELECT count(*) AS n FROM fed"
        )
        for part in range(1, SAMPLES_PER_BATCH + 1):
            goal = first + BATCH * part // SAMPLES_PER_BATCH
            deadline = time.monotonic() + 300
            while life.completed() < goal:
                if node.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the node stopped at {life.completed()} of {goal} files")
                time.sleep(0.05)
            life.sample()
        if (batch + 1) % CUT_EVERY == 0 and batch + 1 < files // BATCH:
            life.cut()
    return life


def judged(life: Life, files: int) -> list[str]:
    """What has grown, or was not done once."""
    samples, wrong = life.samples, []
    fifth = max(1, len(samples) // 5)
    early, late = samples[fifth : 2 * fifth], samples[-fifth:]

    def least(part: list[dict[str, float]], key: str) -> float:
        return min(sample[key] for sample in part)

    for who in ("supervisor", "child"):
        grown = least(late, f"{who}_rss_mb") - least(early, f"{who}_rss_mb")
        if grown > MEMORY_SLACK_MB:
            wrong.append(f"the {who}'s memory grew by {grown:.1f} MB")
        for what in ("descriptors", "threads"):
            more = least(late, f"{who}_{what}") - least(early, f"{who}_{what}")
            if more > 0:
                wrong.append(f"the {who} has {more:.0f} more {what}")
    if max(sample["sessions"] for sample in samples) > 2 + 1:  # one may be on its way out after a cut
        wrong.append("the node holds more than its two sessions")
    if least(late, "sessions") > 2:
        wrong.append("sessions that were ended are still there")
    if max(sample["log_mb"] for sample in samples) > LOG_LIMIT_MB:
        wrong.append(f"the server keeps more than {LOG_LIMIT_MB:.0f} MB of its log")
    if any(sample["slots"] for sample in samples):
        wrong.append("somebody made a replication slot")
    if max(sample["snapshot_age"] for sample in samples) > SNAPSHOT_LIMIT:
        wrong.append("a session holds an old snapshot")
    effects = life.ask("SELECT count(*) AS n, count(DISTINCT file_id) AS files FROM effects")
    if effects != {"n": files // 10, "files": files // 10}:
        wrong.append(f"{files // 10} effects became {effects}")
    if life.completed() != files:
        wrong.append(f"{life.completed()} of {files} files are completed")
    return wrong


def told(life: Life, files: int, wrong: list[str]) -> dict[str, Any]:
    """The figures."""
    node = life.ask(
        "SELECT epoch, (SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'dev_processing_nodes') AS updates, "
        "(SELECT count(*) FROM dev_processing_events WHERE kind = 'boot') AS boots, "
        "(SELECT count(*) FROM dev_processing_events WHERE kind = 'attempt') AS ended_badly, "
        "current_setting('server_version') AS postgresql FROM dev_processing_nodes"
    )
    samples = life.samples
    fifth = max(1, len(samples) // 5)
    return {
        "command": f"python benchmarks/endurance.py --files {files}",
        "date": datetime.now(UTC).date().isoformat(),
        "postgresql": node["postgresql"].split()[0],
        "files": files,
        "seconds": samples[-1]["seconds"],
        "batches": files // BATCH,
        "epochs": node["epoch"],
        "updates_of_its_row": node["updates"],
        "boots": node["boots"],
        "attempts_ended_badly": node["ended_badly"],
        "child_rss_mb": [samples[fifth]["child_rss_mb"], samples[-1]["child_rss_mb"]],
        "supervisor_rss_mb": [samples[fifth]["supervisor_rss_mb"], samples[-1]["supervisor_rss_mb"]],
        "log_mb_at_most": max(sample["log_mb"] for sample in samples),
        "wrong": wrong,
        "samples": samples,
    }


def table(figures: dict[str, Any]) -> str:
    """The figures for people: a line a batch."""
    columns = {
        "files": "files", "seconds": "s", "supervisor_rss_mb": "supervisor MB", "child_rss_mb": "child MB",
        "supervisor_descriptors": "fds", "child_descriptors": "child fds", "sessions": "sessions",
        "snapshot_age": "snapshot age", "log_mb": "log MB",
    }  # fmt: skip
    lines = ["  ".join(f"{head:>13}" for head in columns.values())]
    lines += [
        "  ".join(f"{sample[key]:>13g}" for key in columns)
        for sample in figures["samples"][SAMPLES_PER_BATCH - 1 :: SAMPLES_PER_BATCH]
    ]
    lines.append(
        f"{figures['files']} files in {figures['seconds']:.0f} s, one boot of {figures['epochs']} epochs, its row "
        f"updated {figures['updates_of_its_row']} times, {figures['attempts_ended_badly']} attempts ended badly"
    )
    return "\n".join(lines + [f"WRONG: {sentence}" for sentence in figures["wrong"]])


def main() -> int:
    """One life on a server of its own."""
    from opskit import migration
    from opskit.database import Database, embedded
    from opskit.settings import Settings

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=50_000, help=f"a multiple of {BATCH}")
    parser.add_argument("--figures", type=Path, default=HERE / "results" / "endurance.json")
    given = parser.parse_args()
    for name in list(os.environ):
        if name in ("DATABASE_URL", "NODE_ID") or name.startswith(("OPSKIT_", "PG")):
            del os.environ[name]
    with contextlib.ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="opskit-endurance-", dir=os.environ.get("BENCH_DIR")))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        server = Settings.load({}, home=str(home), pg_port=21433)
        stack.callback(embedded.stop, server)
        settings = Settings.load(
            {},
            database_url=embedded.start(server, SERVER),
            home=str(home),
            # Beats three times a second: two hours' worth of them in four minutes.
            lease_seconds=1.0,
            poll_seconds=1.0,
            retry_seconds=0.0,
            processor="endurance:work",
        )
        db = stack.enter_context(Database(settings))
        migration.migrate(db)
        with db.connection() as connection:
            connection.execute(b"CREATE TABLE effects (file_id text)")
        environ = os.environ | settings.environ() | {"NODE_ID": "node-a", "PYTHONPATH": str(HERE)}
        with (home / "node.log").open("wb") as log:
            node = subprocess.Popen([sys.executable, "-m", "opskit.worker"], env=environ, stderr=log)
        stack.callback(node.wait)
        stack.callback(node.kill)
        try:
            life = live(db, node, given.files // BATCH * BATCH)
            figures = told(life, given.files, judged(life, given.files))
        except BaseException:
            print("\n".join((home / "node.log").read_text().splitlines()[-20:]), file=sys.stderr)
            raise
    given.figures.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures))
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
