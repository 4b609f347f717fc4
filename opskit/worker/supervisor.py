"""The supervisor: one node is this small program and a child that does the work.

The supervisor registers the node, beats, sends progress, watches the child's limits, reaps for all
nodes, and handles signals. It runs no code of the processor's, so that nothing the processor does can
keep it from beating; the child's death is seen at once and its claim ended with the true reason.
"""

from __future__ import annotations

import contextlib
import logging
import time

from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError, NotMigratedError
from opskit.files.workspace import Workspace, sweep_dead
from opskit.queue import nodes
from opskit.queue.interruptions import passing
from opskit.queue.server_id import Boot, server_id
from opskit.settings import Settings
from opskit.support.retry import Backoff
from opskit.worker import node_memory, quarantine
from opskit.worker.cancellations import LISTEN_AFTER_SECONDS, Cancellations
from opskit.worker.child_process import ChildProcess, Ending, cause_of_death
from opskit.worker.exit_codes import EXIT_BROKEN, EXIT_DEPOSED, EXIT_DONE, EXIT_NOT_CLAIMABLE, EXIT_USELESS, EXIT_WORN
from opskit.worker.housekeeping import Housekeeping
from opskit.worker.log_keeper import LogKeeper
from opskit.worker.reachability import Reachability
from opskit.worker.registration import Registration, end_earlier_claims
from opskit.worker.settling import settle
from opskit.worker.status import SharedStatus, Snapshot
from opskit.worker.stopping import Stop
from opskit.worker.time_limits import next_limit

