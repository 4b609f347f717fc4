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
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO, TypeVar

from opskit.database import Database
from opskit.database.session import Row
from opskit.database.translation import is_locked
from opskit.errors import (
    ClaimLostError,
    CompletionError,
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
from opskit.queue import breaker, claims, completing, lanes, nodes
from opskit.queue.claims import ALL_OF_THE_QUEUE, Answer
from opskit.queue.deferring import defer
from opskit.queue.error_identity import Identity, headline, last_line, of_exception, of_failure
from opskit.queue.error_text import told
from opskit.queue.identity import Boot
from opskit.queue.interruptions import by_outage, interrupt, passing
from opskit.queue.stored import as_json
from opskit.settings import Settings
from opskit.support.logs import set_up_logging
from opskit.support.processes import end_with, limit_memory
from opskit.support.retry import Backoff
from opskit.support.retry_rules import Rule, rule_for, rules
from opskit.worker import quarantine
from opskit.worker.context import WorkerContext
from opskit.worker.forks import disarm, leave
from opskit.worker.listener import Listener
from opskit.worker.output import hear_libraries, mark, speak_by_line, unread
from opskit.worker.process_state import LOST_CONNECTION, ProcessState
from opskit.worker.status import SharedStatus

log = logging.getLogger("opskit")
T = TypeVar("T")
EXIT_WORN = 73
EXIT_DONE = 74
EXIT_DEPOSED = 75
EXIT_USELESS = 78
EXIT_NOT_CLAIMABLE = 79
EXIT_BROKEN = 80
# A constant key in the index of one file per node decays under a pinned xmin: 1379 to 263 files/s after 10,000.
# Each dead claim of the epoch costs a page then (82 to 480 within 500 claims); each new epoch costs two statements.
CLAIMS_PER_EPOCH = 200
# Rows whose transaction committed late, or that were requeued at an old place, lie before the cursor.
FULL_LOOK_SECONDS = 5.0
# How often a child that works without a pause asks whether files of other lanes have come: it costs as much as a turn.
HEAR_SECONDS = 0.02
# How often a child asks whether lanes were switched on or off.
COLUMN_SECONDS = 60.0


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
        self._cursor = ALL_OF_THE_QUEUE
        self._full_look_at = 0.0
        self._claimed = 0
        self._refused = 0
        self._begun = ""
        self._pid = os.getpid()
        self._state: ProcessState | None = None
        self.watched = False
        self.output: int | None = None
        self._reading = (0, 0)
        self.worn = False
        self._desk = WorkerContext(db, shared_status)
        self._wake = Listener(db)
        self._rest = quarantine.Rest(db, node, shared_status)
        self._breaker = breaker.Breaker(db, node)
        self._route = lanes.Route.of(db.settings)
        self._lanes: lanes.Lanes | None = None
        self._column: lanes.Column | None = None
        self._column_at = self._hear_at = 0.0

    # -- the loop ----------------------------------------------------------------------------

    def run(self, *, drain: bool = False, max_files: int | None = None) -> int:
        """Claim and process until told to stop; answers the process's exit code.

        Args:
            drain: End when the queue is empty.
            max_files: End after so many files.
        """
        worked = 0
        self._patiently(self._learn_lanes)
        answer = self._claim()
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
            if drain and answer.broken and (why := self._patiently(lambda: breaker.in_vain(self.db))):
                log.error("%s", why)
                return EXIT_BROKEN
            self._wake.wait(answer.next_seconds if answer.outcome == "empty" or answer.broken else None)
            if self.stopping:
                return 0
            answer = self._claim()

    def run_one(self, id: str) -> int:
        """Claim and process one given file."""
        self._work(claims.claim_one(self.db, self.node, id), last=True)
        return 0

    def _claim(self) -> Answer:
        """Claim, rested; when the cursor finds nothing, look at the whole queue."""
        self._rest.take(self._wake.pause, lambda: self.stopping)
        if self.stopping:
            return Answer("empty", "")
        token = claims.new_token()
        try:
            if time.monotonic() >= self._column_at:
                self._learn_lanes()
            answer = self._ask(token) if self._lanes is None else self._ask_in_turn(self._lanes, token)
        except (DatabaseUnavailableError, DatabaseError) as error:
            if not passing(error):
                raise
            return self._took(self._recover(token, error))
        return self._took(self._answered(answer))

    def _ask(self, token: str) -> Answer:
        answer = claims.claim(self.db, self.node, after=self._after(), token=token)
        if answer.outcome == "empty" and self._cursor != ALL_OF_THE_QUEUE:
            self._cursor = ALL_OF_THE_QUEUE
            answer = claims.claim(self.db, self.node, token=token)
        return answer

    def _ask_in_turn(self, mine: lanes.Lanes, token: str) -> Answer:
        """Claim from the lanes in turn, until one has a file or a look finds none that has."""
        begun = time.monotonic()
        if self._wake.heard():
            mine.notified()
        while True:
            turn = mine.next()
            answer = claims.claim(self.db, self.node, token=token, turn=turn)
            if answer.outcome != "empty":
                return answer
            mine.had_none(turn)
            if turn.lanes:
                continue
            if mine.looked_at >= begun:
                return replace(answer, next_seconds=mine.next_seconds)
            mine.look()

    def _learn_lanes(self) -> None:
        """Whether the application's table has lanes: asked at the start and once a minute."""
        self._column_at = time.monotonic() + COLUMN_SECONDS
        column = lanes.demand_column(self.db, self._route)
        if column != self._column:
            self._lanes = None if column is None else lanes.Lanes(self.db, self._route)
            log.info("lanes are off" if column is None else f"lanes: {column.lane}")
        self._column = column

    def _after(self) -> str:
        if time.monotonic() >= self._full_look_at:
            self._full_look_at = time.monotonic() + FULL_LOOK_SECONDS
            self._cursor = ALL_OF_THE_QUEUE
        return self._cursor

    def _took(self, answer: Answer) -> Answer:
        self._breaker.heard(answer)
        if answer.outcome == "claimed":
            self._cursor = answer.cursor
            if self._lanes is not None:
                self._lanes.took(answer.lane, answer.cursor)
            self._claimed += 1
            self._wake.found()
            if answer.probe:
                quarantine.probed(self.db, self.node)
        elif answer.outcome == "paused":
            self.shared_status.forgive()
        return answer

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
            self._fail(file, "rejected", told(error), self._identity(error, file))
        except Retry as error:
            self._defer(file, error)
        except Failure as error:
            self._fail(file, error.outcome, told(error), self._identity(error, file))
        except BaseException as error:
            # SystemExit too: a processor that calls sys.exit() ends its attempt, not the node.
            if by_outage(self.db, error):
                self._interrupted(file, error)
            elif (seconds := asked_seconds(error)) is not None:
                self._defer(file, Retry(headline(error), after_seconds=seconds))
            else:
                rule = rule_for(error, self._retry_rules)
                self._fail(file, "raised", told(error), self._identity(error, file), rule)
        else:
            return self._complete(file, result, last=last)
        return Answer("empty", "") if last else self._claim()

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
        self._begun = file.token
        self._desk.begin(file.token)
        self._reading = (self.shared_status.reading[0], 0)
        self.shared_status.begin(file.token, file.id, file.attempt)

    def _complete(self, file: ClaimedFile, result: Mapping[str, Any] | None, *, last: bool) -> Answer:
        if self._desk.has_completed(file.token):
            if result is not None:
                self._store(file, result)
            self.shared_status.end()
            return Answer("empty", "") if last else self._claim()
        rotate = self._claimed >= CLAIMS_PER_EPOCH
        if not last and not rotate and not self.stopping:
            token = claims.new_token()
            try:
                answer = claims.complete_and_claim(
                    self.db,
                    self.node,
                    id=file.id,
                    done_token=file.token,
                    result=result,
                    after=self._after(),
                    token=token,
                    turn=self._turn(),
                )
            except (DatabaseUnavailableError, DatabaseError) as error:
                self._completed(file, result)
                if not passing(error) or is_locked(error):
                    return self._claim()
                return self._took(self._recover(token, error))
            if answer is not None:
                self.shared_status.end(completed=1)
                return self._took(self._answered(answer))
            self._cursor = ALL_OF_THE_QUEUE
        self._completed(file, result)
        if last or self.stopping:
            return Answer("empty", "")
        if rotate:
            self._patiently(self._rotate)
        return self._claim()

    def _turn(self) -> lanes.Turn | None:
        """The lanes that the next claim asks; None where lanes are off."""
        if self._lanes is None:
            return None
        if time.monotonic() >= self._hear_at:
            self._hear_at = time.monotonic() + HEAR_SECONDS
            if self._wake.heard():
                self._lanes.notified()
        return self._lanes.next()

    def _completed(self, file: ClaimedFile, result: Mapping[str, Any] | None) -> None:
        """Complete a file by itself, with patience; a lost claim is told in the log."""
        try:
            # What passes (a full disk, a standby for a while, a lock) does not cost the work that is done.
            self._patiently(
                lambda: claims.complete(
                    self.db,
                    id=file.id,
                    token=file.token,
                    result=result,
                    patience_seconds=self.db.settings.lease_seconds * 2,
                )
            )
            self.shared_status.end(completed=1)
        except ClaimLostError as error:
            self.shared_status.end()
            log.warning("file %s (%s): %s", file.id, file.name, error, extra=about(file))
        except DatabaseError as error:
            # What the database refuses (a result it cannot store, say) is the attempt's failure.
            self._fail(file, "raised", str(error), self._identity(error, file))

    def _store(self, file: ClaimedFile, result: Mapping[str, Any]) -> None:
        """Store what the processor of a file that is completed has returned."""
        try:
            stored = self._patiently(lambda: claims.store_result(self.db, id=file.id, token=file.token, result=result))
            why = "" if stored else "its row has moved on"
        except DatabaseError as error:
            why = str(error)
        if why:
            log.warning(
                "file %s (%s) is completed, but its result is not stored: %s",
                file.id,
                file.name,
                why,
                extra=about(file),
            )

    def _identity(self, error: BaseException, file: ClaimedFile) -> Identity:
        known = (file.id, file.original_filename, file.storage_path)
        if isinstance(error, Failure):
            return of_failure(error, known=known)
        identity = of_exception(error, home=self.db.settings.processor.partition(":")[0], known=known)
        return breaker.judged(identity, error)

    def _fail(self, file: ClaimedFile, outcome: str, error: str, identity: Identity, rule: Rule | None = None) -> None:
        """End an attempt that went wrong, unless the file is completed, or its claim is lost."""
        if self._is_completed(file, error):
            return
        settings = self.db.settings
        answer = self._patiently(
            lambda: claims.fail(
                self.db,
                id=file.id,
                token=file.token,
                outcome=outcome,
                error=error,
                max_failures=rule.times if rule else settings.max_failures,
                retry_seconds=settings.retry_seconds,
                wait_seconds=rule.wait_seconds if rule else None,
                actor=self.node.server_id,
                identity=identity,
            )
        )
        if answer == "lost":
            self._lost(file, error)
            return
        self.shared_status.end(
            failed=int(answer == "failed"), retried=int(answer == "queued"), bad=outcome != "rejected"
        )
        line = last_line(error) or outcome
        log.warning(
            "file %s (%s) attempt %d: %s; now %s", file.id, file.name, file.attempt, line, answer, extra=about(file)
        )
        if identity.kind == "world":
            self._breaker.failed(breaker.Failure(file.id, file.attempt, identity))

    def _defer(self, file: ClaimedFile, retry: Retry) -> None:
        """The processor wants to be called again later."""
        if self._is_completed(file, str(retry)):
            return
        answer = self._patiently(lambda: defer(self.db, retry, id=file.id, token=file.token, actor=self.node.server_id))
        if answer == "lost":
            self._lost(file, str(retry))
            return
        self.shared_status.end(failed=int(answer == "failed"), retried=int(answer == "queued"))
        when = f", due in {retry.after_seconds:g} s" if answer == "queued" else ""
        log.info(
            "file %s (%s) attempt %d deferred: %s; now %s%s", file.id, file.name, file.attempt,
            last_line(str(retry)), answer, when, extra=about(file),
        )  # fmt: skip

    def _interrupted(self, file: ClaimedFile, error: BaseException) -> None:
        """The database went away while the processor wrote to it: the file is given back when it is there again."""
        if self._is_completed(file, str(error)):
            return
        reason = f"the database went away: {type(error).__name__}: {error}"
        answer = self._patiently(
            lambda: interrupt(self.db, id=file.id, token=file.token, reason=reason, actor=self.node.server_id)
        )
        if answer == "lost":
            self._lost(file, reason)
            return
        self.shared_status.end(failed=int(answer == "failed"))
        log.warning(
            "file %s (%s) attempt %d: %s; now %s", file.id, file.name, file.attempt, reason, answer, extra=about(file)
        )

    def _is_completed(self, file: ClaimedFile, error: str) -> bool:
        """Whether the processor has completed its file before it raised; what it has left open is rolled back."""
        with contextlib.suppress(CompletionError, DatabaseUnavailableError):
            self._desk.end()
        completed = self._desk.has_completed(file.token)
        if completed:
            self._ended_already(file, error, completed=True)
        return completed

    def _lost(self, file: ClaimedFile, error: str) -> None:
        """There was nothing to fail: the file is completed, by a COMMIT of the processor's own, or it is not ours."""
        completed = self._patiently(lambda: completing.completed_by(self.db, id=file.id, token=file.token))
        if completed:
            self.shared_status.settled()
        self._ended_already(file, error, completed=completed)

    def _ended_already(self, file: ClaimedFile, error: str, *, completed: bool) -> None:
        self.shared_status.end()
        became = "is completed" if completed else "is not ours any more"
        log.warning(
            "file %s (%s) attempt %d %s: %s",
            file.id,
            file.name,
            file.attempt,
            became,
            last_line(error),
            extra=about(file),
        )

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

    # -- when the database is away -----------------------------------------------------------

    def _recover(self, token: str, error: Exception) -> Answer:
        """A claim got no answer: perhaps it stands. Find out before anything else is claimed.

        Raising the epoch waits for a claim in flight and deposes one that is still on its way; what is held
        after that is all that will ever be. Looking first and asking again could leave a late claim behind.
        """
        self._refused += 1
        if self._refused == 1:
            log.warning("no answer to a claim (%s); looking it up", error)
        self.db.drop_connection()
        answer = self._patiently(lambda: self._look_up(token))
        if self._refused > 1 and answer.outcome == "empty":
            # A database that answers and yet refuses every claim (a full disk, say) is asked ever more rarely.
            pause = min(0.05 * 2 ** min(self._refused, 10), 5.0)
            self._wake.pause(pause * random.uniform(0.5, 1.0))
        return answer

    def _answered(self, answer: Answer) -> Answer:
        """A claim was answered: say so if several before it were not."""
        if self._refused > 1:
            log.info("claims are answered again")
        self._refused = 0
        return answer

    def _look_up(self, token: str) -> Answer:
        if not self._rotate():
            return Answer("deposed", token)
        mine = None
        # A later epoch is another boot's, which has taken our ID this moment.
        for row in claims.held(self.db, self.node.server_id):
            if str(row["token"]) == token:
                mine = row
            elif row["epoch"] < self.node.epoch:
                self._give_up(row)
        return Answer("claimed", token, mine) if mine else Answer("empty", token, None, 0.0)

    def _give_up(self, row: Row) -> None:
        """A claim under this server ID that nobody works on: it must not stand beside the next.

        An attempt that began ends counted, whatever has become of its end: a file must not come back for ever.
        """
        held = {"id": row["id"], "token": str(row["token"]), "actor": self.node.server_id}
        if held["token"] != self._begun:
            claims.release(self.db, reason="left behind by a claim whose answer was lost", **held)
            return
        settings = self.db.settings
        answer = claims.fail(
            self.db,
            outcome="crashed",
            error="the attempt began, and its end was not written down",
            max_failures=settings.max_failures,
            retry_seconds=settings.retry_seconds,
            **held,
        )
        self.shared_status.end(failed=int(answer == "failed"), retried=int(answer == "queued"), bad=True)

    def _rotate(self) -> bool:
        epoch = nodes.advance(self.db, self.node)
        if epoch is not None:
            self.node.epoch = epoch
            self._claimed = 0
        return epoch is not None

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do it again until the database answers. The supervisor ends us when the lease is gone."""
        backoff, away = Backoff(0.05, 5.0), False
        while True:
            try:
                done = action()
            except (DatabaseUnavailableError, DatabaseError) as error:
                if not passing(error):
                    raise
                if not away:
                    log.warning("%s; trying again", error)
                away = True
                self.db.drop_connection()
                backoff.wait(jitter=True)
            else:
                if away:
                    log.info("the database answers again")
                return done

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
    """Where our log goes, whatever a processor does to its stderr."""
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


def about(file: ClaimedFile) -> dict[str, object]:
    """What a log in JSON has beside a message about a file."""
    return {"file": file.id, "attempt": file.attempt, "token": file.token, "lane": file.lane}


def _nothing(*_: object) -> None:
    """A signal that is somebody else's business."""


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
