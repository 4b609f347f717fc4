"""What a storage_path may lead to, where an upload goes, and who may read it: each rule at its edge."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import pwd
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opskit.errors import OpskitError, Reject, TooLargeError
from opskit.files import storage
from opskit.files.claimed import ClaimedFile
from opskit.settings import Settings
from opskit.support import private_files
from tests.support.storing import stored

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
DAEMON = pwd.getpwnam("daemon").pw_uid


def file(path: str, root: str, *, only: bool = False) -> ClaimedFile:
    """A claimed file whose progress is written to its desk."""
    said: list[int] = []
    desk: Any = SimpleNamespace(progress=lambda done, total: said.append(done), said=said)
    return ClaimedFile(
        id="1", original_filename="a", storage_path=path, file_size=None, attempt=1, failures=0, server_id="a",
        token="t", storage_root=root, storage_only=only, desk=desk,
    )  # fmt: skip


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A storage with a file in it, one beside it, and a link out of it."""
    kept = tmp_path / "root"
    kept.mkdir()
    (kept / "a.txt").write_text("fine")
    (tmp_path / "root-b.txt").write_text("secret")
    (kept / "out.txt").symlink_to(tmp_path / "root-b.txt")
    return kept


# -- what is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["../root-b.txt", "in/../../root-b.txt", "..", "a/.."])
def test_a_relative_path_never_leads_out_of_the_storage(root: Path, path: str) -> None:
    for storage_root in (str(root), "memory://root"):
        with pytest.raises(Reject, match="leads out of the storage root"):
            file(path, storage_root).open()


def test_an_absolute_path_is_read_as_the_application_wrote_it_unless_the_storage_alone_may_be(root: Path) -> None:
    beside = str(root.parent / "root-b.txt")

    assert file(beside, str(root)).open().read() == b"secret"
    assert file("a.txt", str(root), only=True).open().read() == b"fine"
    for path in (beside, "out.txt", "../root-b.txt", "file://" + beside, f"{root}-b.txt", "x::a.txt", "c://a.txt"):
        with pytest.raises(Reject, match="is outside the storage"):
            file(path, str(root), only=True).open()


@pytest.mark.parametrize(
    "path",
    [
        "memory://other/a", "memory://rootb/a", "memory://root/../other/a", "memory://root/%2e%2e/other/a",
        "memory://root/..\\a", "memory://root/%2E.%5Cother", "memory://root/a::memory://root/a",
    ],
)  # fmt: skip
def test_a_storage_behind_a_url_is_as_closed_as_a_folder(path: str) -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe({"/root/a": b"fine", "/rootb/a": b"secret", "/other/a": b"secret"})

    assert file("memory://root/a", "memory://root/", only=True).open().read() == b"fine"
    with pytest.raises(Reject, match="is outside the storage"):
        file(path, "memory://root/", only=True).open()


def test_a_path_that_is_refused_is_told_without_its_password(root: Path) -> None:
    with pytest.raises(Reject) as refused:
        file("s3://me:hunter2@bucket/a", str(root), only=True).open()

    assert "hunter2" not in str(refused.value)


def test_reading_the_same_bytes_again_is_no_progress(root: Path) -> None:
    one = file("a.txt", str(root))
    with one.open() as stream:
        for _ in range(3):
            stream.read()
            stream.seek(0)

    assert one.desk.said == [4]  # type: ignore[attr-defined]


# -- where an upload goes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("C:\\work\\a.csv", "a.csv"),
        ("/etc/passwd", "passwd"),
        ("a\x1b[2J\n.csv", "a[2J.csv"),
        ("a\ud800.csv", "a.csv"),
        ("x" * 300, "x" * 255),
        (" \t", "upload"),
        (None, "upload"),
    ],
)
def test_an_uploaders_name_is_shown_without_folders_and_control_characters(given: str | None, shown: str) -> None:
    assert storage.clean_name(given) == shown


@pytest.fixture
def kept(tmp_path: Path) -> Settings:
    """Settings whose storage is a folder that was not there."""
    return Settings.load({}, home=str(tmp_path / "home"), storage=str(tmp_path / "kept"))


def upload(settings: Settings, name: str = "a.CSV", content: bytes = b"1234") -> Path:
    return Path(stored(settings, name, io.BytesIO(content), limit_bytes=4).path)


@pytest.mark.parametrize(("name", "end"), [("a.CSV.gz", ".csv.gz"), ("a", ""), ("a.c-v", ""), ("a.c v", "")])
def test_of_an_uploaders_name_only_a_plain_extension_is_in_the_path(kept: Settings, name: str, end: str) -> None:
    path = upload(kept, name)

    assert path.name.removesuffix(end).isalnum()
    assert (len(path.name.removesuffix(end)), path.parent.name) == (64, path.name[:2])


