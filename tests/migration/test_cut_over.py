"""The cut-over: from the application's older processor to opskit's nodes, on one live table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from opskit import doctor, migration, queue
from opskit.database import Database
from opskit.database.session import Connection
from opskit.errors import ClaimLostError
from opskit.migration import cut_over
from opskit.queue import adopting, claims
from opskit.queue.claims import Answer
from opskit.settings import Settings
from opskit.support.progress import Progress
from tests.support.nodes import Node, counts, record, running_nodes, until
from tests.support.tables import Shape, application, ask_psql, attempts, boot, opskit, psql, put, row, rows, run

TABLE = "dev_uploaded_files"
SHAPE = Shape("identity", "zoned")


@pytest.fixture
def live(settings: Settings) -> Iterator[Database]:
    """The application's table, migrated but not cut over: three rows from before, the first of them processed."""
    with Database(settings) as db:
        with application(settings) as connection:
            SHAPE.create(connection, TABLE, rows=3)
            run(connection, f"UPDATE {TABLE} SET processed = true WHERE original_filename = 'before-0'")
        migration.migrate(db)
        yield db


def upload(db: Database, *names: str) -> list[str]:
    """New rows as the application makes them: it knows nothing of a status."""
    with application(db.settings) as connection:
        return [SHAPE.insert(connection, TABLE, original_filename=name) for name in names]


def waiting(db: Database) -> int:
    return int(db.one("concurrency", stale_after_seconds=3600)["waiting_files"])


def asked(db: Database, server_id: str) -> Answer:
    """What a new node's claim answers."""
    return claims.claim(db, boot(db, server_id))


# -- the older processor ---------------------------------------------------------------------

TAKE = f"""
    UPDATE {TABLE} SET processing_status = 'processing', processing_server_id = %(me)s, processing_started_at = now()
     WHERE id = %(id)s AND processing_status IS NOT DISTINCT FROM %(seen)s"""
FINISH = f"""
    UPDATE {TABLE} SET processing_status = 'completed', processing_completed_at = now(), processed = true
     WHERE id = %(id)s"""
FAIL = f"""
    UPDATE {TABLE} SET processing_status = 'failed', processing_completed_at = now(), processing_errors = %(error)s
     WHERE id = %(id)s"""


def take(connection: Connection, me: str) -> dict[str, Any] | None:
    """Choose a row and mark it, with the care that older processors take: none but the status in the WHERE."""
    while True:
        found = run(connection, f"""SELECT id, original_filename AS name, processing_status AS seen FROM {TABLE}
                                     WHERE (processing_status = 'queued' OR processing_status IS NULL AND NOT processed)
                                       AND NOT deleted ORDER BY id LIMIT 1""")  # fmt: skip
        if not found:
            return None
        given = {**found[0], "me": me}
        if connection.execute(TAKE.encode(), given).rowcount == 1:
            return found[0]


def older_processor(settings: Settings, me: str, *, crash_on: str = "", most: int = 1000) -> int:
    """Process what there is with plain statements and no token; answers how many files it ended."""
    with application(settings) as connection:
        for ended in range(most):
            taken = take(connection, me)
            if taken is None:
                return ended
            if taken["name"] == crash_on:
                return ended
            connection.execute(b"INSERT INTO effects (file_id, server_id) VALUES (%s, %s)", (str(taken["id"]), me))
            if taken["name"].startswith("bad"):
                connection.execute(FAIL.encode(), {"id": taken["id"], "error": "cannot parse"})
            else:
                connection.execute(FINISH.encode(), {"id": taken["id"]})
    return most


def wrongs(db: Database) -> list[str]:
    """Files that have ended other than once, or whose effect was not made once."""
    query = f"""
        SELECT f.id, f.processing_status, (SELECT count(*) FROM effects AS e WHERE e.file_id = f.id::text) AS effects,
               (SELECT count(*) FROM transitions AS t
                 WHERE t.file_id = f.id::text AND t.became IN ('completed', 'failed')) AS ends
          FROM {TABLE} AS f WHERE NOT processed OR processing_status IS NOT NULL ORDER BY f.id"""
    with db.connection() as connection:
        found = run(connection, query)
    return [str(each) for each in found if (each["effects"], each["ends"]) != (1, 1)]


# -- before, at and after the cut-over -------------------------------------------------------


