"""Quarantine through the doors: what operators see, and what ends it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from opskit import doctor, migration, queue, stats
from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import claims, nodes
from opskit.queue.quarantine import judge
from opskit.queue.server_id import Boot
from tests.support.api import Client, served
from tests.support.nodes import ask, until
from tests.support.quarantine import convicting, quarantined, state
from tests.support.tables import ask_psql, boot, environ, opskit, put_node

# -- pause, resume, and who claims ---------------------------------------------------------------


@pytest.fixture
def http(db: Database) -> Client:
    """The API, called from this machine."""
    return served(lambda: db, db.settings)


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


@pytest.mark.slow
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
                until(lambda: any("set NODE_ID on each" in line for line in lines))
            finally:
                node.kill()
        reader.join()
    assert f"server ID {name} is alive on" in "".join(lines)
