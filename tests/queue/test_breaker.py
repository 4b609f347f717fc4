"""The breaker: an error of the world costs no file a try; an error of a file costs that file alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from opskit import doctor, queue
from opskit.database import Database
from opskit.queue import breaker, claims, nodes
from opskit.queue.breaker import Breaker, Failure
from opskit.queue.claims import Answer
from opskit.queue.error_identity import Identity, of_exception
from opskit.queue.server_id import Boot
from tests.support.nodes import (
    SUPPORT,
    Node,
    add_files,
    add_many,
    ask,
    counts,
    record,
    running_nodes,
    until,
    violations,
)
from tests.support.tables import attempts, boot, row

Start = Callable[..., Node]
MISSING = Identity("ModuleNotFoundError: No module named 'yaml'", "ledger.py in process", "world")
BAD = Identity("ValueError: line # is bad", "ledger.py in process", "file")


@pytest.fixture
def start(db: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a node of the test's own."""
    with running_nodes(db, tmp_path) as begin:
        yield begin


def failed(db: Database, node: Boot, identity: Identity = MISSING, *, id: str | None = None, **given: Any) -> str:
    """One more file fails on a node with an error, and the node does what it does then; answers its id."""
    answer = claims.claim_one(db, node, id or add_files(db, "a")[0])
    fail_claim(db, node, answer, identity, **given)
    assert answer.row is not None
    return str(answer.row["id"])


def fail_claim(db: Database, node: Boot, answer: Answer, identity: Identity = MISSING, **given: Any) -> None:
    """A claim fails with an error, and its node does what it does then."""
    assert answer.row is not None
    id, attempt = answer.row["id"], answer.row["attempt"]
    how = {
        "outcome": "raised",
        "error": identity.error,
        "max_failures": 3,
        "retry_seconds": 10.0,
        "actor": node.server_id,
    }
    claims.fail(db, id=id, token=answer.token, identity=identity, **{**how, **given})
    if identity.kind == "world":
        Breaker(db, node).failed(Failure(id, attempt, identity))


def opened(db: Database) -> list[str]:
    """Two nodes fail five files with an error of the world: the breaker opens; answers the files."""
    one, other = boot(db, "node-a"), boot(db, "node-b")
    ids = [failed(db, node) for node in (one, other, one, other, one)]
    assert breaker.state(db) is not None
    return ids


def due(db: Database, *, open_seconds: float = 5.0) -> None:
    """Move time until the next probe is due."""
    ask(
        db,
        f"UPDATE {db.names['pauses']} SET next_probe_at = now() - interval '1 second', "
        f"at = least(at, now() - interval '{open_seconds} seconds') WHERE kind = 'breaker'",
    )


# -- when it opens ---------------------------------------------------------------------------


def test_five_files_on_two_nodes_open_the_breaker_and_lose_nothing(db: Database) -> None:
    one, other = boot(db, "node-a"), boot(db, "node-b")
    ids = [failed(db, node) for node in (one, other, one, other)]
    assert breaker.state(db) is None

    # The last one is failed for good by it.
    ids.append(failed(db, one, max_failures=1))

    state = breaker.state(db)
    assert state is not None
    assert (state["error"], state["place"], state["waiting"]) == (MISSING.error, MISSING.place, 5)
    for id in ids:
        now = row(db, id)
        assert (now["processing_status"], now["processing_failures"], now["processing_token"]) == ("queued", 0, None)
        assert now["processing_completed_at"] is None
        assert len(attempts(db, id)) == 1
    assert claims.claim(db, other).outcome == "paused"


def test_five_failures_of_fewer_files_or_of_one_node_among_two_do_not_open_it(db: Database) -> None:
    one, other = boot(db, "node-a"), boot(db, "node-b")

    ids = [failed(db, node) for node in (one, other)]
    for id in ids * 2:
        failed(db, one, id=id, max_failures=9)
    for _ in range(6):
        failed(db, one, Identity("OSError: [Errno 28] No space left on device", "ledger.py in process", "world"))

    assert breaker.state(db) is None
    assert [row(db, id)["processing_failures"] for id in ids] == [3, 3]


def test_the_only_node_that_claims_opens_it_alone(db: Database) -> None:
    one, _ = boot(db, "node-a"), boot(db, "node-b")
    queue.pause(db, "node-b", actor="me")

    for _ in range(5):
        failed(db, one)

    assert breaker.state(db) is not None


