"""The embedded PostgreSQL: a real server for one machine, used where no DATABASE_URL is set.

The home folder holds:

    embedded.lock     held while a process starts or stops the server
    pg18/             data directory of major version 18, with server.log in it
    pg18.password     password of its one user, for the eyes of whoever started it
    pg18.programs/    copy of PostgreSQL's programs, made only where the server's user cannot read them

The folder is ours alone, and so is each file in it: a home that others own or may write is refused, and no link that
somebody may have prepared is followed (support/private_files.py).

The server belongs to nobody's process: it outlives the one that started it, until `stop`.
PostgreSQL refuses to run as root, so there it runs as the user `nobody`; where that user cannot
reach the home folder, `pg18` is a link to a folder in /var/lib/opskit.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import pwd
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from opskit.database.programs import explained, find_binaries, major_version
from opskit.errors import EmbeddedServerError
from opskit.settings import Settings
from opskit.support import private_files

ELSEWHERE = Path("/var/lib/opskit")
PORTS = 100  # how many ports are tried, from OPSKIT_PG_PORT upwards
PATIENCE_SECONDS = 60.0
USER = DATABASE = "opskit"
_NO_SUCH_PID = 2**31 - 1


class _Postmaster(NamedTuple):
    """A living server, as its postmaster.pid describes it."""

    pid: int
    port: int
    ready: bool


@explained()
def start(settings: Settings, options: Mapping[str, str] | None = None) -> str:
    """Make sure that the embedded server runs, and return its URL.

    Any number of processes may call this at once: one of them starts the server, the others wait for
    it. A missing data directory is made, with an empty database `opskit`; after a crash the server
    recovers by itself.

    Args:
        settings: `home`, `pg_bin` and `pg_port` are used.
        options: More settings of the server by name, such as {"fsync": "off"}; a server that already
            runs keeps its own.

    Returns:
        postgresql://opskit:PASSWORD@127.0.0.1:PORT/opskit

    Raises:
        EmbeddedServerError: There is no PostgreSQL, or it does not start; the message says why.
    """
    programs = find_binaries(settings)
    running = url(settings)
    if running is not None:
        return running
    with _locked(settings.home_path):
        data = _reachable_data_directory(settings, programs)
        programs = _readable_programs(programs, data)
        if not data.exists():
            _initialize(programs, data)
        if _settled(data) is None:
            _disarm_pid_file(data)
            _launch(programs, data, settings.pg_port, options or {})
    running = url(settings)
    if running is None:
        raise EmbeddedServerError(f"PostgreSQL ended right after its start{_last_words(data)}")
    return running


@explained()
def stop(settings: Settings) -> bool:
    """Stop the embedded server of this home folder, of whatever major version, ending its connections.

    Returns:
        Whether there was one to stop.

    Raises:
        EmbeddedServerError: It is still there after a minute, or belongs to another user.
    """
    if not settings.home_path.is_dir():
        return False
    private_files.home(settings.home_path)
    with _locked(settings.home_path):
        found = [_trusted(path) for path in settings.home_path.glob("pg[0-9][0-9]")]
        living = [(data, postmaster) for data in found if (postmaster := _running(data))]
        for data, postmaster in living:
            os.kill(postmaster.pid, signal.SIGINT)  # PostgreSQL's "fast shutdown"
            _settled(data, gone=True)
    return bool(living)


@explained()
def url(settings: Settings) -> str | None:
    """The URL of the embedded server, or None when it does not run.

    Raises:
        EmbeddedServerError: There is no PostgreSQL, or the server belongs to another user.
    """
    programs = find_binaries(settings)
    private_files.home(settings.home_path, make=False)
    data = _data_directory(settings, programs)
    postmaster = _running(data)
    if postmaster is None or not postmaster.ready:
        return None
    # An earlier version gave it to the server's user, as root.
    with os.fdopen(private_files.opened(_beside(data, "password"), os.O_RDONLY, owners=[_owner(data)])) as file:
        password = file.read().strip()
    return f"postgresql://{USER}:{password}@127.0.0.1:{postmaster.port}/{DATABASE}"


def _data_directory(settings: Settings, programs: Path) -> Path:
    return _trusted(settings.home_path / f"pg{major_version(programs)}")


def _trusted(data: Path) -> Path:
    """A data directory, or where our own link leads; one of another user's making is refused.

    Its user is who runs the server: ourselves, and `nobody` under root.
    """
    if data.is_symlink() and data.lstat().st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it is a link of another user's; remove it", str(data))
    resolved = data.resolve()
    if resolved.exists() and _owner(resolved) not in (os.geteuid(), *_server_users()):
        raise PermissionError(errno.EPERM, "it belongs to another user; remove it, or name another home", str(data))
    return resolved


def _owner(data: Path) -> int:
    return data.stat().st_uid


def _beside(data: Path, what: str) -> Path:
    return data.with_name(f"{data.name}.{what}")


def _account(data: Path) -> dict[str, Any]:
    """The user that the server of *data* runs as, as arguments of `subprocess`: under root another, else the same."""
    if os.geteuid() != 0:
        return {}
    if data.exists():
        owner = data.stat()
        return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    nobody = _nobody()
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedServerError("PostgreSQL refuses to run as root, and there is no user 'nobody'") from None


def _run(data: Path, *command: str | Path, input: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program as the user of *data*, apart from our terminal, environment and folder."""
    environ = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return subprocess.run(
        command,
        check=False,
        input=input,
        capture_output=True,
        text=True,
        errors="replace",
        cwd="/",
        env=environ | {"LC_ALL": "C"},  # a locale that is not installed would end initdb
        start_new_session=True,
        **_account(data),
    )


