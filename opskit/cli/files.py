"""Files: enqueue, process by hand, requeue."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import threading

from opskit import queue
from opskit.cli.chosen import ids_of, say_left
from opskit.cli.tables import table
from opskit.cli.verbs import Verbs, actor, seconds_of
from opskit.database import Database
from opskit.errors import DatabaseUnavailableError, SettingError
from opskit.queue.error_lines import last_line
from opskit.queue.requeuing import requeueable
from opskit.settings.command_line import settings_of
from opskit.support import console, wording

_REQUEUED = ("id", "original_filename", "was", "server_id", "started_at")


def add_enqueue(verbs: Verbs) -> None:
    """Add `opskit enqueue`."""
    one = verbs.add("enqueue", enqueue, "queue files, folders and URLs, or adopt rows from before")
    one.add_argument("paths", nargs="*", metavar="PATH", help="files, folders and URLs")
    one.add_argument(
        "--set", action="append", default=[], metavar="COLUMN=VALUE", help="a value for a column of the application's"
    )
    one.add_argument(
        "--watch", action="store_true",
        help="go on: queue what comes into the folders, or under prefixes (s3://bucket/in), once it is whole",
    )  # fmt: skip
    one.add_argument(
        "--every", type=seconds_of, default=5.0, metavar="TIME", help="with --watch: how often to look; defaults to 5s"
    )
    one.add_argument("--skip-known", action="store_true", help="leave out paths that are in the table already")
    one.add_argument(
        "--ahead", type=seconds_of, default=0.0, metavar="TIME", help="a head start in the queue: 90s, 30m, 2h or 1d"
    )
    one.add_argument("--existing", action="store_true", help="adopt rows without a status instead")
    one.add_argument("--where", metavar="CONDITION", help="which rows to adopt, in SQL; defaults to all")
    one.add_argument("--dry-run", action="store_true", help="with --existing: only count")
    verbs.finish(one)


def enqueue(given: argparse.Namespace) -> int:
    """Queue files, or adopt rows from before."""
    settings = settings_of(given)
    columns = dict(_pair(text) for text in given.set)
    with Database(settings, pooled=False) as db:
        if given.existing:
            if given.paths:
                raise SettingError("--existing takes no paths: it adopts rows that are in the table")
            if given.ahead:
                raise SettingError("--ahead goes with paths: opskit expedite ID… moves files that are queued")
            if given.where is not None and not given.where.strip():
                raise SettingError("--where is empty; leave it out to adopt every row without a status")
            with console.progress(quiet=given.json) as bar:
                count = queue.adopt(
                    db, "true" if given.where is None else given.where, actor=actor(), dry_run=given.dry_run,
                    on_progress=bar.at,
                )  # fmt: skip
            what = f"{wording.count(count, 'row')} from before {'would be adopted' if given.dry_run else 'adopted'}"
        else:
            if given.dry_run or given.where is not None:
                raise SettingError(f"{'--dry-run' if given.dry_run else '--where'} goes with --existing")
            if not given.paths:
                raise SettingError("say which files or folders: opskit enqueue PATH…")
            if given.watch:
                return _watch(db, given, columns)
            with console.progress(quiet=given.json) as bar:
                count = queue.enqueue(
                    db, given.paths, columns=columns, skip_known=given.skip_known,
                    ahead_seconds=given.ahead,
                    on_progress=bar.at, on_line=bar.line,
                )  # fmt: skip
            what = f"{wording.count(count, 'file')} queued"
    if given.json:
        console.as_json({"environment": settings.env, "table": settings.files, "count": count})
    else:
        console.out.print(f"{what} ({settings.env}, {settings.files})")
    return 0


def _watch(db: Database, given: argparse.Namespace, columns: dict[str, str]) -> int:
    """Look again and again, until told to stop; a database or a store that is away for a while does not end it."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    watch = queue.Watch(
        db, given.paths, columns=columns, ahead_seconds=given.ahead, actor=actor(), on_line=console.err.print
    )
    told = ""
    while not stop.is_set():
        try:
            count = watch.look()
        except (DatabaseUnavailableError, OSError) as error:
            if told != str(error):
                console.err.print(f"{error}; looking again")
            told, count = str(error), 0
            db.drop_connection()
        else:
            told = ""
        if count and given.json:
            print(json.dumps({"environment": db.settings.env, "table": db.settings.files, "count": count}), flush=True)
        elif count:
            console.out.print(f"{wording.count(count, 'file')} queued ({db.settings.env}, {db.settings.files})")
        stop.wait(max(given.every, 0.1))
    return 0


