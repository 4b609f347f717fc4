"""Watching: queues each file that arrives in a folder, or under a prefix of an object store, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from opskit.database import Database
from opskit.database.session import Connection
from opskit.files.listing import Entry, stamped
from opskit.queue.enqueuing import copy_in
from opskit.queue.new_rows import check_held, insert_form

_BATCH = 1000
_Known = tuple[str, int | None, str]
"""A file as it was queued: path, size [bytes], and what changes when it does."""


class Watch:
    """Folders and prefixes whose new files are queued.

    A file is queued when two looks have seen it with the same size and time: then it has stopped growing. It is
    remembered by path, size and time, in the transaction that queues it: neither a restart nor a second watch queues
    it again, and a file that has changed is queued again. What lies there at the first look counts as new.

    Args:
        db: An open database.
        places: Folders, and prefixes such as s3://bucket/incoming/.
        columns: Values for other columns of the application's table.
        ahead_seconds: A head start in the queue [s].
        actor: Who watches, for the history. Defaults to the connection's.
        on_line: Called with a sentence where links were left out. Defaults to nobody.
    """

    def __init__(
        self,
        db: Database,
        places: Sequence[str],
        *,
        columns: Mapping[str, str] | None = None,
        ahead_seconds: float = 0.0,
        actor: str = "",
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        db.writing()
        self._db = db
        self._places = list(places)
        self._columns = dict(columns or {})
        self._ahead_seconds = ahead_seconds
        self._actor = actor
        self._on_line = on_line
        self._before: dict[str, _Known] = {}
        self._known: dict[str, _Known] = {}
        self._read_to = 0

    def look(self) -> int:
        """Look once, and queue the files that have stopped growing since the last look; returns how many.

        Raises:
            SettingError: A place is not there or cannot be read, or a column needs a value.
            MissingExtraError: What reads a prefix is not installed.
            DatabaseUnavailableError: Nothing was queued; look again.

        SQL: sql/watched.sql, sql/note_watched.sql
        """
        now: dict[str, _Known] = {}
        entries: dict[str, Entry] = {}
        for place in self._places:
            for entry, stamp in stamped(place, on_line=self._on_line):
                now[entry[0]] = (entry[0], entry[2], stamp)
                entries[entry[0]] = entry
        still = [path for path, seen in now.items() if self._before.get(path) == seen and self._known.get(path) != seen]
        count = 0
        for start in range(0, len(still), _BATCH):
            batch = still[start : start + _BATCH]
            count += self._queue([now[path] for path in batch], entries)
        self._before = now
        self._on_line = None  # links that lead out are told once
        return count

    def _queue(self, files: list[_Known], entries: Mapping[str, Entry]) -> int:
        form = insert_form(self._db, self._columns, ahead_seconds=self._ahead_seconds)
        with self._db.connection() as connection, connection.transaction():
            # Whoever else watches the same waits here, and then knows what we have queued.
            connection.execute(
                "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))",
                (f"opskit watch {self._db.settings.files}",),
            )
            self._learn(connection)
            new = [file for file in files if self._known.get(file[0]) != file]
            if not new:
                return 0
            for path, _, _ in new:
                check_held(self._db, path)
            taken = copy_in(connection, self._db, form, [entries[path] for path, _, _ in new])
            self._db.run_on(
                connection,
                "note_watched",
                watched=json.dumps(new, ensure_ascii=False),
                reason=", ".join(self._places),
                actor=self._actor or self._db.actor,
            )
        # Known to us as well only once it is committed.
        self._known |= {file[0]: file for file in new}
        return taken

    def _learn(self, connection: Connection) -> None:
        """Read which files watches have queued so far."""
        for row in self._db.run_on(connection, "watched", after=self._read_to):
            self._known |= {path: (path, size, stamp) for path, size, stamp in row["files"]}
            self._read_to = max(self._read_to, row["id"])
