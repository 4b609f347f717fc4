"""Intake: what is queued, under which name, and what is left behind when it cannot be."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import pytest
from psycopg import sql

from opskit import migration, queue
from opskit.database import Database
from opskit.errors import DatabaseError, NotMigratedError, OpskitError, SettingError, TooLargeError
from opskit.files.listing import Entry
from opskit.files.storage import clean_name
from opskit.queue import uploading
from opskit.settings import Settings
from opskit.support.progress import Progress
from tests.support.storing import stored

LIMIT = 1 << 20


def rows(db: Database, columns: str = "original_filename AS name, storage_path AS path, file_size AS size") -> Any:
    with db.connection() as connection:
        query = sql.SQL("SELECT {} FROM {} ORDER BY id").format(sql.SQL(columns), sql.Identifier(db.settings.files))
        return connection.execute(query).fetchall()


def change(db: Database, statement: str, *values: object) -> None:
    with db.connection() as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(db.settings.files)), values or None)


def upload(db: Database, *files: tuple[str | None, bytes], **given: Any) -> list[dict[str, Any]]:
    sent = [(name, io.BytesIO(content)) for name, content in files]
    return queue.upload(db, sent, **{"limit_bytes": LIMIT} | given)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def kept(settings: Settings) -> list[Path]:
    """The files in the storage, hidden ones too."""
    return sorted(path for path in Path(settings.storage_root).rglob("*") if not path.is_dir())


class Broken(io.BytesIO):
    """A stream that breaks off after its first piece."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().read(4)


# -- enqueue -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files in folders, some of them hidden."""
    base = tmp_path / "in"
    for name in ("a.csv", "two words.csv", "Länder/日本.csv", "deep/er/b.csv", ".hidden", ".git/config", "deep/.x/c"):
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (base / "empty").mkdir()
    return base


def test_a_folder_is_queued_with_all_in_it_but_what_is_hidden(db: Database, folder: Path) -> None:
    assert queue.enqueue(db, [folder]) == 4

    assert {(row["path"], row["name"], row["size"]) for row in rows(db)} == {
        (str(folder / name), Path(name).name, len(name.encode()))
        for name in ("a.csv", "two words.csv", "Länder/日本.csv", "deep/er/b.csv")
    }
    assert {row["state"] for row in rows(db, "processing_status AS state")} == {"queued"}


def test_a_file_that_is_named_itself_may_be_hidden(db: Database, folder: Path) -> None:
    assert queue.enqueue(db, [folder / ".hidden", str(folder / ".git")]) == 2
    assert [row["name"] for row in rows(db)] == [".hidden", "config"]


