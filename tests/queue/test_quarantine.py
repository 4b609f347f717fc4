"""A node is blamed only by evidence: files that it failed and another node then completed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from opskit import doctor, migration, queue, stats
from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import claims, nodes
from opskit.queue.identity import Boot
from opskit.queue.quarantine import judge
from opskit.worker.quarantine import Rest, Watch, probed
from opskit.worker.status import SharedStatus, Snapshot
from tests.support.nodes import ask, until
from tests.support.tables import ask_psql, attempts, boot, claim, environ, fail, files, opskit, put_node
from tests.web.test_api import Client, served

FILE = 'File "/srv/app/work.py", line 3, in process\n'


def complete(db: Database, node: Boot, id: str) -> None:
    """Claim one file and complete it."""
    claims.complete(db, id=id, token=claims.claim_one(db, node, id).token)


def failed_by(db: Database, node: Boot, *ids: str, outcome: str = "raised") -> None:
    """Claim each file and end the attempt badly."""
    for id in ids:
        token = claims.claim_one(db, node, id).token
        fail(db, id, token, outcome=outcome, error=f"Traceback:\n{FILE}OSError: [Errno 28] No space left on device")


def convicting(db: Database, sick: Boot, *healthy: Boot, count: int = 5) -> list[str]:
    """Files that one node failed and others then completed, and one more that it failed after that."""
    ids = files(db, *(f"{sick.server_id}-{n}.csv" for n in range(count + 1)))
    failed_by(db, sick, *ids[:-1])
    for number, id in enumerate(ids[:-1]):
        complete(db, healthy[number % len(healthy)], id)
    failed_by(db, sick, ids[-1])
    return ids


def state(db: Database, server_id: str) -> str:
    """What a node is told to do."""
    return str(ask(db, f"SELECT state FROM {db.names['nodes']} WHERE server_id = %s", server_id)[0]["state"])


@pytest.fixture
def fleet(db: Database) -> tuple[Boot, Boot, Boot]:
    """Three nodes."""
    return boot(db, "a"), boot(db, "b"), boot(db, "c")


# -- the judgement -----------------------------------------------------------------------------


def test_a_node_goes_into_quarantine_when_others_completed_what_it_failed(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)

    reason = judge(db, sick, 6)

    assert reason is not None
    assert reason.startswith("5 files that it failed were then completed by other nodes, as a-4.csv: OSError: ")
    assert [state(db, name) for name in "abc"] == ["quarantined", "active", "active"]
    event = db.run("events", file_id="", kind="state", row_limit=1)[0]
    (whole,) = db.run("event", event_id=event["id"])
    assert (whole["outcome"], whole["reason"]) == ("quarantined", reason)
    assert {file["completedBy"] for file in whole["details"]["files"]} == {"b", "c"}


@pytest.mark.parametrize("outcome", ["rejected", "timeout"])
def test_rejected_and_timed_out_files_are_no_evidence(
    db: Database, fleet: tuple[Boot, Boot, Boot], outcome: str
) -> None:
    sick, well, _ = fleet
    ids = files(db, *(f"file-{n}" for n in range(7)))
    failed_by(db, sick, *ids[:-1], outcome=outcome)
    for id in ids[:-1]:
        queue.requeue(db, [id], actor="me")
        complete(db, well, id)
    failed_by(db, sick, ids[-1])

    assert judge(db, sick, 7) is None


def test_a_file_that_failed_elsewhere_too_is_no_evidence(db: Database, fleet: tuple[Boot, Boot, Boot]) -> None:
    sick, well, other = fleet
    ids = files(db, *(f"file-{n}" for n in range(6)))
    failed_by(db, sick, *ids[:-1])
    failed_by(db, other, ids[0])
    for id in ids[:-1]:
        complete(db, well, id)
    failed_by(db, sick, ids[-1])

    assert judge(db, sick, 6) is None


def test_a_node_that_failed_only_while_nobody_succeeded_is_not_blamed(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    sick, well, _ = fleet
    ids = files(db, *(f"file-{n}" for n in range(6)))
    failed_by(db, sick, *ids)
    # The outage is over: others were first to take the files again.
    for id in ids:
        complete(db, well, id)

    assert judge(db, sick, 6) is None


def test_failures_from_before_a_completion_of_its_own_do_not_count(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)

    assert judge(db, sick, 4) is None
    assert judge(db, sick, 5) is None, "four of its last five attempts are evidence"


def test_evidence_ends_after_an_hour(db: Database, fleet: tuple[Boot, Boot, Boot]) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    ask(db, f"UPDATE {db.names['events']} SET at = at - interval '61 minutes'")

    assert judge(db, sick, 6) is None


@pytest.mark.parametrize(
    "change", ["stopped_at = now()", "lease_until = now() - interval '1 s'", "state = 'draining'", "paused"]
)
def test_the_last_node_that_claims_is_never_quarantined(db: Database, change: str) -> None:
    sick, other, third = boot(db, "a"), boot(db, "b"), boot(db, "c")
    convicting(db, sick, other, third)
    for name in "bc":
        queue.pause(db, name, actor="me") if change == "paused" else put_node(db, name, change)

    assert judge(db, sick, 6) is None
    assert state(db, "a") == "active"


def test_one_of_two_may_go_and_one_of_three_but_not_two_of_three(db: Database) -> None:
    first, second = boot(db, "a"), boot(db, "b")
    convicting(db, first, second)
    assert judge(db, first, 6)

    third = boot(db, "c")
    convicting(db, second, third)

    assert judge(db, second, 6) is None
    boot(db, "d")
    assert judge(db, second, 6)


def test_nodes_that_judge_at_once_never_take_more_than_half_of_the_fleet(db: Database) -> None:
    fleet = [boot(db, name) for name in "abcd"]
    judges = [Database(db.settings, pooled=False) for _ in fleet]
    for one in judges:
        one.one("bad_attempts", server_id="a", row_limit=1)
    most = 0
    well = boot(db, "well")
    charges = {node.server_id: convicting(db, node, well) for node in fleet}
    assert len(charges) == 4
    nodes.deregister(db, well, "it has shown that the files are good")

    for _ in range(25):
        ask(db, f"UPDATE {db.names['nodes']} SET state = 'active', probe_at = NULL, cleared_at = NULL")
        start = threading.Barrier(4)

        def judged(own: Database, node: Boot, start: threading.Barrier = start) -> None:
            start.wait()
            judge(own, node, 6)

        threads = [threading.Thread(target=judged, args=each) for each in zip(judges, fleet, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = sum(state(db, node.server_id) == "quarantined" for node in fleet)
        most = max(most, taken)
        assert taken <= 2
    assert most == 2, "the evidence would have sufficed against all four"
    for one in judges:
        one.close()


def test_a_judgement_gives_way_to_whoever_holds_a_row_and_keeps_no_heartbeat_waiting(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    with Database(db.settings, pooled=False) as rude, rude.connection() as connection, connection.transaction():
        connection.execute(f"SELECT FROM {db.names['nodes']} WHERE server_id = 'b' FOR UPDATE".encode())
        assert judge(db, sick, 6) is None

    assert judge(db, sick, 6)


def test_evidence_is_read_through_indexes_however_long_the_history_is(db: Database) -> None:
    sick, well, _ = boot(db, "a"), boot(db, "b"), boot(db, "c")
    names = db.names
    # A long history: of the fleet, whose newest events are all of others, and of the node, whose are old.
    ask(
        db,
        f"INSERT INTO {names['files']} (original_filename, processing_status, processing_server_id, "
        "processing_started_at, processing_completed_at, processing_attempt) "
        "SELECT 'f' || n, 'completed', 'b', now(), now(), 1 FROM generate_series(1, 100000) AS n",
    )
    convicting(db, sick, well)
    ask(
        db,
        f"INSERT INTO {names['events']} (kind, outcome, next_status, file_id, server_id, attempt, started_at) "
        "SELECT 'attempt', 'raised', 'queued', n::text, 'b', 1, now() FROM generate_series(1, 100000) AS n",
    )

    def pages(name: str, **values: Any) -> int:
        text, bound = db._text(name)[1], dict(values)
        with db.connection() as connection, connection.transaction(force_rollback=True):
            bound |= {key: names[key] for key in db._text(name)[0].values & names.keys()}
            raw = text if isinstance(text, bytes) else text.as_string().encode()
            row = connection.execute(b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + raw, bound).fetchone()
        assert row is not None
        plan = row["QUERY PLAN"][0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    for analyzed in (False, True):
        if analyzed:
            ask(db, f"ANALYZE {names['files']}, {names['events']}, {names['nodes']}")
        charge = db.one("bad_attempts", server_id="a", row_limit=6)
        assert len(charge["ids"]) == 6
        again, since = charge["again"].isoformat(), charge["since"].isoformat()
        assert pages("bad_attempts", server_id="a", row_limit="6") < 60  # 5 to 12
        ids = "{" + ",".join(charge["ids"]) + "}"
        used = pages("quarantine", server_id="a", boot=sick.boot, ids=ids, since=since, again=again, after="5")
        assert used < 250  # 57 to 90


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


# -- pause, resume, and who claims ---------------------------------------------------------------


@pytest.fixture
def http(db: Database) -> Client:
    """The API, called from this machine."""
    return served(lambda: db, db.settings)


def quarantined(db: Database, *names: str) -> None:
    """Put nodes into quarantine."""
    for name in names:
        put_node(db, name, "state = 'quarantined', probe_at = now() + interval '1 h', probe_seconds = 300")


def test_resume_all_ends_every_quarantine_and_says_what_it_did(
    db: Database, http: Client, fleet: tuple[Boot, Boot, Boot]
) -> None:
    quarantined(db, "a", "b")
    queue.pause(db, "c", actor="me")

    did = nodes.resumption(db, "*", actor="me")

    assert (did.changed, did.unpaused, did.cured, did.held) == (True, False, ("a", "b"), ("c",))
    assert did.more == "; a, b left quarantine; there was no pause of all; c stays paused by name"
    assert [state(db, name) for name in "abc"] == ["active"] * 3
    assert claims.claim(db, fleet[0]).outcome == "empty"
    assert claims.claim(db, fleet[2]).outcome == "paused"
    resumed = [row["server_id"] for row in db.run("events", file_id="", kind="resume", row_limit=9)]
    assert sorted(resumed) == ["a", "b"]

    quarantined(db, "a")
    queue.pause(db, actor="me")
    said = opskit(db.settings, "resume", "--all")
    assert said.stdout == "every node goes on; a left quarantine; c stays paused by name (development)\n"
    said = opskit(db.settings, "resume", "--all", "--json")
    assert json.loads(said.stdout) == {
        "environment": "development", "scope": "*", "changed": False, "leftQuarantine": [], "stillPaused": ["c"],
    }  # fmt: skip

    quarantined(db, "b")
    answer = http.post("/api/processing/resume").json()
    assert answer == {
        "success": True, "serverId": "*", "changed": True, "leftQuarantine": ["b"], "stillPaused": ["c"],
        "message": "every node is resumed; b left quarantine; there was no pause of all; c stays paused by name",
    }  # fmt: skip
    quarantined(db, "b")
    (row,) = ask_psql(db.settings, "resume", scope="*", actor="me", reason="")
    assert (row["changed"], row["cured"], row["held"]) == ("t", "{b}", "{c}")


def test_a_node_that_leaves_quarantine_while_all_are_paused_is_not_said_to_claim(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    quarantined(db, "a")
    queue.pause(db, actor="me")

    did = nodes.resumption(db, "a", actor="me")

    assert did.more == "; a left quarantine; all nodes are paused still"
    assert claims.claim(db, fleet[0]).outcome == "paused"


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_node_that_nobody_knows_is_refused_by_every_door(db: Database, http: Client, verb: str) -> None:
    sentence = "there is no node 'no-such-node'; opskit stats nodes lists them"

    with pytest.raises(SettingError, match=sentence):
        getattr(queue, verb)(db, "no-such-node", actor="me")
    done = opskit(db.settings, verb, "no-such-node")
    answer = http.post(f"/api/processing/{verb}", json={"serverId": "no-such-node"})
    (row,) = ask_psql(db.settings, verb, scope="no-such-node", actor="me", reason="")

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"opskit: {sentence}\n")
    assert (answer.status_code, answer.json()) == (404, {"error": sentence})
    assert (row["changed"], row["refused"]) == ("f", "there is no node 'no-such-node'")
    assert db.run("pauses") == []
    assert {row["kind"] for row in db.run("events", file_id="", kind="", row_limit=9)} == {"migrate"}


def test_a_stopped_node_may_be_paused_and_a_pause_of_a_node_that_is_gone_be_ended(db: Database) -> None:
    nodes.deregister(db, boot(db), "done")
    assert queue.pause(db, "node-a", actor="me")
    ask(db, f"DELETE FROM {db.names['nodes']}")

    assert queue.resume(db, "node-a", actor="me")
    with pytest.raises(SettingError):
        queue.resume(db, "node-a", actor="me")


def test_who_is_alive_and_who_claims_are_told_apart(db: Database, http: Client) -> None:
    for name in ("well", "sick", "draining", "paused", "silent", "gone"):
        node = boot(db, name)
    nodes.deregister(db, node, "done")
    put_node(db, "silent", "lease_until = now() - interval '1 s'")
    put_node(db, "draining", "state = 'draining'")
    quarantined(db, "sick")
    queue.pause(db, "paused", actor="me")

    for now in (db.one("live", stale_after_seconds=3600), stats.concurrency(db).iloc[0]):
        assert (now["active_servers"], now["claiming_nodes"], now["quarantined_nodes"]) == (4, 1, 1)
    assert http.get("/api/processing/concurrency-stats").json()["activeServers"] == 4
    assert 'opskit_claiming_nodes{environment="development"} 1.0' in http.get("/metrics").text

    queue.pause(db, actor="me")
    assert db.one("live", stale_after_seconds=3600)["claiming_nodes"] == 0


def test_the_doctor_names_the_evidence_of_a_quarantine(db: Database, fleet: tuple[Boot, Boot, Boot]) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    assert judge(db, sick, 6)

    (finding,) = [each for each in doctor.examine(db, missing=[]) if "quarantine" in each.what]

    assert finding.level == "error"
    assert "5 files failed there and completed elsewhere: 'a-4.csv' (OSError: [Errno 28] No space left" in finding.what
    assert "completed on b)" in finding.what
    assert finding.what.endswith("and 2 more")
    assert "disk" not in finding.why
    assert finding.mend == "opskit resume a"


# -- names ---------------------------------------------------------------------------------------


def test_two_nodes_with_one_host_name_and_process_id_are_told_to_set_node_id(db: Database) -> None:
    import dataclasses
    import socket

    own = dataclasses.replace(db.settings, env="production")
    with Database(own) as production:
        migration.migrate(production)
        shell = f"read go; exec {sys.executable} -m opskit.worker"
        environment = {key: value for key, value in environ(own).items() if key != "NODE_ID"}
        with subprocess.Popen(
            ["sh", "-c", shell], env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as node:
            try:
                name = f"{socket.gethostname()[:60]}-{node.pid}"
                boot(production, name)
                put_node(production, name, f"host = '{socket.gethostname()}', pid = {node.pid}")
                assert node.stdin is not None
                assert node.stderr is not None
                node.stdin.write("\n")
                node.stdin.flush()
                lines: list[str] = []
                reader = threading.Thread(target=lambda: lines.extend(node.stderr or ()), daemon=True)
                reader.start()
                until(lambda: any("set NODE_ID on each" in line for line in lines), 30)
            finally:
                node.kill()
        reader.join()
    assert f"server ID {name} is alive on" in "".join(lines)


def test_an_attempt_that_others_made_leaves_no_trace_in_the_judgement(db: Database) -> None:
    node = boot(db)
    (id,) = files(db, "a")
    failed_by(db, boot(db, "b"), id)

    assert db.one("bad_attempts", server_id=node.server_id, row_limit=10) == {"ids": [], "since": None, "again": None}
    assert len(attempts(db, id)) == 1
