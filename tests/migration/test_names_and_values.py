"""Names, values and zones may be anything."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from opskit import migration, queue, stats
from opskit.database import Database
from opskit.errors import DatabaseError, OpskitError, SettingError
from opskit.queue import claims
from opskit.settings import Settings
from tests.support.shapes import cycle, migrated, uploads
from tests.support.tables import (
    Shape,
    application,
    attempts,
    boot,
    change,
    claim,
    claimed,
    fail,
    files,
    insert,
    psql,
    put,
    row,
    rows,
    run,
)

TABLE = "dev_uploaded_files"


WEIRD = [
    'we"ird; DROP TABLE x',
    "50% of %s %(id)s",
    "it's a \"b\" 'c'",
    "Übergrößen 表",
    "select",
    "a:b::c :'d'",
    "$$;--/*",
]


# -- names and values ------------------------------------------------------------------------


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(
    ("table", "env"), [(table, ("development", "production")[n % 2]) for n, table in enumerate(WEIRD)]
)
def test_a_table_may_be_called_anything(settings: Settings, table: str, env: str, tmp_path: Path) -> None:
    settings = dataclasses.replace(settings, table=table, env=env)
    with Database(settings) as db:
        with application(settings) as connection:
            run(connection, "CREATE TABLE x ()")
            Shape("text", "plain").create(connection, settings.files, rows=2)
        migration.migrate(db)
        migration.queue_new(db)
        with application(settings) as connection:
            cycle(db, lambda name: Shape("text", "plain").insert(connection, settings.files, original_filename=name))
        queue.enqueue(db, uploads(tmp_path, "a.csv"), columns={"amount": "3"})
        adopted = queue.adopt(db, "amount = 7", actor="test")
        frames = {name: function(db) for name, function in stats.STATISTICS.items()}

        assert adopted == 2
        assert migration.missing(db) == []
        assert migration.migrate(db) == []
        assert int(frames["concurrency"]["total_files"].iloc[0]) == 9
        assert frames["distribution"]["file_count"].sum() == 9
        assert queue.prune(db, node_days=0) == {"nodes": 1, "events": 0, "logs": 0}
        with application(settings) as connection:
            assert rows(connection, "x", order="ctid") == []


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("table", WEIRD)
def test_psql_takes_the_same_weird_names(settings: Settings, table: str) -> None:
    settings = dataclasses.replace(settings, table=table)

    migrated = psql(settings, "-f", "sql/migrate.sql")
    with Database(settings, pooled=False) as db:
        missing = migration.missing(db)
        files(db, "a", "b")
    counted = psql(settings, "-f", "sql/distribution.sql")
    cleaned = psql(settings, "-v", "env=development", "-v", f"table={table}", "-f", "sql/cleanup.sql")

    assert (migrated.returncode, counted.returncode, cleaned.returncode) == (0, 0, 0), migrated.stderr + cleaned.stderr
    assert missing == []
    assert counted.stdout == "processing_server_id,processing_status,file_count\n,queued,2\n"


def test_a_name_too_long_for_its_indexes_is_refused() -> None:
    assert Settings.load({}, table="t" * 40).files == "dev_" + "t" * 40

    with pytest.raises(SettingError, match="at most 40 bytes"):
        Settings.load({}, table="t" * 41)
    with pytest.raises(SettingError, match="at most 40 bytes"):
        Settings.load({}, table="ü" * 21)


def test_the_longest_name_keeps_all_its_indexes(settings: Settings) -> None:
    with Database(dataclasses.replace(settings, table="t" * 40), pooled=False) as db:
        migration.migrate(db)
        (id,) = files(db, "a")

        assert migration.missing(db) == []
        assert claim(db, boot(db)).row["id"] == id  # type: ignore[index]


VALUES = {
    "quotes": 'it\'s "quoted" \\\'\\" $$ ;-- ',
    "percent": "100% %s %(id)s %%",
    "variables": ":id :'id' :\"files\"",
    "lines": "two\nlines\r\n\tand a tab \x1b[31m",
    "other scripts": "表 Ünï 🙂 \u202e",
    "long": "x" * 2**20,
}


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_names_errors_reasons_and_results_may_be_anything(db: Database, value: str) -> None:
    (id,) = files(db, value)
    node = boot(db, lease_seconds=600.0)
    first = claim(db, node)
    fail(db, id, first.token, error=value, actor=value)
    second = claim(db, node)
    claims.release(db, id=id, token=second.token, reason=value, actor=value)
    third = claim(db, node)
    claims.complete(db, id=id, token=third.token, result={value: [value]})
    found, history = row(db, id), attempts(db, id)
    queue.requeue(db, [id], actor=value, reason=value)
    queue.pause(db, actor=value, reason=value)

    assert first.row is not None
    assert first.row["original_filename"] == found["original_filename"] == value
    assert history[0]["reason"] == history[0]["actor"] == value
    if len(value) < 10_000:
        assert history[1]["reason"] == value
    else:
        assert len(history[1]["reason"]) <= 10_000
        assert "…" in history[1]["reason"]
    assert found["processing_result"] == {value: [value]}
    assert db.run("pauses")[0]["reason"] == value


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "\udcff.csv"])
def test_what_postgresql_cannot_store_is_cleaned_out_of_an_error(db: Database, value: str) -> None:
    id, token = claimed(db)

    outcome = fail(db, id, token, outcome="rejected", error=value)

    assert outcome == "failed"
    stored = row(db, id)["processing_errors"]
    assert re.sub(r"[\ufffd?]", "_", stored) == re.sub(r"[\0\ud800\udcff]", "_", value)


@pytest.mark.parametrize(
    ("result", "stored"),
    [
        ({"name": "a\0b"}, {"name": "a\ufffdb"}),
        ({"a\0b": ["\0", {"c": "\0"}]}, {"a\ufffdb": ["\ufffd", {"c": "\ufffd"}]}),
        ({"path": "C:\\u0000"}, {"path": "C:\\u0000"}),
        ({"rate": float("nan"), "most": float("inf")}, {"rate": "nan", "most": "inf"}),
        ({}, {}),
    ],
)
def test_a_result_is_stored_as_it_is_but_for_what_json_does_not_know(
    db: Database, result: dict[str, Any], stored: dict[str, Any]
) -> None:
    id, token = claimed(db)

    claims.complete(db, id=id, token=token, result=result)

    assert row(db, id)["processing_result"] == stored


@pytest.mark.parametrize("what", ["enqueue", "requeue", "pause", "cleanup"])
def test_a_value_with_nul_is_refused_in_one_sentence_and_nothing_is_done(
    db: Database, what: str, tmp_path: Path
) -> None:
    with application(db.settings) as connection:
        run(connection, f"ALTER TABLE {TABLE} ADD COLUMN note text")
    (path,) = uploads(tmp_path, "a.csv")
    before = db.run("events", file_id="", kind="", row_limit=100)
    actions = {
        "enqueue": lambda: queue.enqueue(db, [path], columns={"note": "a\0b"}),
        "requeue": lambda: queue.requeue(db, failed=True, reason="a\0b", actor="me"),
        "pause": lambda: queue.pause(db, actor="me", reason="a\0b"),
        "cleanup": lambda: queue.cleanup(db, actor="me", reason="a\0b"),
    }

    with pytest.raises(DatabaseError, match="NUL") as refused:
        actions[what]()

    assert isinstance(refused.value, OpskitError)
    assert "\0" not in str(refused.value)
    assert db.run("distribution") == []
    assert db.run("events", file_id="", kind="", row_limit=100) == before


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("name", ["it's.csv", "50%.csv", 'a"b.csv', "a\nb.csv", "a\tb\\N.csv", "\\.csv", "表.csv"])
def test_a_file_of_any_name_is_queued_under_it(db: Database, name: str, tmp_path: Path) -> None:
    paths = uploads(tmp_path, name)

    queue.enqueue(db, paths)

    answer = claim(db, boot(db))
    assert answer.row is not None
    assert (answer.row["original_filename"], answer.row["storage_path"]) == (name, str(paths[0]))


def test_ids_of_text_may_be_anything(bare: Database) -> None:
    migrated(bare, Shape("text", "zoned"))
    odd = ["it's", 'a "b", {c}', "back\\slash", "50%", "", "a/b", "NULL", "表"]
    with application(bare.settings) as connection:
        for id in odd:
            insert(connection, TABLE, id=id, original_filename="x")
    node = boot(bare, lease_seconds=600.0)
    for id in odd:
        fail(bare, id, claims.claim_one(bare, node, id).token, outcome="rejected")

    requeued = queue.requeue(bare, odd, actor="me")
    with application(bare.settings) as connection:
        run(
            connection,
            f"UPDATE {TABLE} SET processing_status = 'processing', processing_started_at = now() - interval '2 h'",
        )
    named = [each["claim"] for each in queue.preview(bare)]
    cleaned = queue.cleanup(bare, claims=named[:3], actor="me")

    assert {each["id"] for each in requeued} == set(odd)
    assert sorted(named) == sorted(f"{id}/" for id in odd)
    assert [each["claim"] for each in cleaned.ended] == named[:3]


# -- zones -----------------------------------------------------------------------------------


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("where", ["database", "role", "url", "PGTZ", "TZ", "PGOPTIONS"])
@pytest.mark.parametrize(
    ("time", "pooled"),
    [("plain", True), ("plain", False), ("zoned", False)],
    ids=["plain, pooled", "plain, its own connection", "zoned, its own connection"],
)
def test_a_ten_minute_old_claim_is_ten_minutes_old_in_any_zone(
    settings: Settings, where: str, pooled: bool, time: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Database(settings, pooled=False) as bare:
        migrated(bare, Shape("identity", time))
        (id,) = files(bare, "a")
        utc = "now() AT TIME ZONE 'UTC'" if time == "plain" else "now()"
        claims.claim_one(bare, boot(bare, lease_seconds=600.0), id)
        put(bare, id, f"processing_started_at = {utc} - interval '10 minutes'")
    if where in ("database", "role"):
        with application(settings) as connection:
            database, role = sql.Identifier(connection.info.dbname), sql.Identifier(connection.info.user)
            if where == "database":
                run(connection, "ALTER DATABASE {} SET timezone = 'Asia/Kolkata'", database)
            else:
                run(connection, "ALTER ROLE {} IN DATABASE {} SET timezone = 'Asia/Kolkata'", role, database)
    elif where == "url":
        url = f"{settings.database_url}?options=-c%20timezone%3DAsia/Kolkata"
        settings = dataclasses.replace(settings, database_url=url)
    else:
        monkeypatch.setenv(where, "-c timezone=Asia/Kolkata" if where == "PGOPTIONS" else "Asia/Kolkata")

    with Database(settings, pooled=pooled) as db:
        (found,) = db.run("stale", stale_after_seconds=3600, look_seconds=2, every=True)
        (longest,) = db.run("longest_running", row_limit=10)
        ended = queue.cleanup(db, actor="test").ended

    assert found["minutes_processing"] == pytest.approx(10, abs=0.2)
    assert longest["minutes_processing"] == pytest.approx(10, abs=0.2)
    assert (found["verdict"], ended) == ("alive", [])


@pytest.mark.parametrize("time", ["plain", "zoned"])
def test_the_start_that_the_guard_gives_is_now_whatever_the_applications_zone(bare: Database, time: str) -> None:
    migrated(bare, Shape("identity", time))
    (id,) = files(bare, "a")

    with application(bare.settings) as connection:
        run(connection, "SET timezone = 'Asia/Kolkata'")
        change(connection, TABLE, id, "processing_status = 'processing', processing_server_id = 'old'")

    (found,) = queue.preview(bare, every=True)
    assert found["minutes_processing"] == pytest.approx(0, abs=1)
