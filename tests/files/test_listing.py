"""What is queued for which path or URL, how it is called, and what a node reads when only the storage may be read."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import MissingExtraError, Reject, SettingError
from opskit.files.claimed import ClaimedFile
from opskit.files.listing import expand, name_of_url
from opskit.queue.error_identity import kind_of
from opskit.support.logs import masked
from tests.database.test_embedded import as_user
from tests.support import python_programs
from tests.support.nodes import add_files, running_nodes, status

PRESIGNED = "https://b.s3.amazonaws.com/in/Q1%20sales.csv?X-Amz-Credential=AK&X-Amz-Signature=5ecre7&X-Amz-Date=1#top"


# -- URLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (PRESIGNED, "Q1 sales.csv"),
        ("https://h/a/b.csv?sig=x%2F/y.txt", "b.csv"),
        ("https://h/a/b.csv/?x=1", "b.csv"),
        ("https://h/a/b%2Fc%00d%0A.csv#frag/ment", "cd.csv"),
        ("http://h/%E9%94%80%E5%94%AE.csv", "销售.csv"),
        ("https://host.example?x=/etc/passwd", "host.example"),
        ("https://host.example/", "host.example"),
        ("simplecache::https://h/a.parquet?sig=1", "a.parquet"),
        ("zip://inner/a.csv::https://h/all.zip?sig=1", "a.csv"),
        ("s3://bucket/in/what?.csv", "what?.csv"),
        ("s3://bucket/in/100%25 #1.csv", "100%25 #1.csv"),
        ("abfs://c/in/a.csv?sv=1&sig=2", "a.csv"),
        ("memory://a.txt", "a.txt"),
    ],
)
def test_a_file_behind_a_url_is_called_as_its_path_ends(url: str, name: str) -> None:
    assert name_of_url(url) == name
    assert next(expand([url])) == (url, name, None)


def test_what_signs_a_url_is_masked() -> None:
    assert masked(PRESIGNED) == (
        "https://b.s3.amazonaws.com/in/Q1%20sales.csv?X-Amz-Credential=…&X-Amz-Signature=…&X-Amz-Date=1#top"
    )
    assert masked("abfs://c/a?sv=1&sig=abc%3D&se=2, then") == "abfs://c/a?sv=1&sig=…&se=2, then"
    assert masked("https://h/a?design=1&page=token") == "https://h/a?design=1&page=token"


def file(path: str, root: str = "", *, only: bool = False) -> ClaimedFile:
    desk: Any = SimpleNamespace(progress=lambda done, total: None)
    return ClaimedFile(
        id="1", original_filename="a", storage_path=path, file_size=None, attempt=1, failures=0, server_id="a",
        token="t", storage_root=root, storage_only=only, desk=desk,
    )  # fmt: skip


def test_a_protocol_that_is_not_installed_is_one_sentence_and_the_worlds_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)

    with pytest.raises(MissingExtraError) as error:
        file("https://h.invalid/a.csv").open()

    assert str(error.value) == "what reads https:// is not installed; run: pip install 'fsspec[http]'"
    assert kind_of(error.value) == "world"


# -- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("x" * 5000, "'x{200}…' cannot be read: File name too long"),
        ("a/" * 3000, "cannot be read: File name too long"),
        ("nul\0byte", r"nul\\x00byte' cannot be read: embedded null"),
        ("loop", "'.*loop' cannot be read: Too many levels of symbolic links"),
        ("~no-such-user-here/x", "cannot be read: Could not determine home directory"),
        ("nothing", "there is no file or folder '.*nothing'"),
        ("file/below", "there is no file or folder"),
        ("dangling", "there is no file or folder"),
        ("pipe", "there is no file or folder"),
        ("half\udcff", "there is no file or folder"),
    ],
)
def test_an_impossible_path_is_one_sentence(tmp_path: Path, path: str, sentence: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    given = path if path.startswith(("~", "x")) else str(tmp_path / path)

    with pytest.raises(SettingError, match=sentence) as error:
        list(expand([given]))

    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_the_shell_says_a_sentence_about_five_thousand_letters(db: Database) -> None:
    done = python_programs.run(
        [sys.executable, "-m", "opskit", "enqueue", "x" * 5000],
        env={**os.environ, **db.settings.environ()}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.startswith("opskit: 'xxx")
    assert done.stderr.endswith("…' cannot be read: File name too long\n")


def _listed(folder: Any) -> str:
    try:
        return str(list(expand([folder])))
    except SettingError as error:
        return str(error)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can step down to another user")
@pytest.mark.parametrize("closed", ["given", "given/inner"])
def test_a_folder_that_may_not_be_listed_is_one_sentence(tmp_path_factory: Any, closed: str) -> None:
    import shutil
    import tempfile

    top = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        top.chmod(0o755)
        (top / "given" / "inner").mkdir(parents=True)
        (top / "given" / "a.txt").touch()
        (top / closed).chmod(0o700)

        told = as_user(65534, _listed, str(top / "given"))  # type: ignore[arg-type]
    finally:
        shutil.rmtree(top)

    assert "cannot be read: Permission denied" in told
    assert str(top / closed) in told


def test_links_that_lead_out_of_a_folder_are_left_out_and_counted(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, outside = tmp_path / "given", tmp_path / "outside"
    (given / "inner").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (given / "a.txt").write_text("a")
    (given / "same.txt").symlink_to("a.txt")
    (given / "inner" / "up.txt").symlink_to("../a.txt")
    (given / "secret.txt").symlink_to(outside / "secret.txt")
    (given / "inner" / "again.txt").symlink_to("../secret.txt")
    (given / "folder").symlink_to(outside)
    (given / "dangling").symlink_to("nowhere")
    (given / "loop").symlink_to("loop")
    told: list[str] = []

    assert queue.enqueue(db, [given], on_line=told.append) == 3
    assert queue.enqueue(db, [outside], on_line=told.append) == 1

    assert told == [f"3 links that lead out of {str(given)!r} were left out"]
    # A file that is named itself is meant.
    assert [path for path, _, _ in expand([given / "secret.txt"])] == [str(given / "secret.txt")]


# -- the storage alone ---------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A storage with a file in it, one beside it, and links."""
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (root / "in" / "a.txt").write_text("fine")
    (tmp_path / "root-secret.txt").write_text("secret")
    (root / "out").symlink_to(tmp_path)
    (root / "out.txt").symlink_to(tmp_path / "root-secret.txt")
    (root / "within.txt").symlink_to("in/a.txt")
    return root