def test_paths_are_stored_absolute(db: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    queue.enqueue(db, ["a.csv"])
    assert rows(db)[0]["path"] == str(folder / "a.csv")


def test_a_name_that_is_not_utf8_is_refused_and_nothing_queued(db: Database, folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.csv")).touch()

    with pytest.raises(SettingError, match="is not UTF-8; rename the file"):
        queue.enqueue(db, [folder])
    assert rows(db) == []


def test_a_path_where_nothing_is_is_refused_and_nothing_queued(db: Database, folder: Path) -> None:
    with pytest.raises(SettingError, match="there is no file or folder"):
        queue.enqueue(db, [folder / "a.csv", folder / "b.csv"])
    assert rows(db) == []


def test_urls_are_taken_as_they_are(db: Database) -> None:
    urls = ["memory://in/a b.csv", "s3://bucket/2026/ledger.csv", "file:///in/x"]

    assert queue.enqueue(db, urls) == 3
    assert [(row["path"], row["name"], row["size"]) for row in rows(db)] == [
        (urls[0], "a b.csv", None),
        (urls[1], "ledger.csv", None),
        (urls[2], "x", None),
    ]


@pytest.mark.parametrize("prefix", ["memory://nowhere/at/all/", "file:///in/no/such/folder/"])
def test_a_prefix_under_which_nothing_lies_is_refused_and_nothing_is_queued(
    db: Database, folder: Path, prefix: str
) -> None:
    with pytest.raises(SettingError, match=f"nothing lies under '{prefix}'"):
        queue.enqueue(db, [folder, prefix])

    assert rows(db) == []


def test_known_paths_are_left_out_when_asked_but_not_those_of_deleted_rows(db: Database, folder: Path) -> None:
    queue.enqueue(db, [folder / "a.csv", folder / "two words.csv"])
    change(db, "UPDATE {} SET deleted = true WHERE original_filename = 'two words.csv'")

    assert queue.enqueue(db, [folder], skip_known=True) == 3
    assert queue.enqueue(db, [folder], skip_known=True) == 0
    assert queue.enqueue(db, [folder]) == 4


def test_nothing_to_queue_asks_nothing_of_the_table(settings: Settings, tmp_path: Path) -> None:
    with Database(settings) as db:
        assert queue.enqueue(db, [tmp_path]) == 0
        with pytest.raises(NotMigratedError, match="run: opskit migrate"):
            queue.enqueue(db, ["s3://bucket/a"])


# -- columns -------------------------------------------------------------------------------------


def test_other_columns_get_the_values_given(db: Database, folder: Path) -> None:
    change(db, "ALTER TABLE {} ADD COLUMN file_type text NOT NULL, ADD COLUMN amount int")

    with pytest.raises(SettingError, match="file_type needs a value; say for example: opskit enqueue --set file_type="):
        queue.enqueue(db, [folder])
    queue.enqueue(db, [folder], columns={"file_type": "tab\there, \\N", "amount": "7"})
    assert rows(db, "file_type, amount") == [{"file_type": "tab\there, \\N", "amount": 7}] * 4


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"nonsense": "1"}, "has no column 'nonsense'"),
        ({"processing_status": "failed"}, "is set by opskit itself"),
        ({"storage_path": "/etc/passwd"}, "is set by opskit itself"),
        ({"original_filename": "x"}, "is set by opskit itself"),
    ],
)
def test_columns_that_cannot_be_given_are_refused_before_anything_is_stored(
    db: Database, folder: Path, columns: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingError, match=sentence):
        queue.enqueue(db, [folder], columns=columns)
    with pytest.raises(SettingError, match=sentence):
        upload(db, ("a.csv", b"x"), columns=columns)
    assert (rows(db), kept(db.settings)) == ([], [])


@pytest.mark.parametrize("default", ["", "DEFAULT now()"])
def test_the_time_of_the_upload_can_be_given_and_is_now_otherwise(db: Database, folder: Path, default: str) -> None:
    change(db, f"ALTER TABLE {{}} DROP COLUMN uploaded_at, ADD COLUMN uploaded_at timestamptz {default}")

    queue.enqueue(db, [folder / "a.csv"], columns={"uploaded_at": "2026-01-02T03:04:05Z"})
    queue.enqueue(db, [folder / "a.csv"])
    upload(db, ("b.csv", b"x"))
    given, *made = rows(db, "uploaded_at::text AS at, now() - uploaded_at < interval '1 min' AS fresh")
    assert given == {"at": "2026-01-02 03:04:05+00", "fresh": False}
    assert [row["fresh"] for row in made] == [True, True]


@pytest.mark.parametrize("kind", ["text", "uuid", "integer"])
def test_ids_are_made_where_the_table_makes_none_and_they_can_be(settings: Settings, folder: Path, kind: str) -> None:
    with Database(settings) as db:
        change(db, f"CREATE TABLE {{}} (id {kind} PRIMARY KEY)")
        migration.migrate(db)
        if kind == "integer":
            with pytest.raises(SettingError, match="--set id="):
                queue.enqueue(db, [folder])
            assert upload(db, ("b.csv", b"x"), columns={"id": "17"})[0]["id"] == "17"
            return
        queue.enqueue(db, [folder])
        (file,) = upload(db, ("b.csv", b"x"))
        ids = {row["id"] for row in rows(db, "id::text AS id")}
        assert len(ids) == 5
        assert file["id"] in ids


