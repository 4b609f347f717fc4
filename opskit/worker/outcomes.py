"""Outcomes: completes, fails, defers or interrupts an attempt in the database, and retries while it is away."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from opskit.database import Database
from opskit.errors import ClaimLostError, CompletionError, DatabaseError, DatabaseUnavailableError, Retry
from opskit.files.claimed import ClaimedFile
from opskit.files.program_failure import Failure
from opskit.queue import breaker, claims, completing
from opskit.queue.deferring import defer
from opskit.queue.error_identity import Identity, of_exception, of_failure
from opskit.queue.error_lines import last_line
from opskit.queue.error_text import told
from opskit.queue.interruptions import interrupt
from opskit.queue.server_id import Boot
from opskit.support.retry_rules import Rule
from opskit.worker.context import WorkerContext
from opskit.worker.patience import patiently
from opskit.worker.status import SharedStatus

log = logging.getLogger("opskit")


class Outcomes:
    """Ends the attempts of a child.

    Args:
        db: The child's database.
        node: Whose child it is.
        shared_status: Where the outcomes are counted.
        context: What the processor has completed by itself.
        breaker: It learns of each failure of the world.
    """

    def __init__(
        self, db: Database, node: Boot, shared_status: SharedStatus, context: WorkerContext, breaker: breaker.Breaker
    ) -> None:
        self.db = db
        self.node = node
        self.shared_status = shared_status
        self._context = context
        self._breaker = breaker

    def complete(self, file: ClaimedFile, result: Mapping[str, Any] | None) -> None:
        """Complete a file by itself, with patience; the log says when its claim was lost."""
        try:
            # What passes (a full disk, a standby for a while, a lock) does not cost the work that is done.
            patiently(
                self.db,
                lambda: claims.complete(
                    self.db,
                    id=file.id,
                    token=file.token,
                    result=result,
                    patience_seconds=self.db.settings.lease_seconds * 2,
                ),
            )
            self.shared_status.end(completed=1)
        except ClaimLostError as error:
            self.shared_status.end()
            log.warning("file %s (%s): %s", file.id, file.name, error, extra=about(file))
        except DatabaseError as error:
            # What the database refuses (a result it cannot store, say) is the attempt's failure.
            self.fail(file, "raised", error, str(error))

    def store(self, file: ClaimedFile, result: Mapping[str, Any]) -> None:
        """Store the result of a file that is completed already."""
        try:
            stored = patiently(
                self.db, lambda: claims.store_result(self.db, id=file.id, token=file.token, result=result)
            )
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

    def fail(
        self,
        file: ClaimedFile,
        outcome: str,
        error: BaseException,
        text: str | None = None,
        rule: Rule | None = None,
    ) -> None:
        """End an attempt that went wrong, unless the file is completed, or its claim is lost.

        Args:
            file: The file in hand.
            outcome: rejected, raised, or what a program's failure names.
            error: What went wrong.
            text: What is stored of it. Defaults to its traceback, as `told` gives it.
            rule: How often and how far apart this kind of error is tried. Defaults to the settings.
        """
        text, identity = told(error) if text is None else text, self._identity(error, file)
        if self._is_completed(file, text):
            return
        settings = self.db.settings
        answer = patiently(
            self.db,
            lambda: claims.fail(
                self.db,
                id=file.id,
                token=file.token,
                outcome=outcome,
                error=text,
                max_failures=rule.times if rule else settings.max_failures,
                retry_seconds=settings.retry_seconds,
                wait_seconds=rule.wait_seconds if rule else None,
                actor=self.node.server_id,
                identity=identity,
            ),
        )
        if answer == "lost":
            self._lost(file, text)
            return
        self.shared_status.end(
            failed=int(answer == "failed"), retried=int(answer == "queued"), bad=outcome != "rejected"
        )
        line = last_line(text) or outcome
        log.warning(
            "file %s (%s) attempt %d: %s; now %s", file.id, file.name, file.attempt, line, answer, extra=about(file)
        )
        if identity.kind == "world":
            self._breaker.failed(breaker.Failure(file.id, file.attempt, identity))

    def defer(self, file: ClaimedFile, retry: Retry) -> None:
        """Queue the file again for later, as its processor asks."""
        if self._is_completed(file, str(retry)):
            return
        answer = patiently(
            self.db, lambda: defer(self.db, retry, id=file.id, token=file.token, actor=self.node.server_id)
        )
        if answer == "lost":
            self._lost(file, str(retry))
            return
        self.shared_status.end(failed=int(answer == "failed"), retried=int(answer == "queued"))
        when = f", due in {retry.after_seconds:g} s" if answer == "queued" else ""
        log.info(
            "file %s (%s) attempt %d deferred: %s; now %s%s", file.id, file.name, file.attempt,
            last_line(str(retry)), answer, when, extra=about(file),
        )  # fmt: skip

    def interrupt(self, file: ClaimedFile, error: BaseException) -> None:
        """Give back a file whose processor lost the database; waits until the database answers again."""
        if self._is_completed(file, str(error)):
            return
        reason = f"the database went away: {type(error).__name__}: {error}"
        answer = patiently(
            self.db, lambda: interrupt(self.db, id=file.id, token=file.token, reason=reason, actor=self.node.server_id)
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
            self._context.end()
        completed = self._context.has_completed(file.token)
        if completed:
            self._ended_already(file, error, completed=True)
        return completed

    def _lost(self, file: ClaimedFile, error: str) -> None:
        """Log a claim that could not be ended: the processor's COMMIT completed it, or another node has the file."""
        completed = patiently(self.db, lambda: completing.completed_by(self.db, id=file.id, token=file.token))
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


def about(file: ClaimedFile) -> dict[str, object]:
    """The fields of a JSON log record about a file, beside its message."""
    return {"file": file.id, "attempt": file.attempt, "token": file.token, "lane": file.lane}