def test_a_completion_since_the_first_failure_keeps_it_closed(db: Database) -> None:
    one, other = boot(db, "node-a"), boot(db, "node-b")
    for node in (one, other, one, other):
        failed(db, node)

    answer = claims.claim_one(db, one, add_files(db, "good")[0])
    assert answer.row is not None
    claims.complete(db, id=answer.row["id"], token=answer.token)
    for node in (one, other, one, other):
        failed(db, node)
    assert breaker.state(db) is None
    failed(db, one)

    assert breaker.state(db) is not None


def test_errors_of_files_never_open_it(db: Database) -> None:
    one, other = boot(db, "node-a"), boot(db, "node-b")

    for _ in range(10):
        failed(db, one, BAD)
        failed(db, other, BAD)

    assert breaker.state(db) is None
    assert ask(db, f"SELECT min(processing_failures) AS n FROM {db.settings.files}") == [{"n": 1}]


def test_openings_at_once_make_one_record_and_each_failure_is_given_back_once(db: Database) -> None:
    fleet = [boot(db, f"node-{n}") for n in range(6)]
    answers = [claims.claim_one(db, node, id) for node, id in zip(fleet, add_files(db, *"abcdef"), strict=True)]
    # Each has failed once before, for a reason of its own.
    ask(db, f"UPDATE {db.settings.files} SET processing_failures = 1")
    barrier = threading.Barrier(6)

    def act(number: int) -> None:
        with Database(db.settings, pooled=False) as own:
            barrier.wait()
            fail_claim(own, fleet[number], answers[number])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(act, range(6)))

    rows = ask(db, f"SELECT kind, scope FROM {db.names['pauses']}")
    assert rows == [{"kind": "breaker", "scope": " breaker"}]
    assert len(ask(db, f"SELECT 1 FROM {db.names['events']} WHERE kind = 'breaker'")) == 1
    assert ask(db, f"SELECT DISTINCT processing_failures AS n FROM {db.settings.files}") == [{"n": 1}]


def test_only_what_the_error_cost_is_given_back(db: Database) -> None:
    one, other = boot(db, "node-a"), boot(db, "node-b")
    (twice, rejected) = add_files(db, "twice", "rejected")
    failed(db, one, BAD, id=twice)
    failed(db, one, id=twice)
    answer = claims.claim_one(db, other, rejected)
    assert answer.row is not None
    claims.fail(
        db, id=rejected, token=answer.token, outcome="rejected", error="rejected: empty", max_failures=3,
        retry_seconds=0, actor="node-b", identity=Identity("rejected: empty"),
    )  # fmt: skip

    for node in (other, one, other, one):
        failed(db, node)

    assert breaker.state(db) is not None
    assert row(db, twice)["processing_failures"] == 1
    assert row(db, rejected)["processing_status"] == "failed"


# -- while it is open ------------------------------------------------------------------------


def test_while_it_is_open_one_probe_at_a_time_goes_through_ever_more_rarely(db: Database) -> None:
    tried = opened(db)
    add_many(db, 50)
    fleet = [Boot("node-a", *_boot(db, "node-a")), Boot("node-b", *_boot(db, "node-b"))]
    waits = []

    for _ in range(6):
        due(db)
        answers = [claims.claim(db, node) for node in fleet]
        assert [answer.outcome for answer in answers] == ["claimed", "paused"]
        assert answers[0].row is not None
        assert answers[0].row["id"] not in tried
        assert answers[1].broken == f"{MISSING.error} (in {MISSING.place})"
        state = breaker.state(db)
        assert state is not None
        waits.append(round(state["probe_in_seconds"]))
        fail_claim(db, fleet[0], answers[0])
        assert row(db, answers[0].row["id"])["processing_failures"] == 0

    assert waits == [2, 4, 8, 16, 30, 30]


def _boot(db: Database, server_id: str) -> tuple[str, int]:
    (found,) = ask(db, f"SELECT boot::text AS boot, epoch FROM {db.names['nodes']} WHERE server_id = %s", server_id)
    return found["boot"], found["epoch"]


def test_a_node_at_work_does_not_claim_past_an_open_breaker(db: Database) -> None:
    third = boot(db, "node-c")
    (first, _) = add_files(db, "first", "next")
    held = claims.claim_one(db, third, first)
    opened(db)

    after = claims.complete_and_claim(
        db, third, id=first, done_token=held.token, result=None, after="-infinity", token=claims.new_token()
    )

    assert after is None
    assert nodes.heartbeat(db, third, token=held.token).paused  # type: ignore[union-attr]
    assert ask(db, f"SELECT bool_and(paused) AS paused FROM {db.names['nodes']}") == [{"paused": True}]


