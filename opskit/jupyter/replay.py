"""Replay: a file's attempt again, in this process, with its real bytes and row; whatever it writes is rolled back."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import CompletionError, DatabaseError, DatabaseUnavailableError, OpskitError
from opskit.files.claimed import ClaimedFile, Processor
from opskit.files.command_line import Command
from opskit.files.processor import checked, load_processor
from opskit.files.program import Program
from opskit.files.program_failure import Failure
from opskit.files.workspace import Workspace
from opskit.jupyter import given, side_effects
from opskit.queue import row_content
from opskit.queue.error_identity import headline, of_exception, of_failure
from opskit.queue.error_lines import last_line
from opskit.queue.replaying import Replaying, connections_only_read, is_guard
from opskit.queue.server_id import server_id
from opskit.queue.stored import as_json
from opskit.settings import secret_variables
from opskit.support import notebook_output
from opskit.support.logs import masked

_ONLY_READS = "-c default_transaction_read_only=on"


@dataclass(frozen=True, kw_only=True, repr=False)
class Replay:
    """How a replay went that raised nothing.

    Attributes:
        file: The file that the processor was given.
        result: What the processor returned, or gave to `completing()`.
        seconds: How long it took [s].
        progress: The last progress that it reported, as (done, total).
        reports: How often it reported progress.
        stored_error: The line that tells how the file's last attempt failed; None when it did not.
        outside: What cannot be taken back, each in words.
    """

    file: ClaimedFile
    result: Mapping[str, Any] | None
    seconds: float
    progress: tuple[int | None, int | None]
    reports: int
    stored_error: str | None
    outside: list[str]

    def __repr__(self) -> str:
        return "\n".join([self._said(), *self._more()])

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        result = [] if self.result is None else [f"result: {as_json(self.result)}"]
        return notebook_output.sentences(self._said(), *result, *self._more())

    def _said(self) -> str:
        return (
            f"file {self.file.id} ({self.file.name}): the processor returned after {self.seconds:.3g} s; "
            "nothing was written to the database"
        )

    def _more(self) -> list[str]:
        was = [f"its stored error did not come again: {self.stored_error}"] if self.stored_error else []
        return was + not_taken_back(self.outside)


def replay(db: Database, id: object, processor: Processor | str | None = None) -> Replay:
    """Run a processor on a file of the table, here: for a failure that has to be seen, with `%debug` and breakpoints.

    The file may be in any state, and is not claimed: nodes go on as they do. The processor is given its real bytes and
    row, and the attempt's number. `completing()` gives a real transaction that is rolled back at its end and cannot be
    committed; the deferred constraints are checked as a COMMIT would. Inside the block locks are held, for five minutes
    at a breakpoint at most. Psycopg connections that the processor makes for itself are read-only.

    What a replay cannot take back is named: sequences that moved, files written, connections, programs.

    Args:
        db: An open database.
        id: The file.
        processor: The function, or its address as module:function. Defaults to the settings': a function, or a program
            (OPSKIT_EXEC), whose own connections are read-only where they honour PGOPTIONS.

    Returns:
        How it went.

    Raises:
        OpskitError: There is no such file.
        ProcessorError: The processor cannot be loaded.
        BaseException: Whatever the processor raises, with its own frames, and a note on how it compares with the stored
            error.

    SQL: sql/replayed.sql
    """
    given.database(db)
    called = None
    if processor is not None:
        called = load_processor(processor) if isinstance(processor, str) else checked(processor)
    # One connection of its own, as a child has it: settings, plans and the refusal of commit() are a node's.
    with Database(db.settings, pooled=False, node=True, name="replay") as own:
        row = row_of(own, str(id))
        context = _Context(own)
        file = _file(own, row, context)
        stored = last_line(row["processing_errors"]) if row["processing_errors"] else None
        started = time.monotonic()
        with _chosen(own, called) as process, context.effects_noted():
            try:
                result = process(file)
                if result is not None:
                    as_json(result)
                context.end(file)
            except BaseException as error:
                _note(error, file, row, stored, context)
                raise
        seconds = time.monotonic() - started
    return Replay(
        file=file,
        result=context.result if result is None else result,
        seconds=seconds,
        progress=context.last,
        reports=context.reports,
        stored_error=stored,
        outside=context.outside(),
    )


@contextmanager
def _chosen(db: Database, given: Processor | None) -> Iterator[Processor]:
    """The processor that was given, else the settings': a function, or a program in a folder that is swept.

    Raises:
        OpskitError: It is a server: what it does cannot be rolled back.
    """
    settings = db.settings
    if given is not None:
        yield given
    elif settings.post:
        raise OpskitError(
            f"the processor is a server ({masked(settings.post)}), which would do the work in earnest; "
            "give replay a function"
        )
    elif settings.exec:
        workspace = Workspace()
        # A program's own connections are read-only; libpq and others read this. A pooler would refuse it.
        only_reads = {} if db.pooler else {"PGOPTIONS": f"{os.environ.get('PGOPTIONS', '')} {_ONLY_READS}".strip()}
        environ = {name: value for name, value in os.environ.items() if name not in secret_variables()}
        try:
            yield Program(Command(settings.exec), workspace.path, environ | only_reads)
        finally:
            workspace.close()
    else:
        yield load_processor(settings.processor)


def not_taken_back(outside: list[str]) -> list[str]:
    """The sentence about what a ROLLBACK does not undo; none where nothing was seen."""
    return [f"not taken back: {'; '.join(outside)}"] if outside else []


class _Context:
    """The context of a replayed file: that of a node's child, without a claim."""

    def __init__(self, db: Database) -> None:
        self.last: tuple[int | None, int | None] = (None, None)
        self.reports = 0
        self.result: Mapping[str, Any] | None = None
        self._db = db
        self._block: Replaying | None = None
        self._connections: list[str] = []
        self._outside: list[str] = []

    def progress(self, done: int | None, total: int | None) -> None:
        self.last, self.reports = (done, total), self.reports + 1

    def completing(self, file: ClaimedFile, result: Mapping[str, Any] | None) -> AbstractContextManager[Any]:
        if self._block is not None:
            raise CompletionError(
                f"completing() of file {file.id} is open already"
                if self._block.is_open
                else f"file {file.id} is completed already: completing() is for one block a file; "
                "nothing more was written"
            )
        as_json(result)
        self.result, self._block = result, Replaying(self._db, file.id)
        return self._block

    def content(self, file: ClaimedFile) -> bytes:
        return row_content.content(self._db, file.id)

    def columns(self, file: ClaimedFile) -> dict[str, Any]:
        return row_content.columns(self._db, file.id)

    def end(self, file: ClaimedFile) -> None:
        """The processor has returned: a block that it has left open is none that completes.

        Raises:
            CompletionError: One was.
        """
        if self._block is not None and self._block.is_open:
            self.abandon()
            raise CompletionError(f"file {file.id} is not completed: its completing() was never ended")

    def abandon(self) -> None:
        """Roll back what is open."""
        if self._block is not None and self._block.is_open:
            self._block.abandon()

    @contextmanager
    def effects_noted(self) -> Iterator[None]:
        """Meanwhile what the processor does outside its block is noted."""
        with ExitStack() as stack:
            self._connections = stack.enter_context(connections_only_read())
            self._outside = stack.enter_context(side_effects.noted())
            yield

    @property
    def escaped(self) -> bool:
        """Whether the processor has ended its transaction by itself."""
        return self._block is not None and self._block.escaped

    def outside(self) -> list[str]:
        """What cannot be taken back."""
        told = [f"the sequence {name} moved on" for name in (self._block.sequences if self._block else [])]
        if self.escaped:
            told.append("the processor ended the transaction by itself: what it committed in its own words stays")
        told += [f"a connection of its own to {where}" for where in dict.fromkeys(self._connections)]
        return told + self._outside


