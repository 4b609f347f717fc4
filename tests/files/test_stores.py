"""Object stores: read ahead in ranges, listed by prefix, and a package that is missing is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import MissingExtraError
from opskit.files import ahead, stores
from opskit.files.processor import check_processor
from opskit.queue.error_identity import of_exception
from opskit.settings import Settings
from tests.support import buckets
from tests.support.nodes import ask, counts, running_nodes, until
from tests.support.tables import files, opskit


@pytest.fixture(scope="module")
def store_url() -> Iterator[str]:
    """An S3 of this machine."""
    with buckets.object_store() as url:
        yield url


@pytest.fixture
def s3(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """That store with a bucket, for us and for the processes that we start."""
    with buckets.bucket(monkeypatch, store_url, "bucket") as store:
        yield store


def test_an_object_is_read_in_order_and_from_anywhere_in_ranges_that_are_fetched_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ahead, "BLOCK_BYTES", 10)
    store = fsspec.filesystem("memory")
    store.pipe("/ahead", bytes(range(95)))
    fetched: list[int] = []
    real = store.cat_file
    monkeypatch.setattr(store, "cat_file", lambda path, start, end: fetched.append(start) or real(path, start, end))

    stream = ahead.ReadAhead(store, "/ahead")
    first = stream.read(3)
    whole = first + stream.read()
    stream.seek(-5, 2)
    end = stream.read()
    stream.close()

    assert (whole, end) == (bytes(range(95)), bytes(range(90, 95)))
    assert sorted(fetched)[:10] == list(range(0, 100, 10))
    assert len(fetched) <= 11
    store.rm("/ahead")


def test_an_error_of_the_store_reaches_whoever_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/ahead", b"x" * 10)

    def refuse(path: str, start: int, end: int) -> bytes:
        raise PermissionError(13, "Access Denied", path)

    monkeypatch.setattr(store, "cat_file", refuse)
    with ahead.ReadAhead(store, "/ahead") as stream, pytest.raises(PermissionError, match="Access Denied"):
        stream.read(1)
    with pytest.raises(FileNotFoundError):
        ahead.ReadAhead(store, "/nosuch")
    store.rm("/ahead")


@pytest.mark.slow
def test_nodes_read_the_files_of_a_bucket(db: Database, tmp_path: Path, s3: fsspec.AbstractFileSystem) -> None:
    s3.pipe({"bucket/in/a.csv": b"name,amount\na,1\nb,2\n", "bucket/in/deep/b.csv": b"x\n" * 6_000_000})

    assert queue.enqueue(db, ["s3://bucket/in/"]) == 2
    with running_nodes(db, tmp_path) as start:
        node = start("node-a", "--drain", act="opskit.processors:inspect_file")
        until(lambda: counts(db) == {"completed": 2})
        log = node.log

    found = ask(
        db, f"SELECT original_filename AS name, processing_result AS result FROM {db.settings.files} ORDER BY 1"
    )
    assert [(row["name"], row["result"]["size"]) for row in found] == [("a.csv", 20), ("b.csv", 12_000_000)]
    assert "left behind" not in log


def test_a_watched_prefix_of_a_bucket_is_queued_each_object_once(db: Database, s3: fsspec.AbstractFileSystem) -> None:
    s3.pipe("bucket/watched/a.csv", b"1\n")
    watch = queue.Watch(db, ["s3://bucket/watched"])

    counts = [watch.look(), watch.look()]
    fsspec.get_filesystem_class("s3")().pipe("bucket/watched/b.csv", b"1\n")
    counts += [watch.look(), watch.look(), watch.look()]

    assert counts == [0, 1, 0, 1, 0]


@pytest.mark.slow
def test_an_object_that_is_not_there_costs_its_file_and_names_it(
    db: Database, tmp_path: Path, s3: fsspec.AbstractFileSystem
) -> None:
    assert s3.exists("bucket")
    files(db, "gone.csv", storage_path="s3://bucket/nosuch.csv")
    with running_nodes(db, tmp_path) as start:
        start("node-a", "--drain", act="opskit.processors:inspect_file", OPSKIT_MAX_FAILURES="1")
        until(lambda: counts(db) == {"failed": 1})

    (row,) = ask(db, f"SELECT processing_errors AS error FROM {db.settings.files}")
    assert "FileNotFoundError" in row["error"]


@pytest.mark.parametrize(("url", "extra"), [("s3://b/x", "s3"), ("gs://b/x", "gcs"), ("abfs://c/x", "azure")])
def test_a_package_that_is_missing_is_named_by_its_extra(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("s3fs", "gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, module, None)
    for protocol in ("s3", "gs", "abfs"):
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)

    with pytest.raises(MissingExtraError, match=rf"pip install 'opskit\[{extra}\]'") as caught:
        stores.opened(url)
    with pytest.raises(MissingExtraError, match=rf"opskit\[{extra}\]"):
        check_processor(Settings.load({}, storage=url))

    assert of_exception(caught.value, home="", known=()).kind == "world"


@pytest.mark.slow
def test_a_node_whose_storage_needs_a_package_that_is_missing_does_not_begin(db: Database, tmp_path: Path) -> None:
    done = opskit(db.settings, "worker", "--drain", OPSKIT_STORAGE="nosuch://bucket/uploads")

    assert done.returncode == 1
    assert "nosuch" in done.stderr
    assert "Traceback" not in done.stderr
