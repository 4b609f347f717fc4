"""Processors that fork, and that leave something behind: `--processor leavings:name`, with tests on PYTHONPATH.

Those that leave something do so at a file called "leave…", and tell in their result how the process was otherwise.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import sys
from typing import Any

import opskit


def _square(number: int) -> int:
    return number * number


def pool(file: opskit.ClaimedFile) -> dict[str, Any]:
    """Work in a pool of two processes, started as the file's name says."""
    method = (file.original_filename or "").split("-")[0]
    with multiprocessing.get_context(method).Pool(2) as workers:
        return {"squares": workers.map(_square, range(5))}


def executor(file: opskit.ClaimedFile) -> dict[str, Any]:
    """The same with concurrent.futures."""
    method = (file.original_filename or "").split("-")[0]
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as workers:
        return {"squares": list(workers.map(_square, range(5)))}


def _signals(answers: Any) -> None:
    answers.put([signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] + [signal.set_wakeup_fd(-1)])


def signals_of_a_fork(file: opskit.ClaimedFile) -> dict[str, Any]:
    """How a forked process handles signals."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_signals, args=(answers,))
    process.start()
    found = answers.get()
    process.join()
    return {"signals": [int(one) for one in found]}


def fork_that_returns(file: opskit.ClaimedFile) -> dict[str, Any]:
    """A copy of the process comes back from here beside its original."""
    copy = os.fork()
    if copy:
        _, code = os.waitpid(copy, 0)
        return {"code": os.waitstatus_to_exitcode(code)}
    return {"copy": True}


def fork_that_raises(file: opskit.ClaimedFile) -> dict[str, Any]:
    """The same, with an error."""
    copy = os.fork()
    if copy:
        _, code = os.waitpid(copy, 0)
        return {"code": os.waitstatus_to_exitcode(code)}
    raise ValueError("the copy's own")


def fork_within_completing(file: opskit.ClaimedFile) -> None:
    """A copy leaves the block, too, and writes on a connection that is not its own."""
    with file.completing() as tx:
        tx.execute("INSERT INTO effects (file_id, token) VALUES (%s, %s)", (file.id, file.token))
        copy = os.fork()
        if copy:
            os.waitpid(copy, 0)
        else:
            tx.execute("INSERT INTO effects (file_id, token) VALUES ('copy', %s)", (file.token,))


def progress_of_a_fork(file: opskit.ClaimedFile) -> dict[str, Any]:
    """A forked process reports how far the file is."""
    copy = os.fork()
    if not copy:
        file.progress(done=3, total=4)
        os._exit(0)
    os.waitpid(copy, 0)
    letter = file.desk._mailbox.read()  # type: ignore[attr-defined]
    return {"done": letter.done, "total": letter.total}


def path(file: opskit.ClaimedFile) -> dict[str, Any]:
    """Where modules are looked for."""
    return {"path": sys.path, "here": os.getcwd()}