def row_of(db: Database, id: str) -> Row:
    """One file as a replay needs it.

    Raises:
        OpskitError: There is no such file.
    """
    if "\0" in id or not id.isprintable():  # no id of a table; half a surrogate pair is not even text to PostgreSQL
        raise OpskitError(f"there is no file {id!a} in {db.settings.files}")
    try:
        rows = db.run("replayed", id=id)
    except DatabaseError as error:
        if error.sqlstate and error.sqlstate.startswith("22"):
            raise OpskitError(f"there is no file {id!r} in {db.settings.files}: its ids look different") from error
        raise
    if not rows:
        raise OpskitError(f"there is no file {id!r} in {db.settings.files}")
    return rows[0]


def _file(db: Database, row: Row, context: _Context) -> ClaimedFile:
    name = row["original_filename"]
    failed = row["processing_status"] == "failed"
    return ClaimedFile(
        id=row["id"],
        original_filename=name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if name else name,
        storage_path=row["storage_path"],
        file_size=row["file_size"],
        attempt=max(row["attempt"], 1),
        # As the attempt that failed saw them: it is not among them.
        failures=max(row["failures"] - failed, 0),
        server_id=server_id(db.settings),
        token=str(uuid.uuid4()),
        storage_root=db.settings.storage_root,
        storage_only=db.settings.storage_only,
        table_prefix=db.settings.prefix,
        files_table=db.settings.table,
        text_encoding=db.settings.text_encoding,
        desk=context,
    )


def _note(error: BaseException, file: ClaimedFile, row: Row, stored: str | None, context: _Context) -> None:
    """Write on the exception what the replay knows, and roll back what is open."""
    try:
        context.abandon()
    except (CompletionError, DatabaseError, DatabaseUnavailableError) as unrolled:
        error.add_note(str(unrolled))
    what = "its transaction was not rolled back by opskit" if context.escaped else "nothing was written to the database"
    lines = [f"replay of file {file.id} ({file.name}), attempt {file.attempt}: {what}"]
    if is_guard(error):
        lines.append("a replay cannot be committed: the processor ended the transaction of completing() by itself")
    elif type(error).__name__ == "ReadOnlySqlTransaction":
        lines.append("what writes outside completing() is read-only in a replay")
    if stored:
        home = (file.id, file.original_filename, file.storage_path)
        here = of_failure(error, known=home) if isinstance(error, Failure) else of_exception(error, known=home)
        same = row["error"] == here.error if row["error"] else stored == headline(error)
        lines.append("the same error as the stored one" if same else f"the stored error is another: {stored}")
    for line in lines + not_taken_back(context.outside()):
        error.add_note(line)
