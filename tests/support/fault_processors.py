"""Processors for the fault suite: `--processor fault_processors:name`, with tests/faults on PYTHONPATH."""

from __future__ import annotations

import os
import select
import signal
from typing import Any

import psycopg
from psycopg import sql

import opskit


def _wait() -> None:
    # Not time.sleep: under libfaketime with a clock that is behind it raises EINVAL.
    select.select([], [], [], float(os.environ.get("ACT_SECONDS", "0")))


def waiting(file: opskit.ClaimedFile) -> None:
    """Work, then write the effect in the completion's own transaction."""
    _wait()
    with file.completing() as tx:
        _write(tx, file)


def holding(file: opskit.ClaimedFile) -> None:
    """Do the work within the completion's transaction, as a load does: the row is locked all the while."""
    with file.completing() as tx:
        _write(tx, file)
        _wait()


def slow_at_first(file: opskit.ClaimedFile) -> None:
    """`waiting` at the first attempt, at once at every other."""
    if file.attempt == 1:
        _wait()
    with file.completing() as tx:
        _write(tx, file)


def holding_at_first(file: opskit.ClaimedFile) -> None:
    """`holding` at the first attempt: the row is locked by a transaction that is idle."""
    with file.completing() as tx:
        _write(tx, file)
        if file.attempt == 1:
            _wait()


def asking_at_first(file: opskit.ClaimedFile) -> None:
    """A statement that takes long, at the first attempt: the row is locked by a backend that is busy."""
    with file.completing() as tx:
        _write(tx, file)
        if file.attempt == 1:
            tx.execute("SELECT pg_sleep(%s)", (float(os.environ["ACT_SECONDS"]),))


def forking_at_first(file: opskit.ClaimedFile) -> None:
    """Fork a process, which lives on with our socket, and crash in the middle of the transaction."""
    with file.completing() as tx:
        _write(tx, file)
        if file.attempt == 1:
            if os.fork() == 0:
                _wait()
                os._exit(0)
            os.kill(os.getpid(), signal.SIGSEGV)


def unfenced(file: opskit.ClaimedFile) -> None:
    """The control: complete the file by id alone, as many queues do. It must be caught."""
    _wait()
    table = sql.Identifier(file.table_prefix + "uploaded_files")
    # processing_done_token = processing_token is what the table's own check wants to see.
    done = "UPDATE {} SET processing_status = 'completed', processing_done_token = processing_token WHERE id = %s"
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        _write(connection, file)
        connection.execute(sql.SQL(done).format(table), (file.id,))


def _write(connection: psycopg.Connection[Any], file: opskit.ClaimedFile) -> None:
    connection.execute(
        "INSERT INTO effects (file_id, token, server_id) VALUES (%s, %s, %s)", (file.id, file.token, file.server_id)
    )
