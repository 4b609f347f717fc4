"""Uploads over the API."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from opskit.database import Database
from opskit.settings import Settings
from tests.support.api import Client, run, served

# -- uploads -------------------------------------------------------------------------------------


def test_an_upload_is_stored_under_a_name_of_our_own_and_queued(db: Database, http: Client, settings: Settings) -> None:
    sent = [("files", ("../../etc/Länder 1.CSV", b"a,b\n")), ("files", ("second.tar.gz", b"xyz"))]

    response = http.post("/api/processing/files", files=sent)
    assert response.status_code == 201
    answer = response.json()
    sums = [hashlib.sha256(content).hexdigest() for content in (b"a,b\n", b"xyz")]
    assert answer == {
        "success": True,
        "queuedFiles": 2,
        "duplicateFiles": 0,
        "message": "Queued 2 files",
        "files": [
            {"id": "1", "filename": "Länder 1.CSV", "fileSize": 4, "sha256": sums[0], "duplicateOf": None},
            {"id": "2", "filename": "second.tar.gz", "fileSize": 3, "sha256": sums[1], "duplicateOf": None},
        ],
    }
    rows = run(db, "SELECT original_filename AS name, storage_path AS path, file_size AS size,"
                   " processing_status AS status FROM {files} ORDER BY id")  # fmt: skip
    assert [(row["name"], row["size"], row["status"]) for row in rows] == [
        ("Länder 1.CSV", 4, "queued"), ("second.tar.gz", 3, "queued"),
    ]  # fmt: skip
    first, second = (Path(row["path"]) for row in rows)
    root = Path(settings.storage_root)
    assert first == root / sums[0][:2] / f"{sums[0]}.csv"
    assert second == root / sums[1][:2] / f"{sums[1]}.tar.gz"
    assert (first.read_bytes(), second.read_bytes()) == (b"a,b\n", b"xyz")


def test_an_upload_that_cannot_be_queued_leaves_no_file_behind(db: Database, http: Client, settings: Settings) -> None:
    run(db, "ALTER TABLE {files} ADD COLUMN file_type text NOT NULL")

    refused = http.post("/api/processing/files", files={"files": ("a.csv", b"x")})
    assert refused.status_code == 400
    assert "file_type needs a value" in refused.json()["error"]
    assert not Path(settings.storage_root).exists()
    taken = http.post("/api/processing/files", files={"files": ("a.csv", b"x")}, data={"set": ["file_type=merchant"]})
    assert taken.status_code == 201
    assert run(db, "SELECT file_type FROM {files}") == [{"file_type": "merchant"}]


def test_an_upload_may_go_to_an_fsspec_url(db: Database, settings: Settings, tmp_path: Path) -> None:
    with Database(dataclasses.replace(settings, storage=f"file://{tmp_path}")) as remote:
        http = served(remote, remote.settings)
        assert http.post("/api/processing/files", files={"files": ("a.csv", b"x")}).status_code == 201

    (row,) = run(db, "SELECT original_filename AS name, storage_path AS path FROM {files}")
    assert row["name"] == "a.csv"
    assert Path(row["path"].removeprefix("file://")).read_bytes() == b"x"


def test_an_upload_too_large_is_refused_whether_it_says_so_or_not(db: Database, settings: Settings) -> None:
    http = served(db, settings, upload_limit_bytes=1000)
    kind = {"content-type": "multipart/form-data; boundary=b"}
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"x" * 2000 + b"\r\n--b--\r\n"

    async def in_pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 100):
            yield body[at : at + 100]

    for content in (body, in_pieces()):
        response = http.post("/api/processing/files", content=content, headers=kind)
        assert response.status_code == 413
        assert response.json() == {"error": "the request is too large; at most 1000 bytes are taken"}
    assert not Path(settings.storage_root).exists()


def test_a_duplicate_is_told_and_queued_only_when_asked_for_again(db: Database, http: Client) -> None:
    def send(**form: str) -> tuple[int, dict[str, Any]]:
        response = http.post("/api/processing/files", files={"files": ("a.csv", b"x")}, data=form)
        return response.status_code, response.json()

    send()
    status, answer = send()
    assert (status, answer["queuedFiles"], answer["duplicateFiles"]) == (200, 0, 1)
    assert answer["message"] == "Queued 0 files; 1 was there already"
    assert [(file["id"], file["duplicateOf"]) for file in answer["files"]] == [(None, "1")]

    status, answer = send(again="true")
    assert (status, answer["queuedFiles"], answer["duplicateFiles"]) == (201, 1, 1)
    assert [file["duplicateOf"] for file in answer["files"]] == ["1"]
    assert len(run(db, "SELECT id FROM {files}")) == 2


def test_a_part_with_an_extended_name_alone_is_refused_in_one_sentence(http: Client) -> None:
    body = (
        b"--x\r\nContent-Disposition: form-data; name=\"files\"; filename*=UTF-8''a.csv\r\n"
        b"Content-Type: text/csv\r\n\r\n1,2\r\n--x--\r\n"
    )

    refused = http.post(
        "/api/processing/files", content=body, headers={"content-type": "multipart/form-data; boundary=x"}
    )

    assert refused.status_code == 422
    assert refused.json()["error"].startswith("files.0: this part is no file: its Content-Disposition needs filename=")


def test_an_upload_says_what_is_wrong_with_its_form(http: Client, settings: Settings) -> None:
    def send(**form: Any) -> tuple[int, str]:
        response = http.post("/api/processing/files", files={"files": ("a.csv", b"x")}, data=form)
        return response.status_code, response.json()["error"]

    assert send(set=["=x"]) == (400, "set is '=x'; it must look like name=value, for a column of the application")
    assert send(set=["nonsense=1"]) == (400, "dev_uploaded_files has no column 'nonsense'")
    assert send(set=["processing_status=failed"])[1].startswith("processing_status is set by opskit itself")
    assert send(set=["uploaded_at=a\0b"])[0] == send(set=["uploaded_at=soon"])[0] == 400
    assert send(again="perhaps")[0] == 422
    assert http.post("/api/processing/pause", headers={"content-length": "9" * 6000}).status_code == 413
    assert not [path for path in Path(settings.storage_root).rglob("*") if path.is_file()]