def _reachable_data_directory(settings: Settings, programs: Path) -> Path:
    """The data directory, linked to a folder elsewhere where `nobody` could not reach it."""
    data = settings.home_path / f"pg{major_version(programs)}"
    _trusted(data)
    new = os.geteuid() == 0 and not os.path.lexists(data)
    if new and _run(data, "/bin/sh", "-c", 'cd "$0"', data.parent).returncode != 0:
        place = ELSEWHERE / hashlib.sha256(os.fsencode(data.parent.resolve())).hexdigest()[:16]
        for folder in (ELSEWHERE, place):
            if not os.path.lexists(folder):
                folder.mkdir(parents=True)
                folder.chmod(0o755)
            private_files.folder(folder, mode=0o755)
        data.symlink_to(place / data.name)
    return data.resolve()


def _readable_programs(programs: Path, data: Path) -> Path:
    """The programs, or a fresh copy of them (0.3 s) where the user of *data* could not run the originals."""
    if os.geteuid() != 0 or _can_run(programs, data):
        return programs
    copy, package = _beside(data, "programs"), programs.parent.parent
    if copy.is_symlink():
        copy.unlink()
    shutil.rmtree(copy, ignore_errors=True)
    parts = [programs.parent / part for part in ("bin", "lib", "share")]
    parts.append(package.parent / f"{package.name}.libs")  # where a wheel keeps its shared libraries
    for part in filter(Path.is_dir, parts):
        shutil.copytree(part, copy / part.relative_to(package.parent), symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
    copied = copy / programs.relative_to(package.parent)
    if not _can_run(copied, data):
        raise EmbeddedServerError(f"the programs in {programs} cannot be run by the user of {data}")
    return copied


def _can_run(programs: Path, data: Path) -> bool:
    try:
        return _run(data, programs / "initdb", "-V").returncode == 0  # needs libpq too, as postgres does not
    except PermissionError:
        return False


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Be the only process that starts or stops this home's server."""
    private_files.home(home)
    lock = private_files.opened(home / "embedded.lock", os.O_RDWR | os.O_CREAT, owners=_server_users())
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _server_users() -> list[int]:
    """Whose files an earlier version may have left in the home: under root, the server's user's."""
    return [_nobody().pw_uid] if os.geteuid() == 0 else []


def _initialize(programs: Path, data: Path) -> None:
    """Make the data directory under another name, complete with its database; then rename it."""
    for leftover in data.parent.glob(f"{data.name}.new-*"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink()
    fresh = Path(tempfile.mkdtemp(prefix=f"{data.name}.new-", dir=data.parent))
    password, told = secrets.token_urlsafe(24) + "\n", fresh.with_name(f"{fresh.name}.password")
    private_files.written(_beside(data, "password"), password)
    # A second copy, which lives as long as initdb runs: the server's user has to read it, once.
    private_files.written(told, password)
    account = _account(data)
    for path in (fresh, told) if account else ():
        os.chown(path, account["user"], account["group"], follow_symlinks=False)
    scram = ("-U", USER, "-A", "scram-sha-256", "--pwfile", told)
    try:
        done = _run(fresh, programs / "initdb", "-D", fresh, "-E", "UTF8", "--no-locale", *scram)
    finally:
        told.unlink(missing_ok=True)
    if done.returncode == 0:
        single = (programs / "postgres", "--single", "-D", fresh, "-c", "exit_on_error=on", "postgres")
        done = _run(fresh, *single, input=f"CREATE DATABASE {DATABASE};\n")
    if done.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise EmbeddedServerError(f"PostgreSQL cannot make its data directory {data}: {_joined(done.stderr)}")
    fresh.rename(data)


def _launch(programs: Path, data: Path, first_port: int, options: Mapping[str, str]) -> None:
    """Start the server on the first port that is free, which PostgreSQL records in postmaster.opts."""
    for port in filter(_is_free, _ports(data, first_port)):
        chosen = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(port)}
        words = [word for name, value in {**options, **chosen}.items() for word in ("-c", f"{name}={value}")]
        pg_ctl = (programs / "pg_ctl", "start", "-D", data, "-l", data / "server.log", "-o", shlex.join(words))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (done := _run(data, *pg_ctl, "-w", "-t", f"{PATIENCE_SECONDS:.0f}")).returncode != 0:
            # Children of a killed server may still be at work; PostgreSQL itself refuses to join them.
            if "pre-existing shared memory block" not in _last_words(data) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        else:
            return
        if _is_free(port) or _running(data):
            raise EmbeddedServerError(f"PostgreSQL does not start{_last_words(data) or ': ' + _joined(done.stderr)}")
    raise EmbeddedServerError(f"none of the {PORTS} ports from {first_port} is free; set OPSKIT_PG_PORT")


def _ports(data: Path, first: int) -> list[int]:
    """The ports to try: the one of last time, if it may still be chosen, then upwards."""
    try:
        last = re.search(r'"port=(\d+)"', private_files.read(data / "postmaster.opts", owner=_owner(data)))
    except FileNotFoundError:
        last = None
    return sorted(range(first, min(first + PORTS, 65536)), key=lambda port: last is None or port != int(last[1]))


def _is_free(port: int) -> bool:
    """Whether *port* is free, or becomes so in 0.1 s: a killed server keeps its port a moment longer than its name."""
    for _ in range(5):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


def _running(data: Path) -> _Postmaster | None:
    """The living server of *data*, if there is one."""
    try:
        lines = private_files.read(data / "postmaster.pid", owner=_owner(data)).splitlines() + [""] * 8
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not lines[0].isdigit() or f"-D {data} " not in _command_line(int(lines[0])):
        return None
    return _Postmaster(pid=int(lines[0]), port=int(lines[3] or 0), ready=lines[7].strip() == "ready")


def _command_line(pid: int) -> str:
    """How a process was called: "" for a zombie or none, for a number may have gone to another process."""
    if not Path("/proc/self/cmdline").exists():
        ps = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
        return subprocess.run(ps, check=False, capture_output=True, text=True).stdout.rstrip() + " "
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _settled(data: Path, *, gone: bool = False) -> _Postmaster | None:
    """Wait until the server is ready, or gone; returns it, or None."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (postmaster := _running(data)) and (gone or not postmaster.ready):
        if time.monotonic() > deadline:
            raise EmbeddedServerError(f"PostgreSQL does not {'stop' if gone else 'become ready'}{_last_words(data)}")
        time.sleep(0.02)
    return postmaster


def _disarm_pid_file(data: Path) -> None:
    """Put a process that cannot exist into the pid file of a killed server.

    Its own number may be a zombie's or somebody else's by now, which PostgreSQL takes for a living
    server. The file is not removed, because it names the shared memory by which PostgreSQL finds
    children of the killed server that are still at work on the data.
    """
    pid_file, disarmed = data / "postmaster.pid", _beside(data, "pid")
    if os.path.lexists(pid_file):
        _, newline, rest = private_files.read(pid_file, owner=_owner(data)).partition("\n")
        private_files.written(disarmed, f"{_NO_SUCH_PID}{newline}{rest}")
        disarmed.chmod(0o644)
        disarmed.replace(pid_file)  # root writes no file in a folder of another user: it could be a link


def _last_words(data: Path) -> str:
    """The end of the server's log, as the end of a sentence."""
    try:
        log = data / "server.log"
        return f"; its log {log} ends: {_joined(private_files.read(log, owner=_owner(data)))}"
    except OSError:
        return ""


def _joined(text: str, lines: int = 4) -> str:
    return " / ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())
