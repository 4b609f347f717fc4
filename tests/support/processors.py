"""Processors for nodes under test, good and bad ones: `--processor processors:NAME`, with this folder on PYTHONPATH."""

from __future__ import annotations

import contextlib
import ctypes
import email.message
import errno
import importlib
import os
import signal
import time
import urllib.error
from pathlib import Path
from typing import Any

import opskit


def nothing(file: opskit.ClaimedFile) -> None:
    """Do nothing at all."""


def effect(file: opskit.ClaimedFile) -> dict[str, Any]:
    """Write one row of effect in the completion's own transaction; exactly once or not at all.

    It takes ACT_SECONDS; where ACT_FILE names a file, that file alone does.
    """
    if os.environ.get("ACT_FILE", file.original_filename) == file.original_filename:
        time.sleep(float(os.environ.get("ACT_SECONDS", "0")))
    with file.completing() as tx:
        tx.execute(
            "INSERT INTO effects (file_id, token, server_id) VALUES (%s, %s, %s)", (file.id, file.token, file.server_id)
        )
    return {"attempt": file.attempt}


def swallow(file: opskit.ClaimedFile) -> None:
    """Complete, and swallow a database error meanwhile, if the file is called so."""
    with file.completing() as tx, contextlib.suppress(Exception):
        if file.original_filename == "swallow":
            tx.execute("SELECT 1/0")


def betray(file: opskit.ClaimedFile) -> None:
    """Fail with a password in the error, as drivers do."""
    raise ConnectionError("cannot reach postgresql://me:hunter2@db.example/x?sslmode=off, password='hunter2'")


def speak_evil(file: opskit.ClaimedFile) -> None:
    """Fail with an error that would steer a terminal and forge a line of the log."""
    raise ValueError("title\x1b]0;pwned\x07\x9b2J\u202e\n2031-01-02 00:00:00,000 INFO    [prod production] all fine")


def hold_gil(file: opskit.ClaimedFile) -> None:
    """Work for ACT_SECONDS in a library that does not let go of the interpreter's lock."""
    ctypes.PyDLL(None).sleep(int(os.environ["ACT_SECONDS"]))
    with file.completing() as tx:
        tx.execute("INSERT INTO effects (file_id, token) VALUES (%s, %s)", (file.id, file.token))


def slow(file: opskit.ClaimedFile) -> None:
    """Work for ACT_SECONDS, with progress."""
    seconds = float(os.environ.get("ACT_SECONDS", "1"))
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        file.progress(done=int((seconds - left) * 1000), total=int(seconds * 1000))
        time.sleep(min(0.02, left))


def deep(file: opskit.ClaimedFile) -> None:
    """Fail at the end of a long chain of calls as the file's name says: kind-number."""
    kind, _, number = (file.original_filename or "").partition("-")
    errors = {
        "key": KeyError("amount"),
        "denied": PermissionError(13, "Permission denied", f"/data/{number}.csv"),
        "parse": ValueError(f"cannot parse line {number}"),
        "unknown": ValueError(f"currency of line {number} is unknown"),
    }
    _call(20, errors[kind])


def _call(further: int, error: Exception) -> None:
    if further:
        _call(further - 1, error) if further % 2 else _call_again(further - 1, error)
    raise error


def _call_again(further: int, error: Exception) -> None:
    _call(further - 1, error)


def by_name(file: opskit.ClaimedFile) -> dict[str, str] | None:
    """Behave as the file's name says."""
    act = (file.original_filename or "").split("-")[0]
    if act == "raise":
        raise ValueError("cannot parse line 17")
    if act == "reject":
        raise opskit.Reject("not a statement of account")
    if act == "exit":
        raise SystemExit(3)
    if act == "leave":
        os._exit(0)
    if act == "segfault":
        ctypes.string_at(0)
    if act == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "hang":
        time.sleep(3600)
    if act == "once" and file.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"act": act}


def slow_effect(file: opskit.ClaimedFile) -> None:
    """Work for ACT_SECONDS with progress, then write the effect in the completion's own transaction."""
    slow(file)
    _effect(file, 0)


def effect_then_wait(file: opskit.ClaimedFile) -> None:
    """Write the effect, and stay in the completion's transaction for ACT_SECONDS."""
    _effect(file, float(os.environ["ACT_SECONDS"]))


def sleep_in_database(file: opskit.ClaimedFile) -> None:
    """Have the database work for ACT_SECONDS in the completion's transaction."""
    with file.completing() as tx:
        tx.execute("SELECT pg_sleep(%s)", (float(os.environ["ACT_SECONDS"]),))


def _effect(file: opskit.ClaimedFile, seconds: float) -> None:
    with file.completing() as tx:
        tx.execute(
            "INSERT INTO effects (file_id, token, server_id) VALUES (%s, %s, %s)", (file.id, file.token, file.server_id)
        )
        time.sleep(seconds)
        tx.execute("SELECT 1")


def wait_for(file: opskit.ClaimedFile) -> None:
    """Ask to be called again, at the first attempt, as the file's name says: with Retry, or as a busy server does."""
    if file.attempt > 1:
        return
    kind, _, seconds = (file.original_filename or "").partition("-")
    if kind == "retry":
        raise opskit.Retry("not yet", after_seconds=float(seconds))
    headers = email.message.Message()
    headers["Retry-After"] = seconds
    status = 429 if kind == "busy" else 500
    raise ValueError("no answer") from urllib.error.HTTPError("http://service/", status, kind, headers, None)


def lose_connection(file: opskit.ClaimedFile) -> None:
    """Fail as a connection does, or as a bad file does."""
    if file.original_filename == "bad":
        raise ValueError("cannot parse line 17")
    raise ConnectionResetError("the service has hung up")


def need_package(file: opskit.ClaimedFile) -> None:
    """Need a package that may not be installed."""
    importlib.import_module("nosuchpackage")
    _effect(file, 0)


def write_output(file: opskit.ClaimedFile) -> None:
    """Write to ACT_OUTPUT, one file for all: a disk that is full says so."""
    with open(os.environ["ACT_OUTPUT"], "a") as output:
        output.write(file.id + "\n")
    _effect(file, 0)


def by_world(file: opskit.ClaimedFile) -> dict[str, str]:
    """Fail as the file's name says; while the file ACT_BROKEN is there, as a share that we may not write to."""
    act = (file.original_filename or "").split("-")[0]
    if act == "value":
        raise ValueError(f"line {file.id} is bad")
    if act == "decode":
        raise UnicodeDecodeError("utf-8", b"M\xfcller", 1, 2, "invalid start byte")
    if act == "missing":
        Path(f"/etc/no-such-file-{file.id}").read_bytes()
    if os.path.exists(os.environ.get("ACT_BROKEN", "/nonexistent")):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), f"/mnt/share/{file.id}.out")
    return {"act": act}
