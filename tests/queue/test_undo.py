"""Acts and their undoing: what one did is one row, and only what stands so still is taken back."""

from __future__ import annotations

import json

import pytest

from opskit import queue, stats
from opskit.cli.main import main
from opskit.database import Database
from opskit.errors import UnknownActError
from tests.support.nodes import ask
from tests.support.tables import boot, files


def kinds(db: Database) -> list[str]:
    return [row["kind"] for row in stats.records(stats.acts(db))]


def act(db: Database, kind: str) -> int:
    return next(int(row["act"]) for row in stats.records(stats.acts(db)) if row["kind"] == kind)


def undo_of(db: Database, kind: str) -> str | None:
    how: str | None = next(row["undo"] for row in stats.records(stats.acts(db)) if row["kind"] == kind)
    return how


def test_events_of_one_hand_within_seconds_are_one_act(db: Database) -> None:
    ids = files(db, "a.csv", "b.csv", "c.csv")
    queue.cancel(db, ids, actor="ann", reason="wrong customer")
    queue.requeue(db, ids[:2], actor="ann")
    queue.requeue(db, ids[2:], actor="bob")

    rows = stats.records(stats.acts(db))

    assert [(row["kind"], row["actor"], row["file_count"]) for row in rows] == [
        ("requeue", "bob", 1), ("requeue", "ann", 2), ("cancel", "ann", 3), ("migrate", "opskit", 0),
    ]  # fmt: skip
    assert rows[1]["files"] == "a.csv, b.csv"
    assert rows[2]["changed"] == "3 queued -> failed"
    assert not any(row["by_node"] for row in rows)


def test_the_same_act_an_hour_later_is_another(db: Database) -> None:
    ids = files(db, "a.csv", "b.csv")
    queue.cancel(db, ids[:1], actor="ann")
    ask(db, f"UPDATE {db.names['events']} SET at = at - interval '1 h'")
    queue.cancel(db, ids[1:], actor="ann")

    assert kinds(db)[:2] == ["cancel", "cancel"]
    assert len(queue.preview_undo(db, act(db, "cancel")).files) == 1


def test_a_cancel_is_undone_for_the_files_to_which_nothing_happened(db: Database) -> None:
    ids = files(db, "a.csv", "b.csv", "c.csv")
    queue.cancel(db, ids, actor="ann")
    cancelled = act(db, "cancel")
    queue.requeue(db, ids[:1], actor="bob")
    # By the application itself, which writes no event.
    ask(
        db,
        f"UPDATE {db.names['files']} SET processing_status = 'completed' WHERE original_filename = 'b.csv'",
    )

    assert undo_of(db, "cancel") == "requeue"
    would = queue.preview_undo(db, cancelled)
    assert ([row["id"] for row in would.files], would.kept) == (ids[2:], 2)
    assert "would be queued again" in would.message

    done = queue.undo(db, cancelled, actor="cleo", reason="right customer after all")
    assert [row["id"] for row in done.files] == ids[2:]
    assert not queue.undo(db, cancelled, actor="cleo")
    # What was completed meanwhile stays so.
    assert [row["processing_status"] for row in ask(db, f"SELECT * FROM {db.names['files']} ORDER BY id")] == [
        "queued", "completed", "queued",
    ]  # fmt: skip


def test_a_file_that_failed_again_is_not_what_the_act_left(db: Database) -> None:
    (id,) = files(db, "a.csv")
    queue.cancel(db, [id], actor="ann")
    ask(db, f"UPDATE {db.names['files']} SET processing_attempt = 7")

    assert not queue.preview_undo(db, act(db, "cancel"))
    assert not queue.undo(db, act(db, "cancel"))


def test_a_pause_is_undone_only_while_it_is_the_one_that_stands(db: Database) -> None:
    boot(db, "node-a")
    boot(db, "node-b")
    queue.pause(db, "node-a", actor="ann", reason="disk")
    queue.pause(db, "node-b", actor="ann", reason="disk")
    first = act(db, "pause")
    queue.resume(db, "node-b", actor="bob")
    queue.pause(db, "node-b", actor="bob", reason="my own")

    done = queue.undo(db, first, actor="ann")

    assert done.scopes == ("node-a",)
    assert done.kept == 1
    assert [row["scope"] for row in db.run("pauses")] == ["node-b"]


@pytest.mark.parametrize("act", [0, -1, 41, 2**63])
def test_an_act_that_is_none_is_named(db: Database, act: int) -> None:
    with pytest.raises(UnknownActError, match=f"there is no act {act}; opskit stats acts lists them"):
        queue.undo(db, act)


def test_what_no_undo_is_for_says_so(db: Database) -> None:
    ids = files(db, "a.csv")
    queue.cancel(db, ids, actor="ann")
    queue.requeue(db, ids, actor="ann")

    assert undo_of(db, "requeue") is None
    assert queue.undo(db, act(db, "requeue")).message.endswith("only a cleanup, a cancel and a pause can")


def test_the_shell_undoes_what_it_has_shown(
    db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in db.settings.environ().items():
        monkeypatch.setenv(name, value)
    queue.cancel(db, files(db, "a.csv", "b.csv"), actor="ann")
    number = str(act(db, "cancel"))

    assert main(["stats", "acts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["act"] == int(number)
    assert main(["undo", number, "--dry-run"]) == 0
    assert "2 files would be queued again" in capsys.readouterr().out
    assert main(["undo", number, "--json", "--reason", "too hasty"]) == 0
    assert json.loads(capsys.readouterr().out)["how"] == "requeue"
    assert main(["undo", number]) == 1
    assert "nothing of act" in capsys.readouterr().out