def test_insert_takes_rows_as_they_come_and_all_or_none(db: Database) -> None:
    def breaking() -> Iterator[Entry]:
        yield "/a", "a", 1
        raise RuntimeError("the source broke")

    said: list[Progress] = []
    assert (
        queue.insert(db, ((f"/{number}", str(number), number) for number in range(12_000)), on_progress=said.append)
        == 12_000
    )
    assert [(now.done, now.total, now.text) for now in said][-1] == (12_000, None, "queueing: 12,000 files")
    assert [now.done for now in said] == [5000, 10_000, 12_000]
    with pytest.raises(RuntimeError, match="the source broke"):
        queue.insert(db, breaking())
    assert len(rows(db)) == 12_000


# -- uploads -------------------------------------------------------------------------------------


def test_an_upload_is_kept_under_its_sum_and_queued_under_its_name(db: Database) -> None:
    answer = upload(db, ("../../etc/Länder 1.CSV", b"a,b\n"), ("second.tar.gz", b"xyz"), (None, b""))

    sums = [digest(content) for content in (b"a,b\n", b"xyz", b"")]
    assert [list(file.values()) for file in answer] == [
        ["1", "Länder 1.CSV", 4, sums[0], None],
        ["2", "second.tar.gz", 3, sums[1], None],
        ["3", "upload", 0, sums[2], None],
    ]
    assert list(answer[0]) == ["id", "original_filename", "file_size", "sha256", "duplicate_of"]
    root = Path(db.settings.storage_root)
    places = [root / sum[:2] / (sum + end) for sum, end in zip(sums, (".csv", ".tar.gz", ""), strict=True)]
    assert [(row["path"], row["name"], row["size"]) for row in rows(db)] == [
        (str(place), file["original_filename"], file["file_size"]) for place, file in zip(places, answer, strict=True)
    ]
    assert [place.read_bytes() for place in places] == [b"a,b\n", b"xyz", b""]
    assert kept(db.settings) == sorted(places)


HOSTILE = (
    "../../etc/passwd", "/etc/passwd", "..\\..\\windows\\system.ini", "a/../../b.csv", ".", "..", "x.csv/..",
    "a\0b.csv", "~/.ssh/authorized_keys", "s3://bucket/x.csv", "x" * 5000 + ".csv", "a.;rm -rf .csv", "\udcff.csv",
    "", " ", "%2e%2e%2f",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:20]))
def test_no_name_leads_out_of_the_storage(db: Database, settings: Settings, tmp_path: Path, name: str) -> None:
    before = {path for path in tmp_path.rglob("*") if Path(settings.storage_root) not in path.parents}

    (file,) = upload(db, (name, b"x"))
    (path,) = kept(settings)
    assert path.parent == Path(settings.storage_root) / digest(b"x")[:2]
    assert path.stem.split(".")[0] == digest(b"x")
    assert rows(db) == [{"name": file["original_filename"], "path": str(path), "size": 1}]
    after = {path for path in tmp_path.rglob("*") if Path(settings.storage_root) not in path.parents}
    assert after - before <= {Path(settings.storage_root)}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.csv", "a.csv"),
        ("a\x00b\n.csv", "ab.csv"),
        ("", "upload"),
        (None, "upload"),
        ("..", ".."),
        ("x" * 300 + ".csv", "x" * 251 + ".csv"),
    ],
)
def test_an_uploaders_name_is_fit_to_be_shown(given: str | None, shown: str) -> None:
    assert clean_name(given) == shown


