"""The desk: what stands behind the files that a node hands to its processor."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from opskit import claims
from opskit.database import Connection, Database
from opskit.errors import Reject
from opskit.files import ClaimedFile
from opskit.mailbox import Mailbox


class NodeDesk:
    """The `Desk` of a child: its database, and the mailbox that its supervisor reads."""

    def __init__(self, db: Database, mailbox: Mailbox) -> None:
        self._db = db
        self._mailbox = mailbox
        self._completed = ""

    def progress(self, done: int | None, total: int | None) -> None:
        """Note how far the file is; the supervisor sends it with its next heartbeat."""
        self._mailbox.progress(done, total)

    @contextlib.contextmanager
    def completing(self, file: ClaimedFile, result: Mapping[str, Any] | None) -> Iterator[Connection]:
        """One transaction for what the processor writes and for the completion.

        Raises:
            ClaimLostError: The claim is no longer this node's; nothing is written.
        """
        settings = self._db.settings
        # A child that goes on without the database waits for it here: its work is done.
        patience = float("inf") if settings.on_outage == "continue" else max(30.0, 2 * settings.lease_seconds)
        with claims.completing(
            self._db, id=file.id, token=file.token, result=result, patience_seconds=patience
        ) as connection:
            yield connection
        self._completed = file.token
        self._mailbox.settled()

    def has_completed(self, token: str) -> bool:
        """Whether the processor has completed the file of this claim by itself."""
        return token == self._completed

    def content(self, file: ClaimedFile) -> bytes:
        """The bytes in the row: bytea as it is, text as UTF-8 or base64.

        Raises:
            Reject: There are none, or they are not base64.
        """
        query = sql.SQL("SELECT file_content FROM {} WHERE id = %s").format(sql.Identifier(self._db.settings.files))
        with self._db.connection() as connection:
            try:
                row = connection.execute(query, (file.id,)).fetchone()
            except psycopg.errors.UndefinedColumn:
                raise Reject("the row has no storage_path, and the table no column file_content") from None
        content = row["file_content"] if row else None
        if content is None:
            raise Reject("the row has neither storage_path nor file_content")
        if isinstance(content, str):
            content = content.encode()
        if self._db.settings.content_encoding != "base64":
            return bytes(content)
        try:
            return base64.b64decode(content, validate=False)
        except binascii.Error as error:
            raise Reject(f"file_content is not base64: {error}") from error

    def columns(self, file: ClaimedFile) -> dict[str, Any]:
        """The row as the application made it, its content left out; empty when it has been deleted."""
        names = [row["column_name"] for row in self._db.run("all_columns") if row["column_name"] != "file_content"]
        query = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(
            sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(self._db.settings.files)
        )
        with self._db.connection() as connection:
            return connection.execute(query, (file.id,)).fetchone() or {}
