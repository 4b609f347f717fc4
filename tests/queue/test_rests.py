"""Rests and probes: a node that fares badly slows down, and one in quarantine is tried with one file."""

from __future__ import annotations

from opskit import queue
from opskit.database import Database
from opskit.queue import claims, nodes
from opskit.queue.quarantine import judge
from opskit.queue.server_id import Boot
from opskit.worker.quarantine import Rest, Watch, probed
from opskit.worker.status import SharedStatus, Snapshot
from tests.support.nodes import ask
from tests.support.quarantine import convicting, state
from tests.support.tables import boot, claim, fail, files, put_node

# -- rest --------------------------------------------------------------------------------------


def rested(db: Database, node: Boot, streak: int) -> float:
    """How long a child with so many bad attempts in a row would rest [s], without resting."""
    shared_status, told = SharedStatus(), []
    for _ in range(streak):
        shared_status.end(bad=True)

    def pause(seconds: float) -> None:
        told.append(seconds)

    Rest(db, node, shared_status).take(pause, lambda: bool(told))
    shared_status.close()
    return round(sum(told), 1)


def test_a_streak_makes_a_node_rest_for_1_2_4_and_at_most_8_seconds(db: Database) -> None:
    node = boot(db)

    assert [rested(db, node, streak) for streak in (0, 4, 5, 6, 7, 8, 9, 500)] == [0, 0, 1, 2, 4, 8, 8, 8]


def test_a_rest_is_taken_once_after_each_bad_attempt_and_a_completion_ends_it(db: Database) -> None:
    shared_status = SharedStatus()
    told: list[float] = []
    rest = Rest(db, boot(db), shared_status)

    def take() -> float:
        told.clear()
        rest.take(told.append, lambda: bool(told))
        return round(sum(told), 1)

    for _ in range(5):
        shared_status.end(bad=True)
    assert [take(), take()] == [1, 0]
    shared_status.end(bad=True)
    assert take() == 2
    shared_status.end(failed=1)  # a rejected file
    assert take() == 0
    shared_status.end(completed=1)
    shared_status.end(bad=True)
    assert take() == 0
    shared_status.close()


def test_a_node_rests_while_it_fares_badly_alone_and_not_when_most_do(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    first, second, _ = fleet

    assert rested(db, first, 5) == 1
    assert rested(db, second, 5) == 0, "two of three fare badly: it is not the node"
    assert rested(db, first, 6) == 0
    put_node(db, "b", "streak_at = streak_at - interval '1 min'")
    assert rested(db, first, 7) == 4


def test_a_node_that_was_resumed_rests_no_more_for_what_came_before(db: Database) -> None:
    node = boot(db)
    shared_status = SharedStatus()
    for _ in range(9):
        shared_status.end(bad=True)
    put_node(db, "node-a", "state = 'quarantined'")

    queue.resume(db, "node-a", actor="me")
    put_node(db, "node-a", "cleared_at = cleared_at + interval '1 min'")  # long after: a busy machine asks late
    told: list[float] = []
    Rest(db, node, shared_status).take(told.append, lambda: bool(told))

    assert (told, shared_status.read().streak) == ([], 0)
    shared_status.close()


# -- the way back ------------------------------------------------------------------------------


def test_a_node_in_quarantine_claims_one_file_when_its_probe_is_due_after_pauses_that_double(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    assert judge(db, sick, 6)
    files(db, *(f"more-{n}" for n in range(10)))
    pauses = []

    assert claims.claim(db, sick).outcome == "paused"
    for _ in range(7):
        put_node(db, "a", "probe_at = now() - interval '1 s'")
        probe = claim(db, sick)
        assert probe.probe
        assert probe.row is not None
        probed(db, sick)
        fail(db, probe.row["id"], probe.token, max_failures=100)
        assert claims.claim(db, sick).outcome == "paused"
        (row,) = ask(db, f"SELECT probe_at - now() AS left FROM {db.names['nodes']} WHERE server_id = 'a'")
        pauses.append(round(row["left"].total_seconds()))

    assert pauses == [30, 60, 120, 240, 300, 300, 300]


def test_a_completion_in_quarantine_ends_it_and_the_old_evidence_is_forgotten(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    watch = Watch(db, sick, 0)
    watch.beat("active", snapshot(streak=6))
    assert state(db, "a") == "quarantined"

    watch.beat("quarantined", snapshot(streak=6))
    assert state(db, "a") == "quarantined"
    watch.beat("quarantined", snapshot(completed=1))

    assert state(db, "a") == "active"
    assert db.run("events", file_id="", kind="state", row_limit=1)[0]["outcome"] == "active"
    assert judge(db, sick, 20) is None
    convicting(db, sick, *healthy)
    assert judge(db, sick, 20), "new evidence counts"


def test_a_restart_does_not_shorten_a_quarantine(db: Database, fleet: tuple[Boot, Boot, Boot]) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    assert judge(db, sick, 6)
    (before,) = ask(db, f"SELECT state, probe_at FROM {db.names['nodes']} WHERE server_id = 'a'")
    nodes.deregister(db, sick, "restart")

    sick = boot(db, "a")

    assert ask(db, f"SELECT state, probe_at FROM {db.names['nodes']} WHERE server_id = 'a'") == [before]
    assert claims.claim(db, sick).outcome == "paused"
    # It comes back without a person, too: the completion of its probe counts from the start.
    put_node(db, "a", "probe_at = now()")
    Watch(db, sick, 0).beat("quarantined", snapshot(completed=1))
    assert state(db, "a") == "active"


def test_a_quarantine_of_an_older_version_gets_a_probe_when_the_node_starts_again(db: Database) -> None:
    node = boot(db)
    put_node(db, "node-a", "state = 'quarantined'")
    assert claims.claim(db, node).outcome == "paused"
    nodes.deregister(db, node, "upgrade")

    boot(db)

    (row,) = ask(db, f"SELECT probe_at - now() AS left FROM {db.names['nodes']}")
    assert 10 < row["left"].total_seconds() <= 15


def snapshot(*, completed: int = 0, streak: int = 0) -> Snapshot:
    """What a child says."""
    return Snapshot(
        token="", started=0.0, moved=0.0, done=None, total=None, completed=completed, failed=0, retried=0,
        streak=streak, streak_began=0.0, group=0, file="", attempt=0,
    )  # fmt: skip