def test_a_file_that_is_too_large_stops_the_upload_and_leaves_nothing(db: Database) -> None:
    with pytest.raises(TooLargeError, match=r"'b\.csv' is too large; at most 10 bytes are taken"):
        upload(db, ("a.csv", b"x" * 10), ("b.csv", b"x" * 11), limit_bytes=10)

    assert (rows(db), kept(db.settings)) == ([], [])


@pytest.mark.parametrize("root", ["", "memory://intake-failures"])
def test_a_stream_that_breaks_off_leaves_nothing(settings: Settings, root: str) -> None:
    with Database(dataclasses.replace(settings, storage=root)) as db:
        migration.migrate(db)
        with pytest.raises(OpskitError, match="the upload cannot be stored: Input/output error"):
            queue.upload(db, [("a", io.BytesIO(b"fine")), ("b", Broken(b"x" * 100))], limit_bytes=LIMIT)

        assert (rows(db), kept(settings)) == ([], [])
    assert fsspec.filesystem("memory").find("/intake-failures") == []


def test_what_the_database_refuses_leaves_nothing(db: Database) -> None:
    change(db, "ALTER TABLE {} ADD CHECK (file_size < 3)")

    with pytest.raises(DatabaseError, match="violates check constraint"):
        upload(db, ("a", b"x"), ("b", b"long"))
    assert (rows(db), kept(db.settings)) == ([], [])


def test_files_that_cannot_all_be_put_into_place_are_not_queued(db: Database) -> None:
    blocked = Path(db.settings.storage_root) / digest(b"second")[:2]
    blocked.parent.mkdir()
    blocked.write_text("in the way")

    with pytest.raises(OpskitError, match="the upload cannot be stored: File exists"):
        upload(db, ("a", b"first"), ("b", b"second"))
    assert (rows(db), kept(db.settings)) == ([], [blocked])


def test_storage_that_cannot_be_written_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root, sentence in (
        (str(tmp_path / "file"), "cannot be stored: File exists"),
        ("nosuch://x", "cannot be stored: Protocol not known"),
    ):
        with pytest.raises(OpskitError, match=sentence):
            stored(dataclasses.replace(settings, storage=root), "a", io.BytesIO(b"x"), limit_bytes=LIMIT)


def test_storage_may_be_a_url(settings: Settings) -> None:
    with Database(dataclasses.replace(settings, storage="memory://intake/")) as db:
        migration.migrate(db)
        (file,) = upload(db, ("a.csv", b"x"))
        (row,) = rows(db)

        assert row["path"] == f"memory://intake/{digest(b'x')[:2]}/{digest(b'x')}.csv"
        assert fsspec.open(row["path"]).open().read() == b"x"
        assert upload(db, ("a.csv", b"x"))[0]["duplicate_of"] == file["id"]
        assert len(fsspec.filesystem("memory").find("/intake")) == 1


def test_a_stored_file_says_where_it_is(settings: Settings) -> None:
    one = stored(settings, "a/b.csv", io.BytesIO(b"x"), limit_bytes=1)
    same = stored(settings, "c.csv", io.BytesIO(b"x"), limit_bytes=1)

    assert (one.name, one.size, one.sha256) == ("b.csv", 1, digest(b"x"))
    assert Path(one.path).read_bytes() == b"x"
    assert (same.path, same.name) == (one.path, "c.csv")


# -- duplicates ----------------------------------------------------------------------------------


def test_the_same_bytes_are_kept_once_told_and_not_queued_again(db: Database) -> None:
    (first,) = upload(db, ("a.csv", b"same"))

    twice = upload(db, ("b.csv", b"same"), ("c.txt", b"same"), ("d.csv", b"other"))
    assert [(file["id"], file["duplicate_of"]) for file in twice] == [
        (None, first["id"]),
        (None, first["id"]),
        ("2", None),
    ]
    assert [row["name"] for row in rows(db)] == ["a.csv", "d.csv"]
    assert len(kept(db.settings)) == 2