def test_a_probe_that_goes_well_closes_it_for_all(db: Database) -> None:
    opened(db)
    one = Boot("node-a", *_boot(db, "node-a"))
    due(db)
    answer = claims.claim(db, one)
    assert answer.row is not None
    claims.complete(db, id=answer.row["id"], token=answer.token)

    # The node that completed it may die now: the next claim of any node sees it.
    other = Boot("node-b", *_boot(db, "node-b"))
    after = claims.claim(db, other)

    assert (after.outcome, after.broken) == ("claimed", None)
    assert after.healed_seconds is not None
    assert breaker.state(db) is None
    assert ask(db, f"SELECT outcome FROM {db.names['events']} WHERE kind = 'breaker' ORDER BY id") == [
        {"outcome": "open"}, {"outcome": "closed"},
    ]  # fmt: skip
    # What failed before does not open it again; five more do.
    assert not nodes.heartbeat(db, one).paused  # type: ignore[union-attr]
    failed(db, one)
    assert breaker.state(db) is None


def test_a_file_claimed_before_it_opened_says_nothing_when_it_completes(db: Database) -> None:
    third = boot(db, "node-c")
    held = claims.claim_one(db, third, add_files(db, "long")[0])
    opened(db)
    assert held.row is not None

    claims.complete(db, id=held.row["id"], token=held.token)

    assert claims.claim(db, third).healed_seconds is None
    assert breaker.state(db) is not None


def test_resume_closes_it_by_hand_and_it_counts_anew(db: Database) -> None:
    opened(db)

    assert queue.resume(db, actor="me", reason="installed")

    assert breaker.state(db) is None
    one = Boot("node-a", *_boot(db, "node-a"))
    failed(db, one)
    assert breaker.state(db) is None
    assert claims.claim(db, one).outcome != "paused"
    (event,) = ask(db, f"SELECT actor, reason FROM {db.names['events']} WHERE kind = 'breaker' AND outcome = 'closed'")
    assert event["actor"] == "me"
    assert event["reason"].startswith("installed; it was: ModuleNotFoundError")


def test_a_pause_of_all_and_the_breaker_do_not_mistake_one_another(db: Database) -> None:
    opened(db)
    queue.pause(db, actor="me", reason="night")
    due(db)

    answer = claims.claim(db, Boot("node-a", *_boot(db, "node-a")))

    assert (answer.outcome, answer.broken) == ("paused", None)
    assert queue.pause(db, "node-a", actor="me")
    assert queue.resume(db, "node-a", actor="me")
    assert breaker.state(db) is not None


def test_the_doctor_names_the_error_and_how_many_files_wait(db: Database) -> None:
    opened(db)

    (finding,) = [each for each in doctor.examine(db, missing=[]) if "breaker" in each.what]

    assert finding.level == "error"
    assert MISSING.error in finding.what
    assert "5 files wait" in finding.what
    assert finding.mend.startswith("opskit resume --all")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ModuleNotFoundError("No module named 'yaml'"), "world"),
        (OSError(28, "No space left on device"), "world"),
        (PermissionError(13, "Permission denied"), "world"),
        (MemoryError(), "world"),
        (ConnectionRefusedError(111, "Connection refused"), "world"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "file"),
        (ValueError("bad"), "file"),
        (KeyError("amount"), "file"),
        (FileNotFoundError(2, "No such file or directory", "/etc/no-such-file"), "file"),
    ],
)
def test_each_error_is_of_the_world_or_of_its_file(error: BaseException, kind: str) -> None:
    assert breaker.judged(of_exception(error), error).kind == kind


def test_a_file_that_is_missing_is_its_own_fault_unless_its_folder_is_an_empty_mount(tmp_path: Path) -> None:
    share = tmp_path / "mnt" / "share"
    share.mkdir(parents=True)

    def kind() -> str:
        try:
            (share / "2026" / "11" / "a.csv").read_bytes()
        except FileNotFoundError as error:
            return breaker.judged(of_exception(error), error).kind
        raise AssertionError

    assert kind() == "world"
    (share / "2025").mkdir()
    assert kind() == "file"


# -- real nodes ------------------------------------------------------------------------------


def unharmed(db: Database) -> bool:
    """Whether no file has lost a try or is failed."""
    lost = f"SELECT 1 FROM {db.settings.files} WHERE processing_failures > 0 OR processing_status = 'failed'"
    return not ask(db, lost)


