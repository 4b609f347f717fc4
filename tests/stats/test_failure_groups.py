"""Failures are grouped by the identity of their error, the same through every door."""

from __future__ import annotations

import json
from typing import Any

import pytest
from processors import deep  # type: ignore[import-not-found]  # on the path of pytest, as of the nodes

from opskit import queue, stats
from opskit.database import Database
from opskit.files.claimed import ClaimedFile
from opskit.queue import claims, requeuing
from opskit.queue.error_identity import of_exception
from opskit.queue.error_text import told
from tests.support.dashboard import choose, click, components_scanned_once, open_page, said, tables  # noqa: F401 -- fixtures
from tests.support.tables import ask_psql, boot, fail, files, opskit, put, row
from tests.test_secrets import _asked

GROUPS = {
    "KeyError: 'amount' (processors.py in _call)": 3,
    "PermissionError: [Errno 13] Permission denied: '…' (processors.py in _call)": 2,
    "ValueError: cannot parse line # (processors.py in _call)": 2,
    "ValueError: currency of line # is unknown (processors.py in _call)": 2,
}
NAMES = ("key-1", "key-2", "key-33", "denied-1", "denied-2", "parse-1", "parse-2", "unknown-1", "unknown-2")


def failed(db: Database, *names: str, error: str | None = None, **changes: Any) -> list[str]:
    """Files that have failed at the end of a long chain of calls, as their names say, or with a given text."""
    node = boot(db, f"node-{'-'.join(names)}")
    ids = files(db, *names)
    for id, name in zip(ids, names, strict=True):
        token = claims.claim_one(db, node, id).token
        given: dict[str, Any] = {"error": error, **changes}
        if error is None:
            try:
                deep(
                    ClaimedFile(
                        id=id,
                        original_filename=name,
                        storage_path=None,
                        file_size=None,
                        attempt=1,
                        failures=0,
                        server_id="",
                        token=token,
                        desk=None,  # type: ignore[arg-type]  # it needs none
                    )
                )
            except Exception as raised:
                given = {"error": told(raised), "identity": of_exception(raised, home="processors"), **changes}
        fail(db, id, token, max_failures=1, **given)
    return ids


@pytest.fixture
def many(db: Database) -> dict[str, str]:
    """Nine failed files of four kinds: their ids by name."""
    return dict(zip(NAMES, failed(db, *NAMES), strict=True))


def older(db: Database, id: str, error: str) -> None:
    """Fail a file as a node of the version before does, which leaves an older identity where it is."""
    put(
        db,
        id,
        f"processing_status = 'failed', processing_attempt = processing_attempt + 1, processing_errors = '{error}', "
        "processing_completed_at = clock_timestamp()",
    )


def test_errors_from_the_end_of_one_long_chain_of_calls_are_groups_of_their_own(
    db: Database, many: dict[str, str]
) -> None:
    assert all(len(row(db, id)["processing_errors"]) > 500 for id in many.values())

    frame = stats.failures(db)

    assert dict(zip(frame["error"], frame["file_count"], strict=True)) == GROUPS
    assert frame["message"][0] == "KeyError: 'amount'"
    assert set(frame["place"]) == {"processors.py in _call"}
    assert set(frame["last_hour"]) == {2, 3}
    assert set(frame["example"]) <= set(NAMES)


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("error", GROUPS)
def test_a_requeue_of_one_group_takes_exactly_its_files(db: Database, many: dict[str, str], error: str) -> None:
    (kind,) = {"KeyErr": "key", "Permis": "denied"}.keys() & {error[:6]} or {error.split()[1]}
    kind = {"KeyErr": "key", "Permis": "denied", "cannot": "parse", "currency": "unknown"}[kind]
    meant = {id for name, id in many.items() if name.startswith(kind)}
    members = db.run("failed_files", of_lane="", error=error, since_seconds=3600, row_limit=10)

    requeued = queue.requeue(db, failed=True, error=error, actor="me")

    assert {each["id"] for each in members} == {each["id"] for each in requeued} == meant
    assert len(requeued) == len(meant) == GROUPS[error]
    assert {id for id in many.values() if row(db, id)["processing_status"] == "queued"} == meant
    assert all(row(db, id)["processing_failure"] is None for id in meant)


def test_a_requeue_of_a_group_goes_on_batch_by_batch_and_obeys_server_and_limit(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requeuing, "_REQUEUED", 2)
    ids = failed(db, *(f"key-{n}" for n in range(7)))
    put(db, ids[0], "processing_server_id = 'elsewhere'")
    (error,) = stats.failures(db)["error"]

    elsewhere = queue.requeue(db, failed=True, error=error, server_id="elsewhere", actor="me")
    some = queue.requeue(db, failed=True, error=error, limit=3, actor="me")
    rest = queue.requeue(db, failed=True, error=error, actor="me")

    assert [each["id"] for each in elsewhere] == ids[:1]
    assert [each["id"] for each in some] == ids[1:4]
    assert [each["id"] for each in rest] == ids[4:]