def test_the_same_bytes_twice_in_one_upload_are_queued_once(db: Database) -> None:
    first, second = upload(db, ("a.csv", b"same"), ("b.txt", b"same"))

    assert (first["id"], first["duplicate_of"]) == ("1", None)
    assert (second["id"], second["duplicate_of"]) == (None, "1")
    assert (len(rows(db)), len(kept(db.settings))) == (1, 1)


def test_a_duplicate_is_queued_when_asked_for_again(db: Database) -> None:
    upload(db, ("a.csv", b"same"))

    again = upload(db, ("b.csv", b"same"), ("c.csv", b"same"), again=True)
    assert [(file["id"], file["duplicate_of"]) for file in again] == [("2", "1"), ("3", "1")]
    assert len({row["path"] for row in rows(db)}) == len(kept(db.settings)) == 1


def test_a_file_from_elsewhere_is_known_by_the_sum_in_its_result(db: Database, folder: Path) -> None:
    queue.enqueue(db, [folder / "a.csv"])
    change(db, "UPDATE {} SET processing_result = jsonb_build_object('sha256', %s::text)", digest(b"a.csv"))

    (file,) = upload(db, ("b.csv", b"a.csv"))
    assert (file["id"], file["duplicate_of"]) == (None, "1")
    assert kept(db.settings) == []
    (file,) = upload(db, ("b.csv", b"a.csv"), again=True)
    assert (file["id"], file["duplicate_of"]) == ("2", "1")
    assert len(kept(db.settings)) == 1


def test_a_deleted_row_is_no_original(db: Database) -> None:
    upload(db, ("a.csv", b"same"))
    change(db, "UPDATE {} SET deleted = true")

    assert upload(db, ("a.csv", b"same"))[0]["id"] == "2"


def test_a_duplicate_brings_back_bytes_that_were_tidied_away(db: Database) -> None:
    upload(db, ("a.csv", b"same"))
    (path,) = kept(db.settings)
    path.unlink()

    upload(db, ("a.csv", b"same"))
    assert path.read_bytes() == b"same"


def test_two_who_bring_the_same_at_once_make_one_row(db: Database) -> None:
    everybody_is_here = threading.Barrier(6)

    class Last(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            piece = super().read(size)
            if not piece:
                everybody_is_here.wait(30)
            return piece

    def send(number: int) -> dict[str, Any]:
        stream: BinaryIO = Last(b"same")
        return queue.upload(db, [(f"{number}.csv", stream)], limit_bytes=LIMIT)[0]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(6)))
    assert sorted((file["id"] or "", file["duplicate_of"] or "") for file in answers) == [("", "1")] * 5 + [("1", "")]
    assert (len(rows(db)), len(kept(db.settings))) == (1, 1)


def test_one_who_fails_does_not_take_the_bytes_of_another(db: Database) -> None:
    (first,) = upload(db, ("a.csv", b"same"))
    change(db, "ALTER TABLE {} ADD CHECK (file_size <> 3)")

    with pytest.raises(DatabaseError):
        upload(db, ("b.csv", b"same"), ("c.csv", b"xyz"), again=True)
    assert [path.read_bytes() for path in kept(db.settings)] == [b"same"]
    assert [row["id"] for row in rows(db, "id::text AS id")] == [first["id"]]


def test_a_search_for_duplicates_that_takes_too_long_is_given_up(
    db: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(db, ("a.csv", b"same"))
    slow = uploading._SAME_BYTES.replace("WHERE deleted", "WHERE pg_sleep(60) IS NOT NULL AND deleted")
    monkeypatch.setattr(uploading, "_SAME_BYTES", slow)

    with Database(db.settings, statement_seconds=0.2) as hurried:
        (file,) = upload(hurried, ("a.csv", b"same"))
    assert (file["id"], file["duplicate_of"]) == ("2", None)
    assert "too large to be searched for duplicates" in caplog.text