def add_process(verbs: Verbs) -> None:
    """Add `opskit process`."""
    one = verbs.add("process", process, "process one file by hand, safe beside the scheduled nodes")
    one.add_argument("id", metavar="ID", help="the file's id")
    verbs.finish(one)


def process(given: argparse.Namespace) -> int:
    """Process one file by hand, and show what came of it."""
    from opskit.worker.command import run as run_node

    settings = settings_of(given)
    if settings.node_id is not None:
        # A node of this name may be running right here; by hand is another node.
        settings = dataclasses.replace(settings, node_id=f"{settings.node_id[:80]}-by-hand-{os.getpid()}")
    code = run_node(settings, only=given.id, verbose=given.verbose)
    if code:
        return code
    with Database(settings, pooled=False) as db:
        row = db.one("file", id=given.id)
    if given.json:
        console.as_json(row)
    else:
        console.out.print(f"file {row['id']} ({row['original_filename']}) is {row['processing_status']}")
        if row["processing_result"]:
            console.table([{"result": key, "value": value} for key, value in row["processing_result"].items()])
        if row["processing_errors"]:
            console.out.print(last_line(row["processing_errors"]))
            if given.verbose:
                console.out.print(row["processing_errors"])
    return 0 if row["processing_status"] == "completed" else 1


def add_requeue(verbs: Verbs) -> None:
    """Add `opskit requeue`."""
    one = verbs.add("requeue", requeue, "queue files again that have ended, with a fresh retry budget")
    one.add_argument("ids", nargs="*", metavar="ID", help="files, failed or completed, by id or whole name")
    one.add_argument("--failed", action="store_true", help="every failed file that the filters let through")
    one.add_argument("--cancelled", action="store_true", help="with --failed: the cancelled ones, too")
    one.add_argument("--error", default="", help="only this error, as `opskit stats failures` groups it")
    one.add_argument("--server", default="", metavar="NODE", help="only files that this node failed")
    one.add_argument("--lane", default="", help="only failed files of this lane; (none): without one")
    one.add_argument("--dry-run", action="store_true", help="only show which, at most 10,000 of them")
    one.add_argument("--reason", default="", help="why, for the history")
    verbs.finish(one)


def requeue(given: argparse.Namespace) -> int:
    """Queue files again that have ended."""
    settings = settings_of(given)
    if not given.ids and not given.failed:
        raise SettingError("say which: opskit requeue ID…, or --failed for every failed file")
    if given.dry_run:
        with Database(settings, pooled=False) as db:
            found = requeueable(
                db,
                ids_of(db, given.ids),
                failed=given.failed,
                error=given.error,
                server_id=given.server,
                lane=given.lane,
                cancelled=given.cancelled,
            )
        if given.json:
            console.as_json({"environment": settings.env, "wouldRequeue": len(found), "files": found})
        else:
            table(found, _REQUEUED, empty="no such file has ended")
            console.out.print(f"{wording.count(len(found), 'file')} would be queued again ({settings.env})")
        return 0
    with Database(settings, pooled=False) as db:
        ids = ids_of(db, given.ids)
        rows = queue.requeue(
            db, ids, failed=given.failed, error=given.error, server_id=given.server, lane=given.lane,
            cancelled=given.cancelled, actor=actor(), reason=given.reason,
        )  # fmt: skip
    if given.json:
        console.as_json({"environment": settings.env, "requeued": len(rows), "files": rows})
    else:
        table(rows, _REQUEUED, empty="no such file has ended; nothing was requeued")
        console.out.print(f"{wording.count(len(rows), 'file')} queued again ({settings.env})")
        say_left(ids, rows, "has not ended, or no such file")
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingError(f"--set is {text!r}; it must look like column=value")
    return name, value
