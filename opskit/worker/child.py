"""The child: claims files and runs the processor on them, under the boot that its supervisor registered.

It lives apart from its supervisor so that a processor that holds the GIL, crashes, hangs or eats all
memory costs its file, not the node. It is started as `python -m opskit.worker.child` with its settings in the
environment, and it dies with its supervisor.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from opskit.database import Database
from opskit.database.error_translation import is_locked
from opskit.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    NotClaimableError,
    OpskitError,
    ProcessorError,
    Reject,
    Retry,
)
from opskit.files.claimed import ClaimedFile, Processor
from opskit.files.processor import processor_of
from opskit.files.program import Program
from opskit.files.program_failure import Failure
from opskit.files.retry_after import asked_seconds
from opskit.queue import breaker, claims
from opskit.queue.claims import Answer
from opskit.queue.error_identity import headline
from opskit.queue.interruptions import by_outage, passing
from opskit.queue.server_id import Boot
from opskit.queue.stored import as_json
from opskit.settings import Settings
from opskit.support.logs import set_up_logging
from opskit.support.memory import limit_memory
from opskit.support.parent_death import end_with
from opskit.support.retry_rules import rule_for, rules
from opskit.worker.claiming import Claimer
from opskit.worker.context import WorkerContext
from opskit.worker.exit_codes import (
    EXIT_BROKEN,
    EXIT_DEPOSED,
    EXIT_DONE,
    EXIT_NOT_CLAIMABLE,
    EXIT_USELESS,
    EXIT_WORN,
)
from opskit.worker.forks import disarm, leave
from opskit.worker.listener import Listener
from opskit.worker.outcomes import Outcomes, about
from opskit.worker.output import hear_libraries, mark, speak_by_line, unread
from opskit.worker.patience import patiently
from opskit.worker.process_state import LOST_CONNECTION, ProcessState
from opskit.worker.status import SharedStatus

log = logging.getLogger("opskit")


class Child:
    """A claim loop over one connection."""

    def __init__(self, db: Database, shared_status: SharedStatus, node: Boot, processor: Processor) -> None:
        self.db = db
        self.shared_status = shared_status
        self.node = node
        self.stopping = False
        self._processor = processor
        self._storage_root = db.settings.storage_root
        self._retry_rules = rules(db.settings.retry)
        self._pid = os.getpid()
        self._state: ProcessState | None = None
        self.watched = False
        self.output: int | None = None
        self._reading = (0, 0)
        self.worn = False
        self._desk = WorkerContext(db, shared_status)
        self._wake = Listener(db)
        the_breaker = breaker.Breaker(db, node)
        self._claimer = Claimer(db, node, shared_status, self._wake, the_breaker, lambda: self.stopping)
        self._outcomes = Outcomes(db, node, shared_status, self._desk, the_breaker)

    # -- the loop ----------------------------------------------------------------------------

    def run(self, *, drain: bool = False, max_files: int | None = None) -> int:
        """Claim and process until told to stop; returns the process's exit code.

        Args:
            drain: End when the queue is empty.
            max_files: End after so many files.
        """
        worked = 0
        patiently(self.db, self._claimer.learn_lanes)
        answer = self._claimer.claim()
        while True:
            if answer.outcome == "claimed":
                worked += 1
                last = self.stopping or worked == max_files
                answer = self._work(answer, last=last)
                if last or self.worn or (self.stopping and answer.outcome != "claimed"):
                    return 0
                continue
            if answer.outcome == "deposed":
                log.warning("deposed: another boot of this server ID is registered")
                return EXIT_DEPOSED
            if self.stopping or (drain and answer.outcome == "empty" and answer.next_seconds is None):
                return 0
            if drain and answer.broken and (why := patiently(self.db, lambda: breaker.in_vain(self.db))):
                log.error("%s", why)
                return EXIT_BROKEN
            self._wake.wait(answer.next_seconds if answer.outcome == "empty" or answer.broken else None)
            if self.stopping:
                return 0
            answer = self._claimer.claim()

    def run_one(self, id: str) -> int:
        """Claim and process one given file."""
        self._work(claims.claim_one(self.db, self.node, id), last=True)
        return 0

    # -- one file ----------------------------------------------------------------------------

    def _work(self, answer: Answer, *, last: bool) -> Answer:
        """Process a claimed file, end its claim, and claim the next unless this was the last."""
        assert answer.row is not None
        file = self._file(answer)
        self._begin(file)
        try:
            try:
                result = self._processor(file)
            finally:
                if os.getpid() != self._pid:
                    leave(1 if sys.exc_info()[0] else 0)
                self._close_log(file)
                last = self._is_worn(file) or last
            if result is not None:
                as_json(result)
            self._desk.end()
        except Reject as error:
            self._outcomes.fail(file, "rejected", error)
        except Retry as error:
            self._outcomes.defer(file, error)
        except Failure as error:
            self._outcomes.fail(file, error.outcome, error)
        except BaseException as error:
            # SystemExit too: a processor that calls sys.exit() ends its attempt, not the node.
            if by_outage(self.db, error):
                self._outcomes.interrupt(file, error)
            elif (seconds := asked_seconds(error)) is not None:
                self._outcomes.defer(file, Retry(headline(error), after_seconds=seconds))
            else:
                rule = rule_for(error, self._retry_rules)
                self._outcomes.fail(file, "raised", error, rule=rule)
        else:
            return self._complete(file, result, last=last)
        return Answer("empty", "") if last else self._claimer.claim()

    def _close_log(self, file: ClaimedFile) -> None:
        """Mark where the output of an attempt ends, unless its supervisor has read it all by now."""
        if self.output is None:
            return
        with contextlib.suppress(AttributeError, OSError, ValueError):  # replaced, or closed
            sys.stdout.flush()
            sys.stderr.flush()
        if unread(self.output) or self.shared_status.reading != self._reading:
            with contextlib.suppress(OSError):
                os.write(self.output, mark(self.shared_status.secret, file.id, file.attempt, file.token))

    def _is_worn(self, file: ClaimedFile) -> bool:
        """Whether the processor has left something behind: then this process claims nothing more, and is replaced."""
        if self._state is None:
            return False
        try:
            left = self._state.changed()
        except Exception as error:
            left = f"a process that cannot be looked at ({type(error).__name__}: {error})"
        if left:
            self.worn = True
            if left == LOST_CONNECTION:
                self.db.disown()
            log.warning(
                "file %s (%s) left behind: %s; its process is replaced", file.id, file.name, left, extra=about(file)
            )
        return self.worn

    def _begin(self, file: ClaimedFile) -> None:
        if self.watched and self._state is None:
            self._state = ProcessState(lambda: self.db.own)
        self._claimer.begun = file.token
        self._desk.begin(file.token)
        self._reading = (self.shared_status.reading[0], 0)
        self.shared_status.begin(file.token, file.id, file.attempt)

    def _complete(self, file: ClaimedFile, result: Mapping[str, Any] | None, *, last: bool) -> Answer:
        if self._desk.has_completed(file.token):
            if result is not None:
                self._outcomes.store(file, result)
            self.shared_status.end()
            return Answer("empty", "") if last else self._claimer.claim()
        rotate = self._claimer.is_epoch_over
        if not last and not rotate and not self.stopping:
            token = claims.new_token()
            try:
                answer = self._claimer.complete_and_claim(file, result, token)
            except (DatabaseUnavailableError, DatabaseError) as error:
                self._outcomes.complete(file, result)
                if not passing(error) or is_locked(error):
                    return self._claimer.claim()
                return self._claimer.recover(token, error)
            if answer is not None:
                self.shared_status.end(completed=1)
                return self._claimer.answered(answer)
        self._outcomes.complete(file, result)
        if last or self.stopping:
            return Answer("empty", "")
        if rotate:
            patiently(self.db, self._claimer.rotate)
        return self._claimer.claim()

    def _file(self, answer: Answer) -> ClaimedFile:
        row = answer.row or {}
        return ClaimedFile(
            id=row["id"],
            # A name that is no UTF-8 (SQL_ASCII knows no encoding) is for people; the path has to lead to the file.
            original_filename=_shown(row["original_filename"]),
            storage_path=row["storage_path"],
            file_size=row["file_size"],
            attempt=row["attempt"],
            failures=row["failures"],
            server_id=self.node.server_id,
            token=answer.token,
            storage_root=self._storage_root,
            storage_only=self.db.settings.storage_only,
            table_prefix=self.db.settings.prefix,
            files_table=self.db.settings.table,
            text_encoding=self.db.settings.text_encoding,
            lane=answer.lane,
            desk=self._desk,
        )

    # -- signals -----------------------------------------------------------------------------

    def obey_signals(self) -> None:
        """SIGTERM: finish the file in hand, then end. SIGINT and SIGHUP are the supervisor's business.

        A Ctrl-C during a commit that waits for a standby would end the wait and look like success. A handler that does
        nothing is, unlike SIG_IGN, not inherited by the programs that a processor starts.
        """
        signal.set_wakeup_fd(self._wake.signal_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, _nothing)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, _nothing)
        signal.signal(signal.SIGTERM, self._stop)
        disarm(self.db.disarm, self.shared_status.disarm)

    def _stop(self, *_: object) -> None:
        self.stopping = True


def _own_stderr(fd: int) -> TextIO:
    """The stream of the node's log, which a processor that closes stderr cannot close."""
    try:
        return open(os.dup(fd), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return sys.stderr


def _take_along(program: Program) -> None:
    """When our supervisor dies, the program that runs dies with us."""

    def die(*_: object) -> None:
        program.abandon()
        os._exit(1)

    signal.signal(signal.SIGUSR2, die)


def _nothing(*_: object) -> None:
    """Ignore a signal that its supervisor handles."""


def _shown(name: str | None) -> str | None:
    if name is None or name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def main() -> int:
    """`python -m opskit.worker.child`, as a supervisor starts it."""
    parser = argparse.ArgumentParser(prog="opskit.worker.child", description="Started by opskit.worker, not by hand.")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--shared-status", type=int, required=True)
    parser.add_argument("--boot", required=True)
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--server-id", required=True)
    parser.add_argument("--drain", action="store_true")
    parser.add_argument("--max-files", type=int)
    parser.add_argument("--only")
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--log-fd", type=int, default=2)
    given = parser.parse_args()
    settings = Settings.load()
    # Whose program runs has to take it along; whose processor runs in this process cannot be asked.
    end_with(given.parent, signal.SIGUSR2 if settings.exec else signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_up_logging(given.server_id, settings.env, stream=_own_stderr(given.log_fd), format=settings.log_format)
    speak_by_line()
    if given.log_fd != 2:
        # A program that leaves something running would keep whoever reads the node's log waiting for its end.
        os.set_inheritable(given.log_fd, False)
    shared_status = SharedStatus(given.shared_status)
    limit_memory(settings.memory_limit)
    try:
        processor = processor_of(settings, given.workspace, shared_status.program)
        if isinstance(processor, Program):
            _take_along(processor)
        hear_libraries()
        # The boot first: what PostgreSQL cuts off is the end.
        name = f"{given.boot[:8]} {given.server_id}"
        with Database(settings, pooled=False, node=True, name=name) as db:
            child = Child(db, shared_status, Boot(given.server_id, given.boot, given.epoch), processor)
            child.obey_signals()
            child.watched = True
            child.output = 2 if given.log_fd != 2 else None
            if given.only is not None:
                code = child.run_one(given.only)
            else:
                code = child.run(drain=given.drain, max_files=given.max_files)
            # 0 is what a library says that ends the process: not taken for an end of ours.
            code = code or (EXIT_WORN if child.worn and given.only is None else EXIT_DONE)
            if child.worn:
                # Python would wait for the threads that are left.
                db.close()
                leave(code)
            return code
    except ProcessorError as error:
        log.error("%s", error)
        return EXIT_USELESS
    except NotClaimableError as error:
        log.error("%s", error)
        return EXIT_NOT_CLAIMABLE
    except OpskitError as error:
        log.error("%s", error)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