def test_before_the_cut_over_new_rows_wait_and_everybody_says_so(live: Database) -> None:
    ids = upload(live, "a", "b")

    answer = asked(live, "node-a")
    findings = doctor.examine(live, missing=migration.missing(live), queues_new=migration.queues_new(live))
    said = opskit(live.settings, "doctor", "--json")

    assert (answer.outcome, answer.next_seconds) == ("empty", None)
    assert [row(live, id)["processing_status"] for id in ids] == [None, None]
    assert waiting(live) == 5
    assert int(ask_psql(live.settings, "concurrency")[0]["waiting_files"]) == 5
    (finding,) = findings
    assert finding.what == "5 rows wait without a status, and new rows join"
    assert "opskit migrate --queue-new" in finding.mend
    assert json.loads(said.stdout)["findings"][0]["mend"] == finding.mend
    # A warning, not an error: the older processor is at work.
    assert (finding.level, said.returncode) == ("warning", 0)


def by_python(db: Database, *, on: bool) -> None:
    migration.queue_new(db, on=on)


def by_shell(db: Database, *, on: bool) -> None:
    done = opskit(db.settings, "migrate", "--queue-new" if on else "--no-queue-new")
    assert done.returncode == 0, done.stderr
    assert ("are queued from now on" if on else "wait without a status") in done.stderr


def by_psql(db: Database, *, on: bool) -> None:
    done = psql(db.settings, "-v", "env=development", "-f", f"sql/{'' if on else 'no_'}queue_new.sql")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("door", [by_python, by_shell, by_psql])
def test_the_cut_over_queues_new_rows_and_can_be_undone(live: Database, door: Callable[..., None]) -> None:
    (before,) = upload(live, "before the cut-over")

    door(live, on=True)
    cut_over = migration.queues_new(live)
    (new,) = upload(live, "new")
    taken = asked(live, "node-a")
    door(live, on=False)
    (later,) = upload(live, "later")
    nothing = asked(live, "node-b")

    assert (cut_over, migration.queues_new(live)) == (True, False)
    assert taken.row is not None
    assert (taken.row["id"], taken.row["original_filename"]) == (new, "new")
    assert nothing.outcome == "empty"
    assert [row(live, id)["processing_status"] for id in (before, new, later)] == [None, "processing", None]
    assert migration.missing(live) == []


@pytest.mark.slow
def test_the_preview_of_the_cut_over_says_what_changes_and_for_whom_and_changes_nothing(live: Database) -> None:
    record(live)
    upload(live, "a", "b")
    boot(live, "node-a", lease_seconds=600.0)
    boot(live, "node-b", lease_seconds=600.0)
    paused = opskit(live.settings, "pause", "node-b")
    older_processor(live.settings, "old", crash_on="b")

    said = opskit(live.settings, "migrate", "--queue-new", "--plan")
    (answer,) = json.loads(opskit(live.settings, "migrate", "--queue-new", "--plan", "--json").stdout)

    assert (paused.returncode, said.returncode) == (0, 0), said.stderr
    assert "SET DEFAULT 'queued';" in said.stdout
    found = answer["cut_over"]
    assert (found["changes"], found["waiting"], found["per_hour"]) == (True, 1, 5)
    assert (found["nodes"], found["paused"]) == (["node-a", "node-b"], ["node-b"])
    ((old, holding, ended),) = [(one["server"], one["holding"], one["ended"]) for one in found["older"]]
    assert (old, holding, ended) == ("old", 1, 3)
    for sentence in (
        "every new row is queued from then on, about 5 an hour by uploaded_at lately",
        "1 node claims what is queued: node-a; node-b claims nothing at present",
        "1 row waits without a status; opskit enqueue --existing --where … adopts those you name",
        "old works without opskit: it holds 1 file and has ended 3 in the last hour, seen ",
    ):
        assert sentence in said.stderr
    assert migration.queues_new(live) is False


@pytest.mark.slow
def test_the_preview_of_undoing_it_and_of_what_is_done_already(live: Database) -> None:
    nothing = migration.preview(live, on=False)
    migration.queue_new(live)
    upload(live, "queued")
    again, back = migration.preview(live), migration.preview(live, on=False)
    said = opskit(live.settings, "migrate", "--no-queue-new", "--plan")

    assert (nothing["changes"], again["changes"], back["changes"]) == (False, False, True)
    assert nothing["sentences"][0] == "new rows wait without a status already; nothing would change"
    assert again["sentences"][:2] == [
        "new rows are queued already; nothing would change",
        "no node is alive: what is queued waits until one is started",
    ]
    assert "no older processor is seen" in again["sentences"][-1]
    assert back["sentences"][1] == "1 row that is queued stays with the nodes"
    assert "every new row waits without a status from then on" in said.stderr
    assert migration.queues_new(live) is True


