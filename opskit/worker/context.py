"""The worker's context of a claimed file: its progress, its row and its transaction."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from opskit.database import Database
from opskit.database.session import Connection
from opskit.errors import ClaimLostError, CompletionError, DatabaseError, DatabaseUnavailableError
from opskit.files.claimed import ClaimedFile
from opskit.queue import row_content
from opskit.queue.completing import Completing
from opskit.worker.status import SharedStatus

_NAMES_SECONDS = 10.0
_UNDEFINED_COLUMN = "42703"


class WorkerContext:
    """The `Desk` of a child: its database, and the shared_status that its supervisor reads."""

    def __init__(self, db: Database, shared_status: SharedStatus) -> None:
        self._db = db
        self._shared_status = shared_status
        self._token = ""
        self._blocks: list[_Block] = []
        self._process = os.getpid()
        self.lock = threading.Lock()
        self._row_query = b""
        self._row_query_until = 0.0

    def begin(self, token: str) -> None:
        """A processor is about to be called with the file of this claim."""
        with self.lock:
            self._token = token
            self._blocks = []

    def end(self) -> None:
        """The processor has returned, or raised: what it has left open is rolled back.

        Raises:
            CompletionError: A block was left open, or ended without a COMMIT, and no other has completed the file.
            DatabaseUnavailableError: The same, because its connection was lost.
        """
        with self.lock:
            self._token = ""
        error = next((block.error for block in reversed(self._blocks) if block.error), None)
        for block in self._blocks:
            if block.is_open:
                block.abandon()
                error = CompletionError(f"file {block.id} is not completed: its completing() was never ended")
        if error is not None and not any(block.completed for block in self._blocks):
            raise error

    def progress(self, done: int | None, total: int | None) -> None:
        """Record the file's progress; the supervisor sends it with the next heartbeat."""
        self._shared_status.progress(done, total)

    def completing(self, file: ClaimedFile, result: Mapping[str, Any] | None) -> AbstractContextManager[Connection]:
        """One transaction for what the processor writes and for the completion.

        Raises:
            ClaimLostError: The claim is no longer this node's; nothing is written.
            CompletionError: The transaction was not committed.
        """
        return _Block(self, self._db, file, result, self._shared_status.settled)

    def admit(self, block: _Block) -> None:
        """Let a block be opened: one at a time, while its processor runs."""
        if os.getpid() != self._process:
            raise CompletionError(f"file {block.id} is completed by the process that claimed it, not by a fork of it")
        if block.token != self._token:
            raise ClaimLostError(f"the attempt at file {block.id} has ended; nothing was written")
        if any(other.is_open for other in self._blocks):
            raise CompletionError(f"completing() of file {block.id} is open already")
        self._blocks.append(block)

    def has_completed(self, token: str) -> bool:
        """Whether the processor has completed the file of this claim by itself."""
        return any(block.completed and block.token == token for block in self._blocks)

    def content(self, file: ClaimedFile) -> bytes:
        """The bytes in the row: bytea as it is, text as UTF-8 or base64.

        Raises:
            Reject: There are none, or they are not base64.
        """
        return row_content.content(self._db, file.id)

    def columns(self, file: ClaimedFile) -> dict[str, Any]:
        """The row as the application made it, its content left out; empty when it has been deleted."""
        # To ask for the names takes longer than the row: a program or a server is given one with each file.
        if time.monotonic() >= self._row_query_until:
            self._row_query = row_content.row_query(self._db, row_content.column_names(self._db))
            self._row_query_until = time.monotonic() + _NAMES_SECONDS
        try:
            return row_content.fetched(self._db, file.id, self._row_query)
        except DatabaseError as error:
            if error.sqlstate != _UNDEFINED_COLUMN:
                raise
            self._row_query_until = 0.0
            return row_content.columns(self._db, file.id)


class _Block(Completing):
    """A block of completing() that the desk knows of.

    Attributes:
        error: Why it was not committed, though no error of the processor's has left it.
    """

    def __init__(
        self, desk: WorkerContext, db: Database, file: ClaimedFile, result: Mapping[str, Any] | None,
        on_completed: Callable[[], None],
    ) -> None:  # fmt: skip
        settings = db.settings
        # A child that goes on without the database waits for it here: its work is done.
        patience = float("inf") if settings.on_outage == "continue" else max(30.0, 2 * settings.lease_seconds)
        super().__init__(
            db, id=file.id, token=file.token, result=result, patience_seconds=patience, on_completed=on_completed
        )
        self._desk = desk
        self.error: CompletionError | DatabaseUnavailableError | None = None

    def __enter__(self) -> Connection:
        with self._desk.lock:
            self._desk.admit(self)
            return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        except (CompletionError, DatabaseUnavailableError) as wrong:
            self.error = wrong
            raise
