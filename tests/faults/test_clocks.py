"""Wrong clocks: of nodes, which nobody trusts, and of the database, which everybody does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opskit.database import Database
from tests.faults.conftest import Start
from tests.support.cluster import Cluster, own_folder
from tests.support.nodes import add_many, ask, counts, record
from tests.support.waiting import PROCESSORS, drained, eventually, prove, reasons

LIBRARY = next(
    (str(path) for folder in Path("/usr/lib").glob("*/faketime") for path in [folder / "libfaketime.so.1"]), None
)

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """What libfaketime keeps in shared memory for each process outlives one that is killed."""
    yield
    for path in Path("/dev/shm").glob("*faketime_s*_*"):
        pid = path.name.rpartition("_")[2]
        if not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(OSError):
                path.unlink()


@pytest.mark.slow
def test_nodes_with_wrong_clocks_rob_nobody_and_are_not_robbed(db: Database, start: Start) -> None:
    record(db)
    add_many(db, 24)
    wrong = {"LD_PRELOAD": str(LIBRARY), "DONT_FAKE_MONOTONIC": "1", **PROCESSORS}

    nodes = [
        start("right", act="fault_processors:waiting", ACT_SECONDS="0.8", **PROCESSORS),
        start("ahead", act="fault_processors:waiting", ACT_SECONDS="0.8", FAKETIME="+1h", **wrong),
        start("behind", act="fault_processors:waiting", ACT_SECONDS="0.8", FAKETIME="-1d", **wrong),
        # All its clocks run three times as fast, the one that counts its beats, too.
        start(
            "fast",
            act="fault_processors:waiting",
            ACT_SECONDS="0.8",
            FAKETIME="+0 x3",
            LD_PRELOAD=str(LIBRARY),
            **PROCESSORS,
        ),
    ]

    drained(db, 24, 30, *nodes)
    prove(db, 24)
    assert reasons(db) == []
    assert {row["server_id"] for row in ask(db, "SELECT server_id FROM effects")} == {node.name for node in nodes}


@pytest.mark.slow
def test_a_jump_of_the_databases_clock_robs_nobody_because_it_takes_two_looks(
    cluster: Cluster, hurt_db: Database, hurt: Start
) -> None:
    """The server itself runs under libfaketime, and its clock jumps an hour ahead while four nodes work."""
    with own_folder() as folder:
        clock = folder / "clock"
        clock.write_text("+0\n")
        clock.chmod(0o644)
        cluster.environ = {
            "LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip
        cluster.pg_ctl("restart", "-m", "fast", "-w")
        record(hurt_db)
        add_many(hurt_db, 8)
        for n in range(4):
            hurt(f"node-{n}", act="effect", ACT_SECONDS="5", OPSKIT_LEASE_SECONDS="3")
        eventually(lambda: counts(hurt_db).get("processing") == 4)
        before = ask(hurt_db, "SELECT clock_timestamp() AS at")[0]["at"]

        clock.write_text("+1h\n")
        time.sleep(0.1)
        after = ask(hurt_db, "SELECT clock_timestamp() AS at")[0]["at"]

        assert (after - before).total_seconds() > 3500
        drained(hurt_db, 8, 30)
        prove(hurt_db, 8)
        assert reasons(hurt_db) == []