def test_what_a_node_has_failed_is_not_taken_for_an_older_processors(live: Database) -> None:
    migration.queue_new(live)
    upload(live, "bad")
    held = asked(live, "node-a")
    assert held.row is not None
    claims.fail(
        live, id=held.row["id"], token=held.token, outcome="rejected", error="bad", max_failures=1, retry_seconds=0,
        actor="node-a",
    )  # fmt: skip

    assert migration.preview(live)["older"] == []


@pytest.mark.slow
def test_of_a_large_table_the_newest_rows_tell_the_rate(live: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_over, "EXACT_BYTES", 0)
    with application(live.settings) as connection:
        run(connection, f"UPDATE {TABLE} SET uploaded_at = now() - interval '30 minutes'")
        few = migration.preview(live)["per_hour"]
        run(
            connection,
            f"INSERT INTO {TABLE} (original_filename, uploaded_at) "
            "SELECT 'x', now() - n % 600 * interval '1 second' FROM generate_series(0, 59999) AS n",
        )

        assert few == 3
        assert migration.preview(live)["per_hour"] == pytest.approx(6 * newest(live), rel=0.05)
        run(connection, f"UPDATE {TABLE} SET uploaded_at = NULL")
    assert migration.preview(live)["per_hour"] is None


def newest(db: Database) -> int:
    """How many rows are on the last 500 pages."""
    with db.connection() as connection:
        (found,) = run(connection, f"""SELECT count(*) AS n FROM {TABLE} WHERE ctid >= format('(%s,0)',
            pg_relation_size('{TABLE}') / 8192 - 500)::tid""")  # fmt: skip
    return int(found["n"])


def test_a_migration_does_not_undo_the_cut_over(live: Database) -> None:
    migration.queue_new(live)

    steps = migration.migrate(live)

    assert (steps, migration.queues_new(live)) == ([], True)


def test_after_the_cut_over_the_doctor_speaks_of_rows_from_before_only(live: Database) -> None:
    migration.queue_new(live)

    (finding,) = doctor.examine(live, missing=[], queues_new=migration.queues_new(live))

    assert finding.what == "3 rows from before have no status"
    assert "opskit enqueue --existing" in finding.mend
    queue.adopt(live, "true", actor="me")
    assert [each.level for each in doctor.examine(live, missing=[], queues_new=True)] == ["error"]  # no node is alive


@pytest.mark.slow
def test_rows_from_before_are_adopted_by_a_condition_and_a_dry_run_only_counts(live: Database) -> None:
    given = ("enqueue", "--existing", "--where", "processed = false", "--json")

    dry = opskit(live.settings, *given, "--dry-run")
    still = waiting(live)
    done = opskit(live.settings, *given)
    again = opskit(live.settings, *given)

    assert [json.loads(each.stdout)["count"] for each in (dry, done, again)] == [2, 2, 0]
    assert (still, waiting(live)) == (3, 1)
    with application(live.settings) as connection:
        found = rows(connection, TABLE, "original_filename AS name, processing_status AS status", "1")
    assert [(each["name"], each["status"]) for each in found] == [
        ("before-0", None), ("before-1", "queued"), ("before-2", "queued"),
    ]  # fmt: skip
    assert asked(live, "node-a").outcome == "claimed"


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--where", "procesed = false"], 'column "procesed" does not exist'),
        (["--where", "processed = "], "syntax error"),
        (["some/path"], "--existing takes no paths"),
    ],
)
def test_a_condition_that_cannot_be_used_adopts_nothing(live: Database, arguments: list[str], sentence: str) -> None:
    done = opskit(live.settings, "enqueue", "--existing", *arguments)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert sentence in done.stderr
    assert "run: opskit migrate" not in done.stderr
    assert waiting(live) == 3


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--existing", "--where", " "], "--where is empty"),
        (["--dry-run", "README.md"], "--dry-run goes with --existing"),
        (["--where", "processed = false", "README.md"], "--where goes with --existing"),
    ],
)
def test_a_flag_that_would_do_the_opposite_of_what_was_meant_is_refused(
    live: Database, arguments: list[str], sentence: str
) -> None:
    done = opskit(live.settings, "enqueue", *arguments)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert sentence in done.stderr
    assert waiting(live) == 3
    assert live.one("concurrency", stale_after_seconds=3600)["queued"] == 0


