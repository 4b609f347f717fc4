"""The home, the embedded server's files and the uploads are ours alone; what others have prepared is never followed."""

from __future__ import annotations

import io
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opskit.database import embedded, programs
from opskit.errors import EmbeddedServerError, OpskitError, SettingError
from opskit.local.nodes import Part
from opskit.settings import Settings
from opskit.support import private_files
from tests.database.test_embedded import as_root, as_user, data_directory, free_port, kill_postmaster
from tests.support import servers
from tests.support.storing import stored

USERS = (0, pwd.getpwnam("nobody").pw_uid) if os.geteuid() == 0 else (os.geteuid(),)
DAEMON = pwd.getpwnam("daemon").pw_uid
each_user = pytest.mark.parametrize("user", USERS, ids=lambda user: pwd.getpwuid(user).pw_name)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder in which everybody may write; its servers are stopped at the end."""
    made = Path(tempfile.mkdtemp(prefix="opskit-shared-", dir=servers.fast_folder()))
    made.chmod(0o777)
    yield made
    for lock in made.glob("**/embedded.lock"):
        if lock.parent.is_dir() and not lock.is_symlink():
            lock.parent.chmod(0o700 if lock.parent.stat().st_uid else 0o711)
            as_user(lock.parent.stat().st_uid, embedded.stop, Settings.load({}, home=str(lock.parent)))
    shutil.rmtree(made)


def settings_in(folder: Path, **more: Any) -> Settings:
    return Settings.load({}, home=str(folder / "home"), pg_bin=servers.PG_BIN, pg_port=free_port(), **more)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def refused(user: int, verb: Callable[[Settings], Any], settings: Settings) -> str:
    """The one sentence with which a verb is refused."""
    with pytest.raises(OpskitError) as error:
        as_user(user, verb, settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def upload(settings: Settings) -> str:
    return stored(settings, "a.txt", io.BytesIO(b"secret"), limit_bytes=100).path


def start_fast(settings: Settings) -> str:
    return embedded.start(settings, servers.FAST)


VERBS: dict[str, Callable[[Settings], Any]] = {
    "start": embedded.start, "stop": embedded.stop, "url": embedded.url, "upload": upload,
}  # fmt: skip
each_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


# -- the home ------------------------------------------------------------------------------------


@as_root
@each_verb
def test_a_home_that_somebody_else_has_prepared_is_refused_and_nothing_behind_its_links_is_touched(
    shared: Path, verb: Callable[[Settings], Any]
) -> None:
    settings, victim = settings_in(shared), shared / "victim.txt"
    victim.write_text("kept")
    settings.home_path.mkdir()
    (settings.home_path / "embedded.lock").symlink_to(victim)
    for path in (settings.home_path, settings.home_path / "embedded.lock"):
        os.chown(path, DAEMON, DAEMON, follow_symlinks=False)
    settings.home_path.chmod(0o777)

    told = refused(0, verb, settings)

    assert "it belongs to daemon, and this process is root; name another folder" in told
    assert victim.read_text() == "kept"
    assert mode(settings.home_path) == 0o777


@as_root
@each_verb
def test_a_link_of_another_users_is_no_home(shared: Path, verb: Callable[[Settings], Any]) -> None:
    settings, target = settings_in(shared), shared / "etc"
    target.mkdir(mode=0o755)
    settings.home_path.symlink_to(target)
    os.chown(settings.home_path, DAEMON, DAEMON, follow_symlinks=False)

    assert "it belongs to daemon" in refused(0, verb, settings)
    assert list(target.iterdir()) == []
    assert mode(target) == 0o755


@each_user
@each_verb
@pytest.mark.parametrize("open_to", [0o777, 0o770, 0o722, 0o1777])
def test_a_home_of_ours_in_which_others_may_write_is_refused(
    shared: Path, user: int, verb: Callable[[Settings], Any], open_to: int
) -> None:
    settings = settings_in(shared)
    settings.home_path.mkdir()
    os.chown(settings.home_path, user, -1)
    settings.home_path.chmod(open_to)

    assert f"others may write to it (mode {open_to:o})" in refused(user, verb, settings)
    assert list(settings.home_path.iterdir()) == []


@each_user
def test_what_is_new_is_ours_alone_and_what_was_open_is_closed(shared: Path, user: int) -> None:
    settings = settings_in(shared)
    home = settings.home_path
    (home / "uploads").mkdir(parents=True)
    (home / "embedded.lock").touch()
    for path in (home, home / "uploads", home / "embedded.lock"):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.chown(path, user, -1)

    as_user(user, start_fast, settings)
    kept = Path(as_user(user, upload, settings))

    assert mode(home) == (0o711 if user == 0 else 0o700)
    assert {path.name: mode(path) for path in home.iterdir() if path.is_file()} == {
        "embedded.lock": 0o600,
        data_directory(settings).name + ".password": 0o600,
    }
    assert mode(data_directory(settings)) == 0o700
    assert [mode(path) for path in (home / "uploads", kept.parent, kept)] == [0o700, 0o700, 0o600]
    assert {path.lstat().st_uid for path in (home, *home.iterdir()) if path.name not in ("pg15", "pg18")} == {user}
    stranger = subprocess.run(
        ["cat", kept], user=DAEMON if os.geteuid() == 0 else None, capture_output=True, check=False
    )
    assert stranger.returncode != 0 or os.geteuid() != 0


# -- files ---------------------------------------------------------------------------------------


@each_user
@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_a_lock_that_is_no_file_of_its_own_is_refused(shared: Path, user: int, kind: str) -> None:
    settings, victim = settings_in(shared), shared / "victim.txt"
    lock = settings.home_path / "embedded.lock"
    settings.home_path.mkdir(mode=0o700)
    victim.write_text("kept")
    victim.chmod(0o644)
    os.chown(victim, user, -1)
    os.chown(settings.home_path, user, -1)
    if kind == "link":
        lock.symlink_to(victim)
    elif kind == "hard link":
        lock.hardlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()

    told = refused(user, embedded.start, settings)

    assert "embedded.lock" in told
    assert victim.read_text() == "kept"
    assert mode(victim) == 0o644
    shutil.rmtree(settings.home_path)


@as_root
def test_the_password_is_roots_alone_and_an_older_one_is_taken_over(shared: Path) -> None:
    settings = settings_in(shared)
    url = start_fast(settings)
    (password,) = settings.home_path.glob("*.password")
    nobody = pwd.getpwnam("nobody").pw_uid

    assert (password.stat().st_uid, mode(password)) == (0, 0o600)
    assert subprocess.run(["cat", password], user=nobody, capture_output=True, check=False).returncode != 0

    os.chown(password, nobody, -1)  # as an earlier version left it
    assert embedded.url(settings) == url
    assert (password.stat().st_uid, mode(password)) == (0, 0o600)
    os.chown(password, DAEMON, -1)
    assert "it belongs to daemon" in refused(0, embedded.url, settings)


@pytest.mark.fast_cases(1)
@as_root
@pytest.mark.parametrize("name", ["postmaster.pid", "postmaster.opts", "server.log"])
def test_root_reads_nothing_through_a_link_that_the_servers_user_has_made(shared: Path, name: str) -> None:
    settings, victim = settings_in(shared), shared / "shadow"
    start_fast(settings)
    data = data_directory(settings)
    kill_postmaster(settings)
    victim.write_text("root:hash\nsecret of root\n")
    victim.chmod(0o600)
    (data / name).unlink()
    (data / name).symlink_to(victim)
    os.chown(data / name, data.stat().st_uid, -1, follow_symlinks=False)

    try:
        told = embedded.start(settings)
    except EmbeddedServerError as error:
        told = str(error)

    assert "secret" not in told
    assert victim.read_text() == "root:hash\nsecret of root\n"
    for path in data.rglob("*"):
        assert not (path.is_file() and not path.is_symlink() and b"secret of root" in path.read_bytes()), path
    (data / name).unlink(missing_ok=True)


@as_root
def test_data_of_another_user_are_not_served(shared: Path) -> None:
    settings = settings_in(shared)
    settings.home_path.mkdir(mode=0o711)
    major = programs.major_version(programs.find_binaries(settings))
    prepared = settings.home_path / f"pg{major}"
    prepared.mkdir(mode=0o700)
    os.chown(prepared, DAEMON, -1)

    assert "it belongs to another user" in refused(0, embedded.start, settings)
    prepared.rmdir()
    prepared.symlink_to(shared)
    os.chown(prepared, DAEMON, -1, follow_symlinks=False)
    assert "it is a link of another user's" in refused(0, embedded.start, settings)


# -- uploads and logs ----------------------------------------------------------------------------


@each_user
def test_no_upload_goes_through_a_link(shared: Path, user: int) -> None:
    settings = settings_in(shared)
    kept = Path(as_user(user, upload, settings))
    elsewhere = shared / "elsewhere"
    elsewhere.mkdir(mode=0o777)
    elsewhere.chmod(0o777)
    kept.unlink()
    kept.parent.rmdir()
    kept.parent.symlink_to(elsewhere)

    assert "is a link, and none is followed here" in refused(user, upload, settings)
    assert list(elsewhere.iterdir()) == []


def test_a_folder_that_was_there_decides_who_may_enter_and_whether_its_group_may_read(tmp_path: Path) -> None:
    for name, given in {"open": 0o755, "of a group": 0o2770}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(given)

    kept = {
        name: Path(upload(settings_in(tmp_path, storage=str(tmp_path / name))))
        for name in ("open", "of a group", "new")
    }

    assert [mode(path.parent.parent) for path in kept.values()] == [0o755, 0o2770, 0o700]
    assert [mode(path.parent) for path in kept.values()] == [0o700, 0o2750, 0o700]
    assert [mode(path) for path in kept.values()] == [0o600, 0o640, 0o600]


def test_a_log_of_up_is_ours_alone_and_no_link_is_followed(tmp_path: Path) -> None:
    log, victim = tmp_path / "page.log", tmp_path / "victim"
    log.touch(mode=0o644)
    victim.write_text("kept")
    part = Part("page", "this", [], Settings.load({}), log)

    part.start()
    assert part.process is not None
    part.process.wait()
    assert part.output is not None
    part.output.close()
    assert mode(log) == 0o600
    log.unlink()
    log.symlink_to(victim)
    with pytest.raises(SettingError, match="cannot be written: it is a link"):
        part.start()
    assert victim.read_text() == "kept"


def test_a_file_made_anew_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "victim")

    private_files.written(tmp_path / "link", "new")

    assert (tmp_path / "victim").read_text() == "kept"
    assert (tmp_path / "link").read_text() == "new"
    assert mode(tmp_path / "link") == 0o600