def test_files_that_older_nodes_failed_are_grouped_by_the_last_line(db: Database, many: dict[str, str]) -> None:
    stale, none = many["key-1"], files(db, "none")[0]
    for id, line in ((stale, 17), (none, 4)):
        older(
            db,
            id,
            f"Traceback:\n  File x, line {line}\npsycopg.Error: line {line} of ''/in/{line}.csv''\nLINE 1: x\n  ^",
        )
    error = "psycopg.Error: line # of '…'"

    frame = stats.failures(db).set_index("error")
    members = db.run("failed_files", of_lane="", error=error, since_seconds="", row_limit=10)
    requeued = queue.requeue(db, failed=True, error=error, actor="me")

    assert frame["file_count"][error] == 2
    assert frame["message"][error] == error
    assert frame["place"][error] == ""
    assert frame["file_count"]["KeyError: 'amount' (processors.py in _call)"] == 2
    assert {each["id"] for each in members} == {each["id"] for each in requeued} == {stale, none}


def test_the_same_message_at_two_places_is_two_groups(db: Database) -> None:
    (one,) = failed(db, "key-1")
    (other,) = failed(db, "by-text", error="KeyError: 'amount'")

    requeued = queue.requeue(db, failed=True, error="KeyError: 'amount'", actor="me")

    assert len(stats.failures(db)) == 1
    assert [each["id"] for each in requeued] == [other]
    assert row(db, one)["processing_status"] == "failed"


def test_attempts_of_other_numbers_are_the_same_group(db: Database) -> None:
    first, second = failed(db, "key-1", "key-2")
    queue.requeue(db, [second], actor="me")
    node = boot(db, "node-b")
    token = claims.claim_one(db, node, second).token
    fail(db, second, token, max_failures=1, error="x", identity=of_exception(KeyError("amount")))
    put(db, second, 'processing_failure = processing_failure || \'{{"place": "processors.py in _call"}}\'')

    assert row(db, second)["processing_attempt"] == 2
    (group,) = stats.records(stats.failures(db))
    assert (group["error"], group["file_count"]) == ("KeyError: 'amount' (processors.py in _call)", 2)
    assert len(queue.requeue(db, failed=True, error=group["error"], actor="me")) == 2
    assert first


def test_psql_the_shell_and_the_api_name_the_same_groups(db: Database, many: dict[str, str]) -> None:
    shell = opskit(db.settings, "stats", "failures")
    as_json = json.loads(opskit(db.settings, "stats", "failures", "--json").stdout)
    api = json.loads(_asked(db, "/processing/failures"))
    by_hand = ask_psql(db.settings, "failures")

    lines = shell.stdout.splitlines()
    assert [line.split(maxsplit=2)[2] for line in lines[-4:]] == list(GROUPS), "one line a group, whole"
    assert {each["error"]: each["file_count"] for each in as_json} == GROUPS
    assert {each["error"]: each["fileCount"] for each in api} == GROUPS
    assert {each["message"] for each in api} == {error.removesuffix(" (processors.py in _call)") for error in GROUPS}
    assert {each["error"]: int(each["file_count"]) for each in by_hand} == GROUPS


def test_the_shell_requeues_one_group(db: Database, many: dict[str, str]) -> None:
    done = opskit(db.settings, "requeue", "--failed", "--error", list(GROUPS)[1], "--json")

    assert {each["id"] for each in json.loads(done.stdout)["files"]} == {many["denied-1"], many["denied-2"]}


@pytest.mark.slow
def test_the_shell_lists_the_line_that_tells_an_error(db: Database, many: dict[str, str]) -> None:
    shown = opskit(db.settings, "stats", "files", COLUMNS="400").stdout
    history = opskit(db.settings, "stats", "events", COLUMNS="400").stdout

    for text in (shown, history):
        assert "KeyError: 'amount'" in text
        assert "Traceback" not in text
    assert "Traceback" in opskit(db.settings, "stats", "files", "--json").stdout


@pytest.mark.slow
def test_the_page_shows_the_message_first_and_the_traceback_on_demand(
    db: Database,
    many: dict[str, str],
    open_page: Any,  # noqa: F811 -- the fixture
) -> None:
    app = open_page("failures.py")
    shown = tables(app)

    choose(app, "group", next(iter(GROUPS)))

    assert list(app.dataframe[0].value["Error"]) == [
        error.removesuffix(" (processors.py in _call)") for error in GROUPS
    ]
    assert "Traceback" not in shown
    assert "KeyError: 'amount'" in said(app)
    assert "processors.py in _call" in said(app)
    assert [each.label for each in app.expander if "traceback" in each.label], "to be opened"
    assert set(app.dataframe[1].value["Error"]) == {"KeyError: 'amount'"}
    click(click(app, "requeue_group"), "confirm_button")
    assert "3 files requeued" in said(app)


