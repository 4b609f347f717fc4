"""What a notebook is answered: a card, frames that say what they left out, what an act did, and one's own SQL."""

from __future__ import annotations

import dataclasses
import getpass
import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import opskit
from opskit import queue, stats
from opskit.database import Database
from opskit.errors import DatabaseError, SettingError
from opskit.settings import Settings
from opskit.stats.drawing import STATE_COLORS
from opskit.support import notebook_output
from tests.support.tables import application, boot, claim, claimed, fail, files, put


def test_an_answer_that_was_cut_says_so_and_one_that_is_whole_does_not(db: Database) -> None:
    files(db, *(f"{n}.csv" for n in range(12)))
    node = boot(db)
    for _ in range(3):
        answer = claim(db, node)
        assert answer.row is not None
        fail(db, answer.row["id"], answer.token, outcome="rejected", error=f"Error{answer.row['id']}: x")
    cut = {
        "files": stats.files(db, limit=5),
        "events": stats.events(db, limit=2),
        "timeline": stats.timeline(db, limit=2),
    }
    whole = {
        "files": stats.files(db, limit=12),
        "events": stats.events(db, limit=50),
        "timeline": stats.timeline(db, limit=50),
        "longest": stats.longest_running(db, limit=1),
        "failures": stats.failures(db, limit=1),
    }

    for name, frame in cut.items():
        assert frame.attrs["more"] is True, name
        assert "there are more" in frame._repr_html_(), name  # type: ignore[operator]
        assert "there are more" in repr(frame), name
    assert [len(frame) for frame in cut.values()] == [5, 2, 2]
    for name, frame in whole.items():
        assert frame.attrs["more"] is False, name
        assert "there are more" not in repr(frame), name
    assert cut["timeline"]["started_at"].min() >= whole["timeline"]["started_at"].iloc[-2]


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(
    ("name", "said"),
    {
        "distribution": "no files yet", "longest-running": "nothing is being processed", "stale": "nothing is stale",
        "nodes": "no nodes are registered", "throughput": "nothing has ended", "failures": "no file has failed",
        "files": "no such files", "events": "nothing of that kind", "pauses": "nothing is paused",
        "timeline": "nothing happened",
    }.items(),
)  # fmt: skip
def test_an_empty_answer_is_a_sentence(db: Database, name: str, said: str) -> None:
    values: dict[str, Any] = {"kind": "requeue"} if name == "events" else {}
    if name == "timeline":
        values = {"since_seconds": 7200, "until_seconds": 3600}

    frame = stats.STATISTICS[name](db, **values)

    assert said in repr(frame)
    assert said in frame._repr_html_()  # type: ignore[operator]


def test_a_part_of_a_frame_that_is_empty_does_not_speak_for_the_whole(db: Database) -> None:
    boot(db, "node-a")

    part = stats.nodes(db).query("state == 'dead'")

    assert "no nodes" not in repr(part)
    assert repr(part) == "no rows"


def test_a_frame_shows_times_without_microseconds_and_text_to_the_left(db: Database) -> None:
    files(db, "<b>a</b>.csv", file_size=1234567)
    frame = stats.files(db)

    told = frame._repr_html_()  # type: ignore[operator]

    moment = frame["last_at"].iloc[0]
    assert f"{moment:%Y-%m-%d %H:%M:%S}<" in told
    assert "+00:00" not in told
    assert "&lt;b&gt;a&lt;/b&gt;.csv" in told
    assert 'text-align:right;white-space:pre-wrap">1,234,567<' in told
    assert '<th style="text-align:left">original_filename</th>' in told


def test_a_long_frame_is_shown_with_its_middle_left_out(db: Database) -> None:
    files(db, *(f"{n}.csv" for n in range(150)))

    with pd.option_context("display.max_rows", 60, "display.min_rows", 10):
        told = stats.files(db)._repr_html_()  # type: ignore[operator]

    assert told.count("<tr>") == 12
    assert "140 more" in told


