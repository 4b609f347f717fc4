"""The supervisor: one node is this small program and a child that does the work.

The supervisor registers the node, beats, sends progress, watches the child's limits, reaps for all
nodes, and handles signals. It runs no code of the processor's, so that nothing the processor does can
keep it from beating; the child's death is seen at once and its claim ended with the true reason.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import signal
import time
import uuid
from socket import gethostname
from typing import Any

from opskit import queue
from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError, NotMigratedError
from opskit.files.workspace import Workspace, sweep_dead
from opskit.queue import claims, nodes
from opskit.queue.cancelling import end_cancelled
from opskit.queue.identity import Boot, server_id
from opskit.queue.interruptions import interrupt, passing
from opskit.settings import Settings
from opskit.support.processes import peak_bytes
from opskit.support.retry import Backoff
from opskit.worker import quarantine
from opskit.worker.cancellations import LISTEN_AFTER_SECONDS, Cancellations
from opskit.worker.child import EXIT_BROKEN, EXIT_DEPOSED, EXIT_DONE, EXIT_NOT_CLAIMABLE, EXIT_USELESS, EXIT_WORN
from opskit.worker.child_process import ChildProcess, Ending, cause_of_death
from opskit.worker.log_keeper import LogKeeper
from opskit.worker.status import SharedStatus

log = logging.getLogger("opskit")
BEATS_PER_LEASE = 3
_SLOWEST_RESPAWN = 30.0
_PRUNE_SECONDS = 3600.0
_ABSENT = (DatabaseUnavailableError, DatabaseError)


class Supervisor:
    """One node: keeps a server ID's lease, and a child at work under it.

    Args:
        settings: What the node shall do.
        drain: End when the queue is empty.
        max_files: End after so many files.
        only: Process this one file, by hand.
    """

    def __init__(
        self, settings: Settings, *, drain: bool = False, max_files: int | None = None, only: str | None = None
    ) -> None:
        self.db = Database(settings, pooled=False)
        self.settings = self.db.settings
        self.server_id = server_id(settings)
        self.shared_status = SharedStatus()
        self._drain, self._max_files, self._only = drain, max_files, only
        self._boot: Boot | None = None
        self._watch: quarantine.Watch | None = None
        self._child: ChildProcess | None = None
        self._workspace: Workspace | None = None
        self._keeper: LogKeeper | None = None
        self._ending: Ending | None = None
        self._unsettled = False
        self._exit_code: int | None = None
        self._stop_signals = 0
        self._stop_asked_at: float | None = None
        self._stop_reason = "stopped"
        self._beat_every = self.settings.lease_seconds / BEATS_PER_LEASE
        self._next_beat = 0.0
        self._next_evict = 0.0
        self._earlier = False
        self._next_prune = time.monotonic() + random.uniform(0, _PRUNE_SECONDS)
        self._may_prune: bool | None = None
        self._cancellations = Cancellations(self.db)
        self._last_beat = time.monotonic()
        self._away = False
        self._said: dict[str, str] = {}
        self._lost_token = ""
        self._respawn_pause = 0.0
        self._respawn_at = 0.0
        self._child_started = 0.0
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    # -- the life of a node ------------------------------------------------------------------

    def run(self) -> int:
        """Live: register, work, stop when told or when there is nothing left to do; answers the exit code."""
        self._obey_signals()
        try:
            if self.settings.exec:
                self._workspace = Workspace()
                sweep_dead()
            self._keeper = LogKeeper(self.db, self.shared_status)
            while self._exit_code is None:
                if self._boot is None:
                    self._register()
                else:
                    self._tick()
        finally:
            if self._child is not None:
                self._kill_child(Ending("released", "released: the supervisor ended"))
                self._unsettled = True
            if self._keeper is not None:
                self._keeper.drain()
            self._leave()
            if self._keeper is not None:
                self._keeper.close()
            if self._workspace is not None:
                self._workspace.close()
        snapshot = self.shared_status.read()
        log.info(
            "%s: %d completed, %d failed, %d to be tried again",
            self._stop_reason, snapshot.completed, snapshot.failed, snapshot.retried,
        )  # fmt: skip
        return self._exit_code

    def summary(self) -> dict[str, Any]:
        """What this node has done, for programs."""
        snapshot = self.shared_status.read()
        return {
            "serverId": self.server_id,
            "environment": self.settings.env,
            "completed": snapshot.completed,
            "failed": snapshot.failed,
            "retried": snapshot.retried,
            "supervisorPeakBytes": peak_bytes(),
            "childPeakBytes": peak_bytes(children=True),
        }

    def _tick(self) -> None:
        """One turn: wait for something to happen, then look after the child, the lease and the limits."""
        self._wait(self._until_next())
        self._listen_for_cancel()
        self._look_after_child()
        if self._boot is not None and time.monotonic() >= self._next_beat:
            self._beat()
        if self._keeper is not None and not self._away:
            self._keeper.keep()
        self._check_limits()
        if self._stop_asked_at is not None:
            self._go_on_stopping()
        elif self._boot is not None and self._child is None and self._exit_code is None:
            self._start_child()

    def _until_next(self) -> float:
        now = time.monotonic()
        until = min(self._next_beat, now + 1.0)
        if self._child is None:
            until = min(until, max(self._respawn_at, now + 0.05))
        if self._stop_asked_at is not None:
            until = min(until, self._stop_asked_at + self.settings.drain_seconds, now + 0.2)
        snapshot = self.shared_status.read()
        if snapshot.started and self._cancellations.descriptor is None and not self.db.pooler and not self._away:
            until = min(until, max(snapshot.started + LISTEN_AFTER_SECONDS, now + 0.05))
        limit = self._limit_at(snapshot)
        if limit is not None:
            until = min(until, limit[0])
        return max(0.0, until - now)

    # -- registering -------------------------------------------------------------------------

    def _register(self) -> None:
        """Take the server ID: wait while it is alive elsewhere, then end what an earlier boot still holds."""
        boot, told, backoff = str(uuid.uuid4()), False, Backoff(0.1, 5.0)
        while self._stop_asked_at is None:
            try:
                with self.db.deadline(5.0):
                    self._boot = nodes.register(self.db, self.server_id, boot)
                    if self._boot is not None:
                        self._watch = quarantine.Watch(self.db, self._boot, self.shared_status.read().completed)
                        self._last_beat = time.monotonic()
                        self._next_beat = self._last_beat + self._beat_every
                        if self._away:
                            nodes.spare(self.db)
                        self._end_earlier_claims()
                        log.info("registered, epoch %d", self._boot.epoch)
                        self._answered()
                        return
                    holder = nodes.alive(self.db, self.server_id)
            except NotMigratedError:
                raise
            except _ABSENT as error:
                self._boot = None
                self._absent(error, "registration")
                self._wait(backoff.pause())
                continue
            self._answered()
            left = holder["lease_left_seconds"] if holder else 0.0
            if holder and not told:
                log.warning(
                    "server ID %s is alive on %s, process %s; waiting for its lease to end (%.0f s after a beat)",
                    self.server_id,
                    holder["host"],
                    holder["pid"],
                    self.settings.lease_seconds,
                )  # fmt: skip
                if self.settings.node_id is None and (holder["host"], holder["pid"]) == (gethostname(), os.getpid()):
                    log.warning(
                        "if that is no earlier run of this node, another machine or container has the same host name "
                        "and process ID, and only one of the two works: set NODE_ID on each, to names that differ"
                    )
                told = True
            self._wait(min(max(left, 0.05), self.settings.poll_seconds))
        self._exit_code = 0

    def _end_earlier_claims(self) -> None:
        """A claim of an earlier boot is an orphan, by the epoch: no second look is needed.

        One that its own open transaction has locked is passed over; until it is ended, too, nothing is claimed, or
        this server ID would hold two files.
        """
        assert self._boot is not None
        done = queue.cleanup(self.db, server_id=self.server_id, look_seconds=None, actor=self.server_id)
        for row in done.ended:
            log.warning("file %s of an earlier boot: %s; now %s", row["id"], row["reason"], row["outcome"])
        held = claims.held(self.db, self.server_id)
        self._earlier = any(row["epoch"] < self._boot.epoch for row in held)

    def _leave(self) -> None:
        """Deregister and let go of the database; a database that is away does not keep a node from stopping."""
        if self._keeper is not None and not self._away:
            self._keeper.keep(now=True)
        with contextlib.suppress(*_ABSENT), self.db.deadline(5.0):
            if self._boot is not None:
                if self._unsettled:
                    self._settle()
                nodes.deregister(self.db, self._boot, self._stop_reason)
        self.db.close()

    # -- the child ---------------------------------------------------------------------------

    def _start_child(self) -> None:
        if self._unsettled or self._earlier or time.monotonic() < self._respawn_at:
            return
        assert self._boot is not None
        left = None
        if self._max_files is not None:
            snapshot = self.shared_status.read()
            left = self._max_files - snapshot.completed - snapshot.failed - snapshot.retried
            if left <= 0:
                self._exit_code = 0
                return
        self._child = ChildProcess(
            self._boot, self.settings, self.shared_status, drain=self._drain, max_files=left, only=self._only,
            workspace=self._workspace, output=self._keeper.fd if self._keeper else None,
        )  # fmt: skip
        self._child_started = self._child.started

    def _look_after_child(self) -> None:
        """See whether the child has ended, and why."""
        if self._child is not None and (code := self._child.exit_code()) is not None:
            self._child = None
            if self._keeper is not None:
                self._keeper.drain()
            self._ended(code)
        if (self._unsettled or self._earlier) and self._boot is not None:
            try:
                with self.db.deadline(5.0):
                    if self._earlier:
                        self._end_earlier_claims()
                    if self._unsettled:
                        self._settle()
            except _ABSENT as error:
                self._absent(error, "end of what its child held")

    def _ended(self, code: int) -> None:
        if code == EXIT_DEPOSED:
            self._deposed()
            return
        if code == EXIT_DONE and self._ending is None and not self.shared_status.read().started:
            self._exit_code = 0
            self._stop_reason = "done" if self._stop_asked_at is None else self._stop_reason
            return
        if code == EXIT_WORN and self._ending is None and not self.shared_status.read().started:
            self._respawn_at = self._respawn_pause = 0.0
            return
        if code in (EXIT_USELESS, EXIT_NOT_CLAIMABLE, EXIT_BROKEN):
            self._exit_code = 1
            self._stop_reason = "the breaker is open" if code == EXIT_BROKEN else "the child could not begin"
            return
        if self._ending is None:
            self._ending = Ending("crashed", cause_of_death(code))
            log.error("the child ended: %s", self._ending.reason)
        self._unsettled = True
        # A child that lives for a while has earned an immediate successor.
        quick = time.monotonic() - self._child_started < 2.0 and not self.shared_status.read().token
        self._respawn_pause = min(max(0.5, self._respawn_pause * 2), _SLOWEST_RESPAWN) if quick else 0.0
        self._respawn_at = time.monotonic() + self._respawn_pause

    def _settle(self) -> None:
        """End what a dead child held, with the true reason.

        Raising the epoch first waits for a claim that its backend may still be making, and deposes one still
        on its way: nothing can land after we have looked.
        """
        assert self._boot is not None
        epoch = nodes.advance(self.db, self._boot)
        if epoch is None:
            self._unsettled = False
            self._deposed()
            return
        self._boot.epoch = epoch
        ending = self._ending or Ending("crashed", "the child ended")
        if ending.outcome == "cancelled":
            self.db.run("end_child", env=self.settings.env, boot=self._boot.boot)
        failed = retried = 0
        begun = self.shared_status.read().token
        for row in claims.held(self.db, self.server_id):
            if row["epoch"] >= epoch:
                continue  # another boot has taken our ID this moment: we are deposed, and shall be told
            held = {"id": row["id"], "token": str(row["token"]), "actor": self.server_id}
            if ending.outcome == "cancelled" and held["token"] == ending.token:
                answer = end_cancelled(self.db, **held)
            elif ending.outcome == "cancelled":
                # It was quicker: the child had this one in hand when it was killed.
                answer = claims.release(self.db, reason="released: its process was killed for a cancelled file", **held)
            elif ending.outcome == "released":
                answer = claims.release(self.db, reason=ending.reason, **held)
            elif ending.outcome == "interrupted" and held["token"] == begun:
                answer = interrupt(self.db, reason=ending.reason, **held)
                failed = int(answer == "failed")
            elif held["token"] != begun:
                # Its answer was lost, or came when the child was dying: no processor has seen the file.
                answer = claims.release(self.db, reason=f"claimed, not begun: {ending.reason}", **held)
            else:
                answer = claims.fail(
                    self.db, outcome=ending.outcome, error=ending.reason, max_failures=self.settings.max_failures,
                    retry_seconds=self.settings.retry_seconds, identity=ending.identity, **held,
                )  # fmt: skip
                failed, retried = int(answer == "failed"), int(answer == "queued")
            told = {"file": row["id"], "attempt": row.get("attempt"), "token": held["token"]}
            log.warning("file %s: %s; now %s", row["id"], ending.reason, answer, extra=told)
        if ending.outcome == "cancelled":
            failed = 1
        bad = ending.outcome == "crashed" and bool(failed or retried)
        self.shared_status = self.shared_status.successor(failed=failed, retried=retried, bad=bad)
        self._unsettled, self._ending = False, None
        if self._only is not None:
            self._exit_code = 1

    def _kill_child(self, ending: Ending | None = None) -> None:
        """Kill the child and what it started; its claim is settled after that."""
        if self._child is None:
            return
        if ending is not None:
            self._ending = ending
            log.warning("stopping the child: %s", ending.reason)
        self._child.kill()
        self._wake()

    # -- the lease ---------------------------------------------------------------------------

    def _beat(self) -> None:
        """Renew the lease, learn what we are told to do, and reap for all."""
        assert self._boot is not None
        before = self.shared_status.read()
        now = time.monotonic()
        self._next_beat = now + self._beat_every
        try:
            with self.db.deadline(max(0.5, min(5.0, self._beat_every))):
                answer = nodes.heartbeat(
                    self.db,
                    self._boot,
                    token=before.token,
                    done=before.done,
                    total=before.total,
                    progress_age_seconds=now - before.moved if before.token else None,
                )
                if answer is not None:
                    if now - self._last_beat > self.settings.lease_seconds:
                        nodes.spare(self.db)
                    self._last_beat = now
                    self._answered()
                    self._reap(others=answer.others)
                    if self._watch is not None:
                        self._watch.beat(answer.state, self.shared_status.read())
        except _ABSENT as error:
            self._next_beat = now + min(1.0, self._beat_every)
            self._absent(error, "heartbeat")
            self._mind_the_lease(
                "" if passing(error) else f"the database refused this node's heartbeats for a whole lease: {error}"
            )
            return
        if answer is None:
            self._deposed()
            return
        if before.token and answer.cancel_token == before.token == self.shared_status.read().token:
            self._kill_child(Ending("cancelled", "its file was cancelled", token=before.token))
        else:
            self._mind_the_claim(before.token, answer.holds)
        if answer.state == "draining" and self._stop_asked_at is None:
            self._ask_to_stop("drained by an operator")

    def _reap(self, *, others: bool) -> None:
        """End what nobody works on, and prune; a role that may not is told so, and its node works on."""
        try:
            self._clean_up(others=others)
            if time.monotonic() >= self._next_prune:
                self._next_prune = time.monotonic() + _PRUNE_SECONDS
                self._prune()
        except DatabaseError as error:
            if passing(error):
                raise
            self._absent(error, "cleanup")

    def _clean_up(self, *, others: bool) -> None:
        # Who is out with a transaction open is rare: once a lease is often enough to look for it.
        evict = time.monotonic() >= self._next_evict
        if evict:
            self._next_evict = time.monotonic() + self.settings.lease_seconds
        # Where nobody else holds anything there is nothing to end: an idle node asks 0.4 times a second, not 0.7.
        if evict or others:
            done = queue.cleanup(self.db, look_seconds=None, evict=evict, actor=self.server_id)
            for row in done.ended:
                log.warning("file %s of %s: %s; now %s", row["id"], row["server_id"], row["reason"], row["outcome"])

    def _prune(self) -> None:
        if self._may_prune is None:
            self._may_prune = nodes.may_prune(self.db)
            if not self._may_prune:
                log.info("this node's role may not delete: schedule opskit prune under one that may")
        if self._may_prune:
            queue.prune(self.db)

    def _mind_the_claim(self, token: str, holds: bool) -> None:
        """A child whose claim others have ended works for nothing. Two beats must agree: one may cross a completion."""
        if not token or holds or self.shared_status.read().token != token:
            self._lost_token = ""
        elif self._lost_token != token:
            self._lost_token = token
            self._next_beat = time.monotonic() + min(1.0, self._beat_every)
        else:
            self._lost_token = ""
            self._kill_child(Ending("crashed", "its claim was ended by others"))

    def _mind_the_lease(self, refused: str = "") -> None:
        """A supervisor that cannot beat for a whole lease stops its child: by now others may have its file.

        With `on_outage=continue` the child goes on: the fence refuses it if others have taken the file. Not where the
        database refuses this node alone: then others surely have.
        """
        if self._child is None or time.monotonic() - self._last_beat <= self.settings.lease_seconds:
            return
        if self.settings.on_outage == "stop" or refused:
            self._kill_child(
                Ending("interrupted", refused or "the node could not reach the database for a whole lease")
            )
        elif self._said.get("heartbeat") != "continue":
            self._said["heartbeat"] = "continue"
            log.warning("no heartbeat for a whole lease; the file in hand goes on, and the fence decides its end")

    def _deposed(self) -> None:
        """Another boot has our server ID, because our lease ran out: stop at once, and stand in line again."""
        log.warning("deposed: another boot of %s is registered; what the child did is refused", self.server_id)
        self._kill_child()
        self._child = None
        self.shared_status = self.shared_status.successor()
        self._boot, self._unsettled, self._ending = None, False, None
        self.db.drop_connection()

    def _absent(self, error: DatabaseError | DatabaseUnavailableError, what: str) -> None:
        """The database is away, or it answers and refuses; each is said once."""
        if not passing(error):
            if self._said.get(what) != str(error):
                self._said[what] = str(error)
                log.error("the database refuses this node's %s: %s", what, error)
            return
        if not self._away:
            log.warning("%s; going on as soon as it answers", error)
        self._away = True
        self.db.drop_connection()

    def _answered(self) -> None:
        if self._away:
            log.info("the database answers again")
        self._away = False
        self._said.pop("heartbeat", None)

    # -- cancelling --------------------------------------------------------------------------

    def _listen_for_cancel(self) -> None:
        """Listen while the file in hand is old enough; a notification that names its claim makes the heartbeat due.

        The heartbeat reads whether it is so: whoever may connect may notify.
        """
        if self._boot is None or self._away:
            return
        snapshot = self.shared_status.read()
        is_old = bool(snapshot.started) and time.monotonic() - snapshot.started >= LISTEN_AFTER_SECONDS
        listens = self._cancellations.descriptor is not None
        try:
            if is_old and not listens and not self.db.pooler:
                with self.db.deadline(5.0):
                    # What came before it listens gave no notification.
                    self._next_beat = 0.0 if self._cancellations.listen() else self._next_beat
            elif listens and not is_old and time.monotonic() >= self._next_beat:
                with self.db.deadline(5.0):
                    self._cancellations.unlisten()
        except _ABSENT as error:
            self._absent(error, "listening")
        if snapshot.token and self._cancellations.names(snapshot.token):
            self._next_beat = 0.0

    # -- limits ------------------------------------------------------------------------------

    def _limit_at(self, snapshot: Any) -> tuple[float, Ending] | None:
        """When the file in hand is over its limit [s, monotonic], and how its attempt ends then."""
        if not snapshot.started or self._child is None:
            return None
        stale = self.settings.stale_after_seconds
        limits = [
            (
                snapshot.moved + stale,
                Ending(
                    "timeout",
                    f"Processing timeout: no progress for {stale / 60:g} minutes on {self.server_id}",
                    "Processing timeout: no progress",
                ),
            )
        ]
        hard = self.settings.hard_limit_seconds
        if hard is not None:
            over = Ending("crashed", f"over its hard limit of {hard:g} s", "over its hard limit")
            limits.append((snapshot.started + hard, over))
        return min(limits, key=lambda limit: limit[0])

    def _check_limits(self) -> None:
        limit = self._limit_at(self.shared_status.read())
        if limit is not None and time.monotonic() >= limit[0]:
            self._kill_child(limit[1])

    # -- stopping ----------------------------------------------------------------------------

    def _go_on_stopping(self) -> None:
        """Let the child finish its file within the grace; then, or at a second signal, give the file back."""
        assert self._stop_asked_at is not None
        if self._child is None:
            if not self._unsettled or self._away:
                self._exit_code = 0 if self._exit_code is None else self._exit_code
            return
        over = time.monotonic() >= self._stop_asked_at + self.settings.drain_seconds
        if over or self._stop_signals > 1:
            why = "the grace to finish was over" if over else "told twice to stop"
            self._kill_child(Ending("released", f"released while stopping: {why}"))

    def _ask_to_stop(self, reason: str) -> None:
        if self._stop_asked_at is None:
            self._stop_asked_at, self._stop_reason = time.monotonic(), reason
            log.info("stopping: %s; the file in hand may take %g s more", reason, self.settings.drain_seconds)
            if self._child is not None:
                self._child.terminate()

    def _obey_signals(self) -> None:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_stop_signal)
        signal.signal(signal.SIGINT, self._on_stop_signal)
        # nohup has it ignored, and means it.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._on_stop_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _on_stop_signal(self, number: int, _: object) -> None:
        # A terminal that closes may send it twice, by its shell and by the kernel: nobody has asked twice.
        if number != signal.SIGHUP or self._stop_asked_at is None:
            self._stop_signals += 1
        self._ask_to_stop(f"told by {signal.Signals(number).name}")

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    def _wait(self, seconds: float) -> None:
        heard = self._cancellations.descriptor
        ready, _, _ = select.select([self._wake_read, *([] if heard is None else [heard])], [], [], seconds)
        if heard in ready:
            self._cancellations.hear()
        if self._wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
