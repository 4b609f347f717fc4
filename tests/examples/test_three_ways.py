"""The application's own code takes part three ways at once: its server, its program and its own node, beside Python's.

Node.js, Express and `pg` are real, and so are the kills, the freezes and the restarts.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from opskit import migration
from opskit.database import Database
from tests.examples.conftest import Program, listens
from tests.faults.conftest import settings_for
from tests.support.chromium import free_port
from tests.support.cluster import Cluster, running_cluster
from tests.support.nodes import Node, add_files, ask, counts, record, running_nodes, status, until, violations
from tests.support.waiting import eventually, prove

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FILES = 420
SEED = int(os.environ.get("SEED", "3"))
# The guide's own table, as its application makes it.
TABLE = """
CREATE TABLE dev_uploaded_files (
    id serial PRIMARY KEY, original_filename varchar(255) NOT NULL, storage_path text, file_size integer,
    customer_id integer NOT NULL, processed boolean NOT NULL DEFAULT false, uploaded_at timestamp DEFAULT now()
)"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server of the test's own, to be restarted."""
    with running_cluster() as running:
        yield running


@pytest.fixture
def guide(cluster: Cluster, tmp_path: Path) -> Iterator[Database]:
    """The application's table, migrated."""
    url = cluster.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
    with Database(settings_for(url, tmp_path)) as database:
        migration.migrate(database)
        record(database)
        yield database


def upload(db: Database, folder: Path, files: int) -> None:
    """Insert rows as the application does, each with its file."""
    path = folder / "ledger.csv"
    path.write_text("a,b\n1,2\n")
    ask(
        db,
        "INSERT INTO dev_uploaded_files (original_filename, storage_path, file_size, customer_id, processing_status) "
        f"SELECT 'ledger-' || n || '.csv', %s, 8, n %% 7, 'queued' FROM generate_series(1, {files}) AS n",
        str(path),
    )


def test_the_applications_server_program_and_node_complete_each_file_once_beside_python_through_every_fault(
    cluster: Cluster, guide: Database, launch: Program, example: Path, tmp_path: Path
) -> None:
    rng = random.Random(SEED)
    port = free_port()
    quick = {"WORK_STEPS": "3", "WORK_STEP_MS": "20"}
    environ = {"OPSKIT_PROCESSOR": "", **quick}
    post = {"OPSKIT_POST": f"http://127.0.0.1:{port}/process", **environ}
    program = {"OPSKIT_EXEC": f"node {example / 'dist' / 'program.js'} {{path}}", **environ}

    def express() -> subprocess.Popen[bytes]:
        return launch(guide, "server.js", name="express", PORT=str(port), **quick)

    server = express()
    until(lambda: listens(port))
    upload(guide, tmp_path, FILES // 3)
    with running_nodes(guide, tmp_path) as begin:
        nodes = {name: begin(name, **post) for name in ("post-0", "post-1")}
        nodes |= {name: begin(name, **program) for name in ("exec-0", "exec-1")}
        nodes |= {"py-0": begin("py-0", act="effect", ACT_SECONDS="0.1")}
        typescript = {name: launch(guide, "node.js", name=name, **quick) for name in ("ts-0", "ts-1")}
        eventually(lambda: counts(guide).get("completed", 0) > 20, 120)

        # A node of each kind is killed at work: with its child, without it, and the one that is no Python.
        os.kill(nodes["exec-0"].own_child(), signal.SIGKILL)
        nodes["post-0"].kill()
        typescript["ts-0"].kill()
        nodes["post-0"] = begin("post-0", **post)
        typescript["ts-0"] = launch(guide, "node.js", name="ts-0", **quick)
        time.sleep(rng.uniform(0.2, 1))
        # The database's server crashes and comes back, three times.
        for _ in range(3):
            cluster.restart_immediately()
            time.sleep(rng.uniform(0.5, 2))
        upload(guide, tmp_path, FILES // 3)
        # The application's server is killed at work, is away for a while, and comes back.
        server.kill()
        server.wait()
        time.sleep(rng.uniform(0.5, 2))
        server = express()
        # All of a node is frozen past its lease and thawed; so are the node in TypeScript and the server.
        zombies = [*family(nodes["exec-1"]), typescript["ts-1"].pid, server.pid]
        for pid in zombies:
            send(pid, signal.SIGSTOP)
        time.sleep(5)
        upload(guide, tmp_path, FILES - 2 * (FILES // 3))
        # The workers first: they go for their commit before anybody can stop them.
        for pid in reversed(zombies):
            send(pid, signal.SIGCONT)
        cluster.restart_immediately()
        eventually(lambda: counts(guide) == {"completed": FILES}, 300, "every file")

        prove(guide, FILES)
        by = {each["server_id"] for each in ask(guide, "SELECT DISTINCT server_id FROM effects")}
        assert {"express", "exec-0", "exec-1", "py-0", "ts-0", "ts-1"} <= by
        assert {name for name, node in nodes.items() if node.process.poll() is not None} == set()
    assert [ended.poll() for ended in (server, *typescript.values())] == [None] * 3


def test_the_checker_catches_a_typescript_program_that_completes_by_id_alone(
    db: Database, example: Path, tmp_path: Path
) -> None:
    record(db)
    (file,) = add_files(db, "a")
    ask(db, "UPDATE dev_uploaded_files SET storage_path = %s", __file__)
    control = {"OPSKIT_EXEC": f"node {example / 'dist' / 'unfenced.js'} {{path}}", "OPSKIT_PROCESSOR": ""}
    with running_nodes(db, tmp_path) as begin:
        zombie = begin("node-a", WORK_SECONDS="1", **control)
        until(lambda: len(family(zombie)) == 3)
        frozen = family(zombie)
        for pid in frozen:
            send(pid, signal.SIGSTOP)
        begin("node-b", **control)
        until(lambda: status(db, file) == "completed")

        send(frozen[-1], signal.SIGCONT)

        until(lambda: ask(db, "SELECT count(*) AS n FROM effects") == [{"n": 2}])
    assert violations(db) == [f"file {file} has 2 effects"]


def test_the_checker_catches_a_typescript_server_that_completes_by_id_alone(
    db: Database, start: Program, tmp_path: Path
) -> None:
    record(db)
    (file,) = add_files(db, "a")
    port = free_port()
    start("unfenced.js", "--serve", name="control", PORT=str(port), WORK_SECONDS="15")
    until(lambda: listens(port))
    control = {"OPSKIT_POST": f"http://127.0.0.1:{port}/process", "OPSKIT_PROCESSOR": ""}
    with running_nodes(db, tmp_path) as begin:
        node = begin("node-a", **control)
        until(lambda: ask(db, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'unfenced'"))
        # Its server goes on with what nobody waits for any more.
        node.kill()

        begin("node-b", **control)

        until(lambda: ask(db, "SELECT count(*) AS n FROM effects") == [{"n": 2}])
    assert f"file {file} has 2 effects" in violations(db)


def family(node: Node) -> list[int]:
    """The pids of a node: its supervisor, its child, and the program that runs."""
    pids = [node.process.pid]
    for pid in pids:
        try:
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except FileNotFoundError:
            continue
    return pids


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