@pytest.mark.parametrize("path", ["in/a.txt", "within.txt", "{root}/in/a.txt", "in/../in/a.txt", "./in//a.txt"])
@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_what_lies_in_the_storage_is_read(stored: Path, path: str, scheme: str) -> None:
    given = path.format(root=stored)

    assert file(given, f"{scheme}{stored}", only=True).open().read() == b"fine"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../root-secret.txt", "out/root-secret.txt", "out.txt", "{root}/../root-secret.txt",
        "{root}-secret.txt", "in/../../root-secret.txt", "/proc/self/environ", "file:///etc/passwd",
        "file://{root}/in/a.txt", "local://{root}/in/a.txt", "simplecache::file://{root}/in/a.txt",
        "reference://x::file:///etc/passwd", "memory://a.txt", "https://127.0.0.1/x", "in/a.txt::memory://x",
    ],
)  # fmt: skip
def test_nothing_outside_the_storage_is_read_when_only_it_may_be(stored: Path, path: str) -> None:
    with pytest.raises(Reject, match="is outside the storage, and OPSKIT_STORAGE_ONLY lets nothing else be read"):
        file(path.format(root=stored), str(stored), only=True).open()


@pytest.mark.parametrize(
    "path",
    [
        "memory://other/a", "memory://root", "memory://root/../other/a", "memory://root/%2e%2e/other/a", "memory://root-b/a",
        "simplecache::memory://root/a", "/../other/a", "file:///etc/passwd", "memory://root/a::file:///etc/passwd",
        "memory://root\\..\\a",
    ],
)  # fmt: skip
def test_a_storage_behind_a_url_is_as_closed(path: str) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe({"/root/a": b"fine", "/other/a": b"secret", "/root-b/a": b"secret"})

    assert file("memory://root/a", "memory://root", only=True).open().read() == b"fine"
    assert file("a", "memory://root/", only=True).open().read() == b"fine"
    with pytest.raises(Reject, match=r"outside the storage|leads out of the storage root"):
        file(path, "memory://root", only=True).open()


def test_a_node_rejects_such_a_file_with_one_sentence(db: Database, tmp_path: Path) -> None:
    (id,) = add_files(db, "passwd")
    with db.connection() as connection:
        connection.execute(f"UPDATE {db.settings.files} SET storage_path = '/etc/passwd'")
    with running_nodes(db, tmp_path) as start:
        node = start("node-a", "--drain", act="opskit.processors:inspect_file", OPSKIT_STORAGE_ONLY="1")
        assert node.end() == 0

    row = db.one("file", id=id)
    assert status(db, id) == "failed"
    assert row["processing_attempt"] == 1
    assert row["processing_errors"] == (
        "rejected: storage_path '/etc/passwd' is outside the storage, and OPSKIT_STORAGE_ONLY lets nothing else be read"
    )
