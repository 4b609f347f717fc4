"""An operator's cleanup and a completing node meet on the same file: one of them wins, and says so truly."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import ClaimLostError
from opskit.queue import claims
from tests.faults.conftest import Start
from tests.support.nodes import add_files, add_many, ask, counts, record
from tests.support.tables import boot, claim
from tests.support.waiting import eventually, prove


def test_a_cleanup_skips_the_file_that_is_being_completed_this_moment(db: Database) -> None:
    record(db)
    (file,) = add_files(db, "a")
    held = claim(db, boot(db))
    expire(db)
    (suspect,) = queue.preview(db)

    with claims.completing(db, id=file, token=held.token) as tx:
        done = queue.cleanup(db, claims=[suspect["claim"]], look_seconds=0, actor="operator")
        tx.execute("INSERT INTO effects (file_id) VALUES (%s)", (file,))
    again = queue.cleanup(db, claims=[suspect["claim"]], look_seconds=0, actor="operator")

    assert (done.ended, done.skipped) == ([], [suspect["claim"]])
    assert (again.ended, again.skipped) == ([], [suspect["claim"]])
    prove(db, 1)


@pytest.mark.slow
def test_whoever_is_first_of_a_cleanup_and_a_completion_wins_and_the_other_is_told(db: Database) -> None:
    record(db)
    rounds, cleaned = 60, 0
    for n in range(rounds):
        (file,) = add_files(db, f"file-{n}")
        held = claim(db, boot(db, f"node-{n}"))
        expire(db)
        (suspect,) = queue.preview(db)
        both, lost = threading.Barrier(2), list[str]()
        node = threading.Thread(target=_complete, args=(db, file, held.token, both, lost))
        node.start()
        both.wait()
        time.sleep(0.0002 * (n % 6))
        done = queue.cleanup(db, claims=[suspect["claim"]], look_seconds=0, actor="operator")
        node.join()

        state = db.one("file", id=file)["processing_status"]
        if done.ended:
            cleaned += 1
            assert (state, lost, done.skipped) == ("queued", [file], [])
            ask(db, f"DELETE FROM {db.settings.files} WHERE id = %s", file)
        else:
            assert (state, lost, done.skipped) == ("completed", [], [suspect["claim"]])

    assert counts(db) == {"completed": rounds - cleaned}


@pytest.mark.slow
def test_an_operator_who_hammers_cleanup_at_working_nodes_ends_no_completed_file(db: Database, start: Start) -> None:
    record(db)
    add_many(db, 300)
    for n in range(2):
        start(f"node-{n}", act="effect", ACT_SECONDS="0.01", OPSKIT_MAX_FAILURES="1000")
    eventually(lambda: counts(db).get("completed", 0) > 5)

    ended: set[str] = set()
    skipped: set[str] = set()
    added = 300
    least, most = time.monotonic() + 8, time.monotonic() + 90
    with Database(db.settings, pooled=False) as operator:
        # Until cleanup has won and lost, however the machine has its nodes meet it.
        while time.monotonic() < (most if not (ended and skipped) else least):
            if counts(db).get("completed", 0) > added - 50:
                if ended and skipped:
                    break
                add_many(db, 100)
                added += 100
            with expired(operator):
                wanted = [row["claim"] for row in queue.preview(operator)]
            with expired(operator):
                done = queue.cleanup(operator, claims=wanted, look_seconds=0, actor="operator") if wanted else None
            if done:
                ended |= {row["claim"].split("/")[1] for row in done.ended}
                skipped |= {claim.split("/")[1] for claim in done.skipped}
    eventually(lambda: counts(db) == {"completed": added})

    prove(db, added)
    completed = {str(row["token"]) for row in ask(db, "SELECT token FROM effects")}
    assert ended
    assert skipped
    assert not ended & completed


def _complete(db: Database, id: str, token: str, both: threading.Barrier, lost: list[str]) -> None:
    """What a node does when the processor has returned, at the same moment as somebody else."""
    both.wait()
    try:
        claims.complete(db, id=id, token=token)
    except ClaimLostError:
        lost.append(id)


@contextlib.contextmanager
def expired(db: Database) -> Iterator[None]:
    """Every lease is over for this connection; the nodes, who claim nothing without one, do not see it."""
    with db.connection() as connection, connection.transaction():
        expire(db)
        yield
        ask(db, f"UPDATE {db.names['nodes']} SET lease_until = clock_timestamp() + interval '2 seconds'")


def expire(db: Database) -> None:
    """Let every lease be over, as two looks have seen it."""
    ask(
        db,
        f"UPDATE {db.names['nodes']} SET lease_until = now() - interval '1 hour', "
        "looked_lease = now() - interval '1 hour', looked_at = now() - interval '1 minute'",
    )