def test_ids_that_are_numbers_sort_as_numbers_and_others_as_text(db: Database) -> None:
    files(db, *(f"{n}.csv" for n in range(12)))

    assert stats.files(db).sort_values("id")["id"].tolist() == [str(n) for n in range(1, 13)]
    assert stats.files(db).sort_values(["processing_status", "id"])["id"].iloc[-1] == "12"
    named = stats.files(db).assign(id=[f"x{n}" for n in range(12)])
    assert named.sort_values("id")["id"].iloc[1] == "x1"
    assert named.sort_values("id")["id"].iloc[2] == "x10"


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("name", stats.STATISTICS)
def test_every_statistic_goes_to_excel_and_says_that_its_times_are_utc(db: Database, name: str, tmp_path: Path) -> None:
    claimed(db)
    frame = stats.STATISTICS[name](db)

    frame.to_excel(tmp_path / "out.xlsx")

    back = pd.read_excel(tmp_path / "out.xlsx", engine="openpyxl")
    zoned = [column for column in frame.columns if isinstance(frame[column].dtype, pd.DatetimeTZDtype)]
    assert list(back.columns) == [f"{column} [UTC]" if column in zoned else column for column in frame.columns]
    assert len(back) == len(frame)
    for column in zoned:
        known = frame[column].dropna()
        if len(known):
            assert abs(back[f"{column} [UTC]"].dropna().iloc[0] - known.iloc[0].tz_localize(None)) < pd.Timedelta("1s")
    assert all(isinstance(frame[column].dtype, pd.DatetimeTZDtype) for column in zoned)


# -- the card --------------------------------------------------------------------------------


def test_the_card_of_a_database_is_compact_and_production_is_unmistakable(db: Database) -> None:
    files(db, "a.csv", "b.csv")
    told = db._repr_html_()
    with Database(dataclasses.replace(db.settings, env="production")) as production:
        other = production._repr_html_()

    assert "<table>" not in told
    for state, color in STATE_COLORS.items():
        assert f'<span style="color:{color}">●</span> ' in told, state
    assert "2 queued</span>" in told
    assert "background:#D55E00;color:#fff" in other
    assert "background:#D55E00;color:#fff" not in told
    assert "not migrated" in other
    assert notebook_output._STATES == STATE_COLORS
    assert f"acting as {db.actor}" in told


def test_a_frame_links_to_the_same_view_on_the_page_where_its_address_is_known(db: Database) -> None:
    with Database(dataclasses.replace(db.settings, page_url="https://ops.example.com/")) as known:
        frames = {
            "https://ops.example.com/files?state=failed&server=node-b": stats.files(
                known, status="failed", server_id="node-b"
            ),
            "https://ops.example.com/file?id=42": stats.events(known, file_id="42"),
            "https://ops.example.com/nodes": stats.nodes(known),
            "https://ops.example.com/failures": stats.failures(known),
        }
        assert 'href="https://ops.example.com/"' in known._repr_html_()

    for address, frame in frames.items():
        assert frame.attrs["page"] == address
        assert f'href="{address.replace("&", "&amp;")}"' in frame._repr_html_()  # type: ignore[operator]
    assert "page" not in stats.files(db).attrs
    with pytest.raises(SettingError, match="must begin with http"):
        Settings.load({}, page_url="javascript:alert(1)")


# -- who acts, and what was done -------------------------------------------------------------