def test_an_upload_of_more_than_is_taken_leaves_nothing_behind(kept: Settings) -> None:
    assert upload(kept).read_bytes() == b"1234"

    with pytest.raises(TooLargeError, match="at most 4 bytes"):
        upload(kept, content=b"12345")

    assert [path.name for path in Path(kept.storage_root).iterdir()] == [upload(kept).parent.name]
    assert [path.name for path in Path(kept.storage_root).glob(".*")] == []


def test_files_that_are_kept_together_are_all_kept_or_none_and_what_was_there_stays(
    kept: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = upload(kept, content=b"old")
    with (
        storage.arriving(kept, "a", io.BytesIO(b"old"), limit_bytes=9) as same,
        storage.arriving(kept, "a", io.BytesIO(b"new"), limit_bytes=9) as new,
        storage.arriving(kept, "a", io.BytesIO(b"bad"), limit_bytes=9) as bad,
    ):
        Path(kept.storage_root, bad.waiting).unlink()
        same = dataclasses.replace(same, place=str(there.relative_to(kept.storage_root)))
        with pytest.raises(OpskitError, match="cannot be stored"):
            storage.keep([same, new, bad])

    assert there.read_bytes() == b"old"
    assert not Path(kept.storage_root, new.place).exists()


def test_uploads_are_closed_to_others_and_open_to_a_group_that_was_given_the_folder(tmp_path: Path) -> None:
    modes = {}
    for name, given in {"open": 0o755, "group": 0o2770}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(given)
        path = upload(Settings.load({}, home=str(tmp_path / "home"), storage=str(tmp_path / name)))
        modes[name] = (mode(path), mode(path.parent))

    assert modes == {"open": (0o600, 0o700), "group": (0o640, 0o2750)}


def test_a_shelf_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "group").chmod(0o2770)
    settings = Settings.load({}, home=str(tmp_path / "home"), storage=str(tmp_path / "group"))
    shelf = upload(settings).parent
    shelf.chmod(0o700)

    upload(settings)

    assert mode(shelf) == 0o700


def test_a_shelf_that_is_a_link_is_not_followed(kept: Settings, tmp_path: Path) -> None:
    path = upload(kept)
    path.unlink()
    path.parent.rmdir()
    (tmp_path / "elsewhere").mkdir()
    path.parent.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OpskitError, match="is a link"):
        upload(kept)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_storage_in_the_home_in_which_others_may_write_is_refused(tmp_path: Path) -> None:
    settings = Settings.load({}, home=str(tmp_path / "home"))
    Path(settings.storage_root).parent.mkdir(parents=True, exist_ok=True)
    upload(settings)
    Path(settings.storage_root).chmod(0o777)

    with pytest.raises(OpskitError, match="others may write to it"):
        upload(settings)


# -- who may read it -------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "refused"), [(0o777, True), (0o770, True), (0o702, True), (0o755, False)])
def test_a_folder_in_which_others_may_write_is_refused_and_one_they_may_read_is_closed(
    tmp_path: Path, given: int, refused: bool
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own").chmod(given)

    if refused:
        with pytest.raises(PermissionError, match="others may write to it"):
            private_files.folder(tmp_path / "own")
    else:
        private_files.folder(tmp_path / "own")
    assert mode(tmp_path / "own") == (given if refused else 0o700)


def test_a_file_that_is_opened_is_one_of_its_own_and_closed_to_others(tmp_path: Path) -> None:
    own, twice, pipe, link = (tmp_path / name for name in ("own", "twice", "pipe", "link"))
    own.touch(mode=0o644)
    os.close(private_files.opened(own, os.O_RDWR))
    assert mode(own) == 0o600

    os.link(own, twice)
    os.mkfifo(pipe)
    link.symlink_to(own)
    for path, sentence in ((twice, "not a file of its own"), (pipe, "not a file of its own"), (link, "it is a link")):
        with pytest.raises(PermissionError, match=sentence):
            private_files.opened(path, os.O_RDWR)
    with pytest.raises(OSError, match="symbolic links") as followed:
        private_files.read(link, owner=os.geteuid())
    assert followed.value.errno == errno.ELOOP


@as_root
def test_a_file_or_folder_of_another_users_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name in ("file", "folder", "link"):
        os.chown(tmp_path / name, DAEMON, -1, follow_symlinks=False)

    for name in ("folder", "link"):
        with pytest.raises(PermissionError, match="it belongs to daemon"):
            private_files.folder(tmp_path / name)
    with pytest.raises(PermissionError, match="it belongs to daemon"):
        private_files.opened(tmp_path / "file", os.O_RDWR)
    with pytest.raises(PermissionError, match="not a file of its own"):
        private_files.read(tmp_path / "file", owner=os.geteuid() + 77)
    os.close(private_files.opened(tmp_path / "file", os.O_RDWR, owners=[DAEMON]))
    assert (tmp_path / "file").stat().st_uid == 0


def test_a_file_made_anew_is_not_written_through_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "victim")

    private_files.written(tmp_path / "link", "new")
    private_files.written(tmp_path / "link", "newer")

    assert ((tmp_path / "victim").read_text(), (tmp_path / "link").read_text()) == ("kept", "newer")