@pytest.mark.slow
def test_a_second_requeue_of_a_group_names_who_was_first(
    db: Database,
    many: dict[str, str],
    open_page: Any,  # noqa: F811 -- the fixture
) -> None:
    app = open_page("failures.py")
    choose(app, "group", next(iter(GROUPS)))
    click(app, "requeue_group")
    queue.requeue(db, failed=True, error=next(iter(GROUPS)), actor="ann")

    click(app, "confirm_button")

    assert "0 files requeued: no file has failed with this error any more; ann requeued last, at" in said(app)
    assert "0 files requeued" not in "".join(each.value for each in app.success)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("page", ["files.py", "history.py", "timeline.py"])
def test_lists_of_the_page_show_the_line_that_tells_an_error(
    db: Database,
    many: dict[str, str],
    open_page: Any,  # noqa: F811 -- the fixture
    page: str,
) -> None:
    app = open_page(page)
    if page == "history.py":
        app.pills(key="kind").set_value("attempt").run()

    shown = tables(app)

    assert "KeyError: 'amount'" in shown
    assert "Traceback" not in shown


@pytest.mark.slow
def test_a_files_story_shows_its_error_first_and_the_traceback_on_demand(
    db: Database,
    many: dict[str, str],
    open_page: Any,  # noqa: F811 -- the fixture
) -> None:
    app = open_page("file.py")
    app.query_params["id"] = many["unknown-2"]
    app.run()

    assert app.code[0].value == "ValueError: currency of line 2 is unknown"
    assert app.expander[0].code[0].value.startswith("Traceback:")


def test_failures_are_grouped_and_a_group_is_found_through_their_index_alone(db: Database) -> None:
    put_many = f"""
        INSERT INTO {db.settings.files} (original_filename, processing_status, processing_attempt, processing_errors,
                                         processing_completed_at, processing_failure)
        SELECT 'f', CASE WHEN n % 2 = 0 THEN 'failed' ELSE 'completed' END, 1, repeat('x', 500), now(),
               jsonb_build_object('attempt', 1, 'error', 'E' || n % 10, 'place', '')
          FROM generate_series(1, 20000) AS n"""
    with db.connection() as connection:
        connection.execute(put_many.encode())
        connection.execute(f"VACUUM ANALYZE {db.settings.files}".encode())
        plans: list[str] = []
        for name, values in (("failures", {"row_limit": 10}), ("failed_files", {"error": "E2", "row_limit": 5})):
            given = {"since_seconds": "", **values} if name == "failed_files" else values
            given = {"of_lane": "", "lane_column": db.names["lane_column"], **given}
            text = db._text(name)[1].decode()
            found = connection.execute(f"EXPLAIN {text}".encode(), {key: str(value) for key, value in given.items()})
            plans.append("\n".join(each["QUERY PLAN"] for each in found))

    index = db.names["alike_index"]
    assert f"Index Only Scan using {index}" in plans[0]
    assert f"Index Only Scan using {index}" in plans[1]
    for plan in plans:
        assert "Seq Scan" not in plan


@pytest.mark.slow
def test_a_group_says_since_when_and_whether_the_files_or_a_node_are_at_fault(
    db: Database,
    open_page: Any,  # noqa: F811 -- the fixture
) -> None:
    for node in ("node-a", "node-b"):
        boot(db, node)
    fields = "original_filename, processing_status, processing_server_id, processing_errors, processing_completed_at"
    with db.connection() as connection:
        connection.execute(
            f"INSERT INTO {db.settings.files} ({fields})"
            " SELECT 'f', 'failed', CASE WHEN n < 10 THEN 'node-a' ELSE 'node-b' END, 'KeyError: a', now()"
            " FROM generate_series(1, 10) AS n"
            " UNION ALL SELECT 'f', 'failed', 'node-' || CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END, 'ValueError: b',"
            " now() - n * interval '1 day' FROM generate_series(1, 10) AS n".encode()
        )
    app = open_page("failures.py")
    assert dict(zip(app.dataframe[0].value["Error"], app.dataframe[0].value["New"], strict=True)) == {
        "KeyError: a": "new",
        "ValueError: b": "",
    }

    choose(app, "group", "KeyError: a")
    assert "It may be the node" in said(app)
    assert "node-a has 9 of 10; 2 nodes run. By node: node-a 9, node-b 1." in said(app).replace("*", "")

    choose(app, "group", "ValueError: b")
    assert "It is the files: they failed on 2 nodes. By node: node-a 5, node-b 5." in said(app).replace("*", "")