def test_the_condition_is_judged_again_when_a_row_is_queued(live: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application has processed the second row when the first has been queued, and says so in its own column."""
    monkeypatch.setattr(adopting, "_BATCH", 1)

    def meanwhile(now: Progress) -> None:
        assert (now.done, now.total) == (1, 2)
        with application(live.settings) as connection:
            run(connection, f"UPDATE {TABLE} SET processed = true")

    assert queue.adopt(live, "processed = false", actor="me", on_progress=meanwhile) == 1
    assert waiting(live) == 2


# -- old and new on one table ----------------------------------------------------------------


@pytest.mark.slow
def test_an_older_processor_works_before_beside_and_after_opskits_nodes(live: Database, tmp_path: Path) -> None:
    record(live)
    upload(live, *(f"early-{n}" for n in range(10)), "bad-early")

    before = older_processor(live.settings, "old")
    migration.queue_new(live)
    upload(live, *(f"beside-{n}" for n in range(100)))
    with running_nodes(live, tmp_path) as start, ThreadPoolExecutor(2) as pool:
        node: Node = start("node-a", "--drain", act="effect", ACT_SECONDS="0.002")
        until(lambda: live.one("server_counts", server_id="node-a")["completed"])
        beside = [pool.submit(older_processor, live.settings, me, most=40) for me in ("old-1", "old-2")]
        shares = [future.result(30) for future in beside]
        code = node.end()
    upload(live, *(f"late-{n}" for n in range(10)), "bad-late")
    after = older_processor(live.settings, "old")

    # Two of the three rows from before were not processed yet.
    assert (before, after, code) == (13, 11, 0), node.log
    assert min(shares) > 0
    assert live.one("server_counts", server_id="node-a")["completed"] == 100 - sum(shares)
    assert wrongs(live) == []
    assert counts(live) == {"completed": 122, "failed": 2}
    assert queue.preview(live, every=True) == []


def test_the_crashed_claim_of_an_older_processor_fails_after_an_hour_and_is_never_an_orphan(live: Database) -> None:
    record(live)
    migration.queue_new(live)
    crashed, _ = upload(live, "crashes", "fine")
    # A node of the same name has died and started again: neither says anything about this claim.
    boot(live, "old")
    with application(live.settings) as connection:
        run(connection, f"UPDATE {TABLE} SET processed = true")
        run(connection, f"UPDATE {TABLE} SET processed = false WHERE id = {crashed}")
        run(connection, f"UPDATE {live.names['nodes']} SET lease_until = now() - interval '1 day'")
    older_processor(live.settings, "old", crash_on="crashes")
    boot(live, "old")
    seen = []
    for age in ("0 minutes", "59 minutes", "61 minutes"):
        put(live, crashed, f"processing_started_at = now() - interval '{age}'")
        (shown,) = queue.preview(live, every=True)
        done = queue.cleanup(live, actor="test")
        seen.append((shown["verdict"], len(done.pending), [each["outcome"] for each in done.ended]))

    assert seen == [("unproven", 0, []), ("unproven", 0, []), ("stale", 0, ["failed"])]
    (event,) = attempts(live, crashed)
    assert (event["outcome"], event["token"]) == ("timeout", None)
    assert event["reason"] == "Processing timeout: no progress for 61 minutes on old"
    assert row(live, crashed)["processing_errors"] == event["reason"]


def test_a_late_older_processor_cannot_end_the_file_that_a_node_has_now(live: Database) -> None:
    migration.queue_new(live)
    (id,) = upload(live, "slow")
    with application(live.settings) as connection:
        run(connection, f"UPDATE {TABLE} SET processed = true WHERE id <> {id}")
        taken = take(connection, "old")
        assert taken is not None
        put(live, id, "processing_started_at = now() - interval '2 hours'")
        queue.cleanup(live, actor="test")
        queue.requeue(live, [id], actor="test")
        heir = asked(live, "node-a")

        with pytest.raises(Exception, match=live.names["fence_check"]):
            connection.execute(FINISH.encode(), {"id": taken["id"]})

    assert claims.complete(live, id=id, token=heir.token) == "done"
    assert row(live, id)["processing_server_id"] == "node-a"


def test_a_node_whose_file_an_older_processor_has_taken_over_is_refused(live: Database) -> None:
    migration.queue_new(live)
    (id,) = upload(live, "contested")
    held = asked(live, "node-a")
    with application(live.settings) as connection:
        # The application gives the file back by its own means, and its older processor takes it.
        run(connection, f"UPDATE {TABLE} SET processing_status = 'queued', processed = id <> {id} WHERE id = {id}")
        run(connection, f"UPDATE {TABLE} SET processed = true WHERE id <> {id}")
        taken = take(connection, "old")

        with pytest.raises(ClaimLostError):
            claims.complete(live, id=id, token=held.token)
        connection.execute(FINISH.encode(), {"id": int(id)})

    assert taken is not None
    assert str(taken["id"]) == id
    assert row(live, id)["processing_status"] == "completed"
    assert claims.claim(live, boot(live, "node-b")).outcome == "empty"