def test_a_package_that_is_missing_everywhere_costs_no_file_a_try_and_is_found_when_it_comes(
    db: Database, start: Start, tmp_path: Path
) -> None:
    record(db)
    packages = tmp_path / "packages"
    packages.mkdir()
    add_many(db, 30)
    path = {"PYTHONPATH": f"{SUPPORT}:{packages}", "OPSKIT_RETRY_SECONDS": "0.1"}
    fleet = [start(f"node-{n}", act="need_package", **path) for n in range(3)]
    until(lambda: breaker.state(db) is not None)
    until(lambda: sum("the breaker is open" in node.log for node in fleet) == 3)
    until(lambda: unharmed(db), 5)
    state = breaker.state(db)
    assert state is not None
    assert "No module named 'nosuchpackage'" in state["error"]

    (packages / "nosuchpackage.py").write_text("")

    until(lambda: counts(db) == {"completed": 30})
    until(lambda: breaker.state(db) is None)
    assert violations(db) == []
    assert any("the breaker is closed" in node.log for node in fleet)
    assert not ask(db, f"SELECT 1 FROM {db.names['events']} WHERE next_status = 'failed'")


def test_a_disk_that_is_full_stops_one_node_alone_until_there_is_room(
    db: Database, start: Start, tmp_path: Path
) -> None:
    record(db)
    output = tmp_path / "output"
    output.symlink_to("/dev/full")
    add_many(db, 12)
    start("node-a", act="write_output", ACT_OUTPUT=str(output), OPSKIT_RETRY_SECONDS="0.1")
    until(lambda: breaker.state(db) is not None)
    until(lambda: unharmed(db), 5)

    output.unlink()

    until(lambda: counts(db) == {"completed": 12})
    assert unharmed(db)


@pytest.mark.slow
def test_a_share_without_permission_stops_the_fleet_and_a_node_that_dies_at_its_probe_keeps_nobody_waiting(
    db: Database, start: Start, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    add_many(db, 20)
    fleet = [start(f"node-{n}", act="by_world", ACT_BROKEN=str(broken)) for n in range(2)]
    until(lambda: breaker.state(db) is not None)
    dying = boot(db, "node-dying", lease_seconds=1.0)
    due(db)
    until(lambda: claims.claim(db, dying).outcome == "claimed" or due(db), 10)
    broken.unlink()

    until(lambda: counts(db) == {"completed": 20}, 60)

    assert breaker.state(db) is None
    assert [node.process.poll() for node in fleet] == [None, None]


@pytest.mark.slow
def test_bad_files_before_good_ones_never_stop_the_fleet(db: Database, start: Start) -> None:
    names = [f"{'value' if n % 3 == 0 else 'decode' if n % 3 == 1 else 'missing'}-{n}" for n in range(20)]
    add_files(db, *names, *(f"good-{n}" for n in range(60)))

    fleet = [start(f"node-{n}", "--drain", act="by_world", OPSKIT_QUARANTINE_AFTER="0") for n in range(3)]

    assert [node.end() for node in fleet] == [0, 0, 0]
    assert counts(db) == {"completed": 60, "failed": 20}
    assert not ask(db, f"SELECT 1 FROM {db.names['events']} WHERE kind = 'breaker'")


@pytest.mark.slow
def test_a_node_that_is_to_drain_ends_with_the_reason_while_the_breaker_is_open(
    db: Database, start: Start, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    add_many(db, 8)
    node = start("node-a", "--drain", act="by_world", ACT_BROKEN=str(broken))
    until(lambda: breaker.state(db) is not None)

    ask(db, f"UPDATE {db.names['pauses']} SET at = now() - interval '31 seconds' WHERE kind = 'breaker'")

    assert node.end() == 1
    assert "the breaker is open for" in node.log
    assert "PermissionError" in node.log.splitlines()[-2]
    assert counts(db) == {"queued": 8}


@pytest.mark.slow
def test_up_until_done_ends_with_the_reason_while_the_breaker_is_open(db: Database, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    add_many(db, 8)
    environ = {**os.environ, **db.settings.environ(), "NODE_ID": "up", "ACT_BROKEN": str(broken)}
    command = [
        sys.executable,
        "-m",
        "opskit",
        "up",
        "--no-dashboard",
        "--until-done",
        "--processor",
        "processors:by_world",
    ]
    with subprocess.Popen(
        command, env={**environ, "PYTHONPATH": str(SUPPORT)}, stderr=subprocess.PIPE, text=True
    ) as up:
        until(lambda: breaker.state(db) is not None)

        ask(db, f"UPDATE {db.names['pauses']} SET at = now() - interval '31 seconds' WHERE kind = 'breaker'")

        _, said = up.communicate(timeout=60)
    assert up.returncode == 1
    assert "opskit: the breaker is open for" in said
    assert "8 files wait" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_node_told_to_stop_ends_while_the_breaker_is_open(db: Database, start: Start, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    add_many(db, 8)
    node = start("node-a", act="by_world", ACT_BROKEN=str(broken))
    until(lambda: breaker.state(db) is not None)

    node.kill(signal.SIGTERM)

    assert node.end() == 0
    until(lambda: unharmed(db), 5)