log = logging.getLogger("opskit")
BEATS_PER_LEASE = 3
_SLOWEST_RESPAWN = 30.0
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
        self._stop = Stop(self.settings.drain_seconds, self._terminate_child)
        self._beat_every = self.settings.lease_seconds / BEATS_PER_LEASE
        self._next_beat = 0.0
        self._earlier = False
        self._housekeeping = Housekeeping(self.db, self.server_id)
        self._cancellations = Cancellations(self.db)
        self._last_beat = time.monotonic()
        self._reachability = Reachability(self.db)
        self._lost_token = ""
        self._respawn_pause = 0.0
        self._respawn_at = 0.0
        self._child_started = 0.0

    # -- the life of a node ------------------------------------------------------------------

    def run(self) -> int:
        """Register, work, and stop on demand or when nothing is left to do; returns the exit code."""
        self._stop.obey_signals()
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
            self._stop.reason, snapshot.completed, snapshot.failed, snapshot.retried,
        )  # fmt: skip
        return self._exit_code

    def _tick(self) -> None:
        """One turn: wait for something to happen, then look after the child, the lease and the limits."""
        self._wait(self._until_next())
        self._listen_for_cancel()
        self._look_after_child()
        if self._boot is not None and time.monotonic() >= self._next_beat:
            self._beat()
        if self._keeper is not None and not self._reachability.away:
            self._keeper.keep()
        self._check_limits()
        if self._stop.asked_at is not None:
            self._go_on_stopping()
        elif self._boot is not None and self._child is None and self._exit_code is None:
            self._start_child()

    def _until_next(self) -> float:
        now = time.monotonic()
        until = min(self._next_beat, now + 1.0)
        if self._child is None:
            until = min(until, max(self._respawn_at, now + 0.05))
        if self._stop.deadline is not None:
            until = min(until, self._stop.deadline, now + 0.2)
        snapshot = self.shared_status.read()
        if snapshot.started and self._cancellations.may_listen and not self._reachability.away:
            until = min(until, max(snapshot.started + LISTEN_AFTER_SECONDS, now + 0.05))
        limit = self._limit_at(snapshot)
        if limit is not None:
            until = min(until, limit[0])
        return max(0.0, until - now)

    # -- registering -------------------------------------------------------------------------

    def _register(self) -> None:
        """Take the server ID: wait while it is alive elsewhere, then end what an earlier boot still holds."""
        registration, backoff = Registration(self.db, self.server_id), Backoff(0.1, 5.0)
        while self._stop.asked_at is None:
            try:
                with self.db.deadline(5.0):
                    self._boot = registration.take()
                    if self._boot is not None:
                        self._watch = quarantine.Watch(self.db, self._boot, self.shared_status.read().completed)
                        self._last_beat = time.monotonic()
                        self._next_beat = self._last_beat + self._beat_every
                        if self._reachability.away:
                            nodes.spare(self.db)
                        self._earlier = end_earlier_claims(self.db, self._boot)
                        log.info("registered, epoch %d", self._boot.epoch)
                        self._reachability.answered()
                        return
                    left = registration.seconds_to_wait()
            except NotMigratedError:
                raise
            except _ABSENT as error:
                self._boot = None
                self._reachability.missed(error, "registration")
                self._wait(backoff.pause())
                continue
            self._reachability.answered()
            self._wait(min(max(left, 0.05), self.settings.poll_seconds))
        self._exit_code = 0

    def _leave(self) -> None:
        """Deregister and let go of the database; a database that is away does not keep a node from stopping."""
        if self._keeper is not None and not self._reachability.away:
            self._keeper.keep(now=True)
        with contextlib.suppress(*_ABSENT), self.db.deadline(5.0):
            if self._boot is not None:
                if self._unsettled:
                    self._settle()
                nodes.deregister(self.db, self._boot, self._stop.reason)
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
                        self._earlier = end_earlier_claims(self.db, self._boot)
                    if self._unsettled:
                        self._settle()
            except _ABSENT as error:
                self._reachability.missed(error, "end of what its child held")

    def _ended(self, code: int) -> None:
        if code == EXIT_DEPOSED:
            self._deposed()
            return
        if code == EXIT_DONE and self._ending is None and not self.shared_status.read().started:
            self._exit_code = 0
            self._stop.reason = "done" if self._stop.asked_at is None else self._stop.reason
            return
        if code == EXIT_WORN and self._ending is None and not self.shared_status.read().started:
            self._respawn_at = self._respawn_pause = 0.0
            return
        if code in (EXIT_USELESS, EXIT_NOT_CLAIMABLE, EXIT_BROKEN):
            self._exit_code = 1
            self._stop.reason = "the breaker is open" if code == EXIT_BROKEN else "the child could not begin"
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
        """End what a dead child held, with the true reason."""
        assert self._boot is not None
        ending = self._ending or Ending("crashed", "the child ended")
        settled = settle(self.db, self._boot, ending, begun=self.shared_status.read().token)
        self._unsettled = False
        if settled is None:
            self._deposed()
            return
        self.shared_status = self.shared_status.successor(
            failed=settled.failed, retried=settled.retried, bad=settled.bad
        )
        self._ending = None
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
        self._stop.wake()

    # -- the lease ---------------------------------------------------------------------------

    def _beat(self) -> None:
        """Renew the lease, read the node's state and its cancel request, and clean up for all nodes."""
        assert self._boot is not None
        before = self.shared_status.read()
        now = time.monotonic()
        self._next_beat = now + self._beat_every
        try:
            with self.db.deadline(max(0.5, min(5.0, self._beat_every))):
                answer = nodes.heartbeat(
                    self.db, self._boot, token=before.token, done=before.done, total=before.total,
                    memory_bytes=node_memory.in_use(),
                    progress_age_seconds=now - before.moved if before.token else None,
                )  # fmt: skip
                if answer is not None:
                    if now - self._last_beat > self.settings.lease_seconds:
                        nodes.spare(self.db)
                    self._last_beat = now
                    self._reachability.answered()
                    self._reap(others=answer.others)
                    if self._watch is not None:
                        self._watch.beat(answer.state, self.shared_status.read())
        except _ABSENT as error:
            self._next_beat = now + min(1.0, self._beat_every)
            self._reachability.missed(error, "heartbeat")
            self._mind_the_lease(
                "" if passing(error) else f"the database refused this node's heartbeats for a whole lease: {error}"
            )
            return
        if answer is None:
            self._deposed()
            return
        if before.token and answer.cancel_token == before.token == self.shared_status.read().token:
            self._kill_child(Ending("cancelled", "its file was cancelled", token=before.token))
        elif before.token and not answer.holds and before.token == self.shared_status.read().token:
            # Two beats must agree: one may cross a completion.
            if self._lost_token == before.token:
                self._lost_token = ""
                self._kill_child(Ending("crashed", "its claim was ended by others"))
            else:
                self._lost_token, self._next_beat = before.token, time.monotonic() + min(1.0, self._beat_every)
        else:
            self._lost_token = ""
        if answer.state == "draining" and self._stop.asked_at is None:
            self._stop.ask("drained by an operator")

    def _reap(self, *, others: bool) -> None:
        """End claims that nobody works on, and prune; logs what the node's role may not do, and goes on."""
        try:
            self._housekeeping.do(others=others)
        except DatabaseError as error:
            if passing(error):
                raise
            self._reachability.missed(error, "cleanup")

    def _mind_the_lease(self, refused: str = "") -> None:
        """A supervisor that cannot beat for a whole lease stops its child: by now others may have its file.

        With `on_outage=continue` the child goes on: the fence refuses it if others have taken the file. Not where the
        database refuses this node alone: then others surely have.
        """
        if self._child is None or time.monotonic() - self._last_beat <= self.settings.lease_seconds:
            return
        if self.settings.on_outage == "stop" or refused:
            reason = refused or "the node could not reach the database for a whole lease"
            self._kill_child(Ending("interrupted", reason))
        elif self._reachability.is_news("heartbeat", "continue"):
            log.warning("no heartbeat for a whole lease; the file in hand goes on, and the fence decides its end")

    def _deposed(self) -> None:
        """Another boot has our server ID, because our lease ran out: stop at once, and stand in line again."""
        log.warning("deposed: another boot of %s is registered; what the child did is refused", self.server_id)
        self._kill_child()
        self._child = None
        self.shared_status = self.shared_status.successor()
        self._boot, self._unsettled, self._ending = None, False, None
        self.db.drop_connection()

    # -- cancelling --------------------------------------------------------------------------

    def _listen_for_cancel(self) -> None:
        """Listen while the file in hand is old enough; a notification that names its claim makes the heartbeat due.

        The heartbeat reads whether it is so: whoever may connect may notify.
        """
        if self._boot is None or self._reachability.away:
            return
        snapshot = self.shared_status.read()
        is_old = bool(snapshot.started) and time.monotonic() - snapshot.started >= LISTEN_AFTER_SECONDS
        try:
            if self._cancellations.attend(is_old, may_end=time.monotonic() >= self._next_beat):
                # What came before it listens gave no notification.
                self._next_beat = 0.0
        except _ABSENT as error:
            self._reachability.missed(error, "listening")
        if snapshot.token and self._cancellations.names(snapshot.token):
            self._next_beat = 0.0

    # -- limits ------------------------------------------------------------------------------

    def _limit_at(self, snapshot: Snapshot) -> tuple[float, Ending] | None:
        return None if self._child is None else next_limit(self.settings, self.server_id, snapshot)

    def _check_limits(self) -> None:
        limit = self._limit_at(self.shared_status.read())
        if limit is not None and time.monotonic() >= limit[0]:
            self._kill_child(limit[1])

    # -- stopping ----------------------------------------------------------------------------

    def _go_on_stopping(self) -> None:
        """Let the child finish its file within the grace; then, or at a second signal, give the file back."""
        assert self._stop.deadline is not None
        if self._child is None:
            if not self._unsettled or self._reachability.away:
                self._exit_code = 0 if self._exit_code is None else self._exit_code
            return
        over = time.monotonic() >= self._stop.deadline
        if over or self._stop.signals > 1:
            why = "the grace to finish was over" if over else "told twice to stop"
            self._kill_child(Ending("released", f"released while stopping: {why}"))

    def _terminate_child(self) -> None:
        if self._child is not None:
            self._child.terminate()

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds, self._cancellations.descriptor):
            self._cancellations.hear()