def test_who_acts_is_the_connections_actor_then_jupyterhubs_user_then_this_machines(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    assert Database(db.settings).actor == f"{getpass.getuser()}@{socket.gethostname()}"
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert Database(db.settings).actor == "ada"
    given = opskit.connect(db.settings.database_url, actor="grace")
    boot(given, "node-a")
    (id,) = files(given, "a.csv")

    queue.pause(given, "node-a")
    queue.resume(given, "node-a")
    queue.pause(given, "node-a", actor="someone else")
    node = boot(given, "node-b")
    answer = claim(given, node)
    fail(given, id, answer.token, outcome="rejected", error="bad")
    queue.requeue(given, [id])
    queue.drain(given, "node-a")

    events = stats.events(given)
    acts = events[events["kind"].isin(["pause", "resume", "requeue"])]
    assert acts.sort_values("id")["actor"].tolist() == ["grace", "grace", "someone else", "grace"]
    assert "grace" in events[events["kind"] == "state"]["actor"].tolist()
    given.close()


def test_an_act_answers_what_it_did_and_still_is_the_list_or_the_truth_that_it_was(db: Database) -> None:
    id, token = claimed(db, "node-a")
    fail(db, id, token, outcome="rejected", error="bad")

    paused, again = queue.pause(db, "node-a"), queue.pause(db, "node-a")
    resumed, nothing = queue.resume(db, "node-a"), queue.resume(db, "node-a")
    requeued, none = queue.requeue(db, [id]), queue.requeue(db, [id])

    assert (bool(paused), bool(again), bool(resumed), bool(nothing)) == (True, False, True, False)
    assert repr(paused) == "node-a is paused (development)"
    assert "was paused already" in again._repr_html_()
    assert repr(nothing) == "node-a was not paused"
    assert "node-a is resumed" in resumed._repr_html_()
    assert repr(requeued) == "1 file queued again (before: 1 failed)"
    assert "file-of-node-a" in requeued._repr_html_()
    assert [row["id"] for row in requeued] == [id]
    assert (none == [], repr(none)) == (True, "no file was queued again")


def test_a_preview_is_a_list_with_a_sentence(db: Database) -> None:
    assert (queue.preview(db) == [], repr(queue.preview(db))) == (
        True, "nothing is stale: a cleanup would end no claim",
    )  # fmt: skip
    id, _ = claimed(db, "node-a", lease_seconds=600.0)
    put(db, id, "processing_started_at = now() - interval '3 hours'")
    with application(db.settings) as connection:
        connection.execute(f"UPDATE {db.names['nodes']} SET lease_until = now() - interval '1 hour'".encode())

    found = queue.preview(db)

    assert found[0]["id"] == id
    assert found.message.startswith("1 claim: 1 ")
    assert "file-of-node-a on node-a" in repr(found)
    assert "file-of-node-a" in found._repr_html_()


# -- one's own SQL ---------------------------------------------------------------------------


def test_ones_own_sql_is_a_frame_whose_dtypes_do_not_depend_on_its_rows(db: Database) -> None:
    files(db, "a.csv", file_size=7)
    query = """
        SELECT id, original_filename, file_size, processing_queued_at, processing_token, deleted, 1.5::float8 AS share,
               '{"a": 1}'::jsonb AS json
          FROM dev_uploaded_files WHERE original_filename LIKE '%%.csv' AND file_size > %(least)s
    """

    full, empty = db.read(query, least=1), db.read(query, least=100)

    assert full["original_filename"].tolist() == ["a.csv"]
    assert list(full.dtypes.astype(str)) == list(empty.dtypes.astype(str)) == [
        "Int64", "string", "Int64", "datetime64[us, UTC]", "string", "boolean", "Float64", "object",
    ]  # fmt: skip
    assert full["json"].iloc[0] == {"a": 1}
    assert len(empty) == 0
    assert db.read("SELECT 1 AS a, 2 AS a, '50%' AS c")["c"].tolist() == ["50%"]


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM dev_uploaded_files RETURNING id", "COMMIT; DELETE FROM dev_uploaded_files",
        "SELECT 1; DELETE FROM dev_uploaded_files", "TRUNCATE dev_uploaded_files", "SELEC 1", "SELECT nothing",
        "CREATE TABLE x (y int)", "COMMIT; BEGIN; DELETE FROM dev_uploaded_files; COMMIT",
    ],
)  # fmt: skip
def test_ones_own_sql_cannot_write_and_its_error_is_one_sentence(db: Database, query: str) -> None:
    files(db, "a.csv")

    with pytest.raises(DatabaseError, match=r"^PostgreSQL says: |^[^\n]*$") as raised:
        db.read(query)

    assert "\n" not in str(raised.value)
    assert len(stats.files(db)) == 1
