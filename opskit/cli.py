"""The shell: `opskit VERB`. A verb's body is one library call with the same words.

Tables and bars for people, `--json` for programs, talk on stderr. Exit codes: 0 done, 1 opskit error,
2 bad usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

from opskit import doctor, embedded, intake, nodes, queries, reaper, schema, show
from opskit._version import __version__
from opskit.database import Database
from opskit.error_identity import last_line
from opskit.errors import MissingExtraError, OpskitError, SettingError
from opskit.flags import add_settings, settings_of
from opskit.logs import masked
from opskit.server_id import server_info
from opskit.visible import visible_lines

Verb = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; answers the exit code."""
    parser = build_parser()
    given = parser.parse_args(argv)
    try:
        return given.verb(given)  # type: ignore[no-any-return]  # set by build_parser
    except OpskitError as error:
        if given.verbose:
            print(visible_lines(masked(traceback.format_exc())), file=sys.stderr)
        print(visible_lines(f"opskit: {error}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has had enough: `opskit stats | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


# -- verbs -----------------------------------------------------------------------------------


def up(given: argparse.Namespace) -> int:
    from opskit.up import up

    summary = up(
        settings_of(given),
        given.paths,
        nodes=given.nodes,
        dashboard=not given.no_dashboard,
        until_done=given.until_done,
        migrate=given.migrate,
    )
    if given.json:
        show.as_json(summary)
    else:
        columns = ("serverId", "completed", "failed", "retried")
        show.table([{name: node.get(name) for name in columns} for node in summary["nodes"]])
        show.out.print(
            f"{summary['completed']} completed, {summary['failed']} failed in {summary['seconds']:g} s "
            f"({summary['environment']}, {summary['table']})"
        )
        if left := summary["queued"] + summary["processing"]:
            show.out.print(f"{left} {'file waits' if left == 1 else 'files wait'}; opskit up goes on with them")
            for reason in summary["reasons"]:
                show.out.print(f"  {reason}", markup=False, highlight=False)
    return 1 if given.until_done and summary["failed"] else 0


def worker(given: argparse.Namespace) -> int:
    from opskit.worker import run_given

    return run_given(given)


def process(given: argparse.Namespace) -> int:
    from opskit import worker

    settings = settings_of(given)
    if settings.node_id is not None:
        # A node of this name may be running right here; by hand is another node.
        settings = dataclasses.replace(settings, node_id=f"{settings.node_id[:80]}-by-hand-{os.getpid()}")
    code = worker.run(settings, only=given.id, verbose=given.verbose)
    if code:
        return code
    with Database(settings, pooled=False) as db:
        row = db.one("file", id=given.id)
    if given.json:
        show.as_json(row)
    else:
        show.out.print(f"file {row['id']} ({row['original_filename']}) is {row['processing_status']}")
        if row["processing_result"]:
            show.table([{"result": key, "value": value} for key, value in row["processing_result"].items()])
        if row["processing_errors"]:
            show.out.print(last_line(row["processing_errors"]))
            if given.verbose:
                show.out.print(row["processing_errors"])
    return 0 if row["processing_status"] == "completed" else 1


def migrate(given: argparse.Namespace) -> int:
    settings = settings_of(given)
    if given.plan and given.check:
        raise SettingError("--check runs nothing; it takes no --plan")
    with Database(settings, pooled=False) as db:
        answers = [_migrate_one(one, given) for one in schema.both(db)] if given.both else [_migrate_one(db, given)]
    if given.json:
        show.as_json(answers)
    return 1 if given.check and any(answer["missing"] for answer in answers) else 0


def _migrate_one(db: Database, given: argparse.Namespace) -> dict[str, Any]:
    env, table = db.settings.env, db.settings.files
    answer: dict[str, Any] = {"environment": env, "table": table, "missing": schema.missing(db)}
    if given.rollback and not given.plan:
        _confirm(given, f"roll back {table} ({env}): drop the columns that opskit added, its history and its nodes")
    with show.progress(quiet=given.json) as bar:
        say = bar.line
        if given.check:
            for phrase in answer["missing"]:
                say(f"{env}: {phrase}")
            left_out = "" if schema.wakes(db) else "; the wake-up is left out: nodes see a new file when they poll"
            say(f"{env}: {'not migrated; run: opskit migrate' if answer['missing'] else 'migrated' + left_out}")
        elif given.plan:
            answer |= _planned(db, given, say)
        elif given.rollback:
            answer["ran"] = [asdict(step) for step in schema.rollback(db, confirm=table, say=say)]
        elif given.queue_new or given.no_queue_new:
            schema.queue_new(db, on=given.queue_new)
            since = "are queued from now on" if given.queue_new else "wait without a status"
            say(f"{env}: new rows of {table} {since}")
        else:
            ran = schema.migrate(db, wake=given.wake, actor=_actor(), say=say, tell=_teller(bar))
            answer["ran"], cleaned = [asdict(step) for step in ran], ran.cleaned
            answer["cleaned"] = len(cleaned.ended)
            answer["missing"] = schema.missing(db)
            say(f"{env}: {len(answer['ran'])} statements, {table} is migrated; {cleaned.message}")
            if not schema.queues_new(db):
                say(f"{env}: new rows of {table} wait without a status until: opskit migrate --queue-new")
    return answer


def _planned(db: Database, given: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """What would be run, how long it takes, who is in the way; for a cut-over, what it changes and for whom."""
    env, table = db.settings.env, db.settings.files
    answer: dict[str, Any] = {}
    cut_over = given.queue_new or given.no_queue_new
    if cut_over:
        steps = [schema.cut_over_step(db, on=given.queue_new)]
        answer["cut_over"] = schema.preview(db, on=given.queue_new)
    else:
        steps = schema.plan_rollback(db) if given.rollback else schema.plan(db, wake=given.wake)
    estimate, survey = schema.estimate(db, steps), schema.survey(db)
    answer |= {
        "plan": [asdict(step) | {"seconds": seconds} for step, seconds in zip(steps, estimate.seconds, strict=True)],
        "estimate": {"seconds": estimate.total_seconds, "how": estimate.how},
        "survey": survey,
    }
    if given.json:
        return answer
    for step, seconds in zip(steps, estimate.seconds, strict=True):
        print(f"-- {step.what}; lock on {table}: {step.lock}; {_work(step, seconds)}\n{_rendered(step)}\n")
    if survey["bytes"] is not None:
        say(f"{table} is {survey['bytes'] / 2**20:,.0f} MB, about {survey['rows_estimated']:,} rows")
    for one in survey["in_the_way"]:
        waits = f"it holds {one['lock']}: every statement" if one["lock"] else "it has a snapshot: an index"
        say(f"in the way now: {schema.blocker(one)}")
        say(f"  {waits} has to wait for it; {' '.join((one['query'] or '').split())}")
    if cut_over:
        for sentence in answer["cut_over"]["sentences"]:
            say(f"{env}: {sentence}")
    say(f"{env}: {len(steps)} statements would be run on {table}, in about {_span(estimate.total_seconds)}")
    if not (cut_over or given.rollback):
        minutes = db.settings.stale_after_seconds / 60
        say(f"  then, as by `opskit cleanup`: what a server unknown to opskit has processed for {minutes:g} min fails")
    if any(step.reads for step in steps):
        say(f"  {estimate.how}")
    return answer


def _work(step: schema.Step, seconds: float) -> str:
    """What a step does to the table, and for how long."""
    if not step.reads:
        return "reads and rewrites nothing"
    times = "once" if step.reads == 1 else "twice"
    return f"reads {step.table} {times}, rewrites nothing, about {_span(seconds)}"


def _span(seconds: float) -> str:
    """A stretch of time in words, no finer than an estimate is."""
    if seconds < 1:
        return "a second"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _rendered(step: schema.Step) -> str:
    """A step as psql could run it: as we do, never waiting long for a lock."""
    if not step.transactional:
        return f"SET statement_timeout = 0;\n{step.sql};"
    limits = f"SET LOCAL lock_timeout = '{schema.LOCK_SECONDS:g}s';\nSET LOCAL statement_timeout = 0;"
    return f"BEGIN;\n{limits}\n{step.sql};\nCOMMIT;"


def _teller(bar: show.Bar) -> schema.Tell:
    """Show how far a statement is."""

    def tell(now: schema.Progress) -> None:
        what = now.phase or now.step.what
        if now.waits_for:
            what += f": {now.waits_for}"
        bar.at(now.share, what)

    return tell


def enqueue(given: argparse.Namespace) -> int:
    settings = settings_of(given)
    columns = dict(_pair(text) for text in given.set)
    with Database(settings, pooled=False) as db:
        if given.existing:
            if given.paths:
                raise SettingError("--existing takes no paths: it adopts rows that are in the table")
            if given.where is not None and not given.where.strip():
                raise SettingError("--where is empty; leave it out to adopt every row without a status")
            with show.progress(quiet=given.json) as bar:
                count = intake.adopt(
                    db, "true" if given.where is None else given.where, actor=_actor(), dry_run=given.dry_run,
                    say=lambda done, total: bar.at(done / total, f"{done:,} of {total:,} rows adopted"),
                )  # fmt: skip
            what = "rows from before would be adopted" if given.dry_run else "rows from before adopted"
        else:
            if given.dry_run or given.where is not None:
                raise SettingError(f"{'--dry-run' if given.dry_run else '--where'} goes with --existing")
            if not given.paths:
                raise SettingError("say which files or folders: opskit enqueue PATH…")
            with show.progress(quiet=given.json) as bar:
                count = intake.enqueue(
                    db, given.paths, columns=columns, skip_known=given.skip_known,
                    say=lambda done: bar.at(None, f"{done:,} files queued"), tell=bar.line,
                )  # fmt: skip
            what = "files queued"
    if given.json:
        show.as_json({"environment": settings.env, "table": settings.files, "count": count})
    else:
        show.out.print(f"{count} {what} ({settings.env}, {settings.files})")
    return 0


def cleanup(given: argparse.Namespace) -> int:
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        if given.dry_run:
            looked = reaper.take_look(db)
            rows = reaper.preview(db, look=False)
            if rows and not looked:
                show.err.print(
                    "nothing can be written here, so this was no look: where one is due, cleanup takes two more"
                )
            if given.json:
                show.as_json({"environment": settings.env, "files": rows})
            else:
                shown = [{name: row[name] for name in _SHOWN["stale"]} for row in rows]
                show.table(shown, empty="no claim is stale or orphaned")
            return 0
        done = reaper.cleanup(db, claims=given.claims, actor=_actor(), reason=given.reason)
    if given.json:
        show.as_json(
            {"environment": settings.env, "cleanedFiles": len(done.ended), "message": done.message,
             "files": done.ended, "pending": done.pending, "skipped": done.skipped}
        )  # fmt: skip
        return 0
    names = ("id", "original_filename", "server_id", "started_at", "outcome", "reason")
    if done.ended or done.pending:
        show.table([{n: row[n] for n in names} for row in done.ended + done.pending])
    show.out.print(f"{done.message} ({settings.env})")
    if unsure := sum(row["verdict"] in ("silent", "stuck") for row in done.pending):
        show.out.print(f"{unsure} need a second look: run it again in {reaper.LOOK_SECONDS:g} s")
    if kept := len(done.pending) - unsure:
        show.out.print(f"{kept} should end, and the table does not let their rows be changed: see the reason")
    if done.skipped:
        show.out.print(f"{len(done.skipped)} skipped: they moved on")
    return 0


def statistics(given: argparse.Namespace) -> int:
    settings = settings_of(given)
    try:
        from opskit import stats
    except ImportError:
        raise MissingExtraError("pandas", "ui") from None
    with Database(settings) as db:
        if given.what == "all":
            frames = {name: stats.STATISTICS[name](db) for name in ("concurrency", "distribution", "nodes")}
        else:
            frames = {given.what: stats.STATISTICS[given.what](db)}
    rows = {name: stats.records(frame) for name, frame in frames.items()}
    if given.json:
        show.as_json(rows if given.what == "all" else rows[given.what])
        return 0
    for name, found in rows.items():
        if name == "failures" and found:
            # One line a group, in one piece: what --error takes is copied from it.
            show.out.print("  files  last day  error")
            for row in found:
                line = f"{row['file_count']:>7,}  {row['last_day']:>8,}  {row['error']}"
                show.out.print(line, soft_wrap=True)
        elif name == "concurrency" and found:
            show.table(
                [{"number": key, "value": value} for key, value in found[0].items()], title=f"{settings.env}: now"
            )
        else:
            found = [{key: _short(row, key) for key in _SHOWN.get(name, row)} for row in found]
            show.table(found, title=f"{settings.env}: {name}", empty=f"{settings.env}: {name}: nothing")
    return 0


def _short(row: Mapping[str, Any], key: str) -> Any:
    """A value for a table: of an error the line that tells it."""
    value = row[key]
    is_error = key == "processing_errors" or (key == "reason" and row.get("kind") == "attempt")
    return last_line(value) if is_error and isinstance(value, str) else value


# What fits a terminal; --json has every column.
_SHOWN: dict[str, tuple[str, ...]] = {
    "nodes": ("server_id", "state", "original_filename", "minutes_processing", "seconds_since_heartbeat", "host"),
    "stale": ("id", "original_filename", "processing_server_id", "minutes_processing", "minutes_without_progress",
              "verdict", "would_become"),
    "files": ("id", "original_filename", "processing_status", "processing_server_id", "last_at", "processing_errors"),
    "events": ("at", "kind", "outcome", "next_status", "file_id", "server_id", "reason", "actor"),
}  # fmt: skip


def info(given: argparse.Namespace) -> int:
    answer = server_info(settings_of(given))
    if given.json:
        show.as_json(answer)
    else:
        show.table([{"this process": key, "value": str(value)} for key, value in answer.items()])
    return 0


def requeue(given: argparse.Namespace) -> int:
    settings = settings_of(given)
    if not given.ids and not given.failed:
        raise SettingError("say which: opskit requeue ID…, or --failed for every failed file")
    with Database(settings, pooled=False) as db:
        rows = intake.requeue(
            db, given.ids, failed=given.failed, error=given.error, server_id=given.server, actor=_actor(),
            reason=given.reason,
        )  # fmt: skip
    if given.json:
        show.as_json({"environment": settings.env, "requeued": len(rows), "files": rows})
    else:
        show.table(rows, empty="no such file has ended; nothing was requeued")
        show.out.print(f"{len(rows)} files queued again ({settings.env})")
    return 0


def pause(given: argparse.Namespace) -> int:
    return _steer(given, nodes.pause, "paused", "was paused already")


def resume(given: argparse.Namespace) -> int:
    return _steer(given, nodes.resumption, "goes on", "was not paused")


def _steer(given: argparse.Namespace, action: Callable[..., bool | nodes.Resumption], done: str, nothing: str) -> int:
    settings = settings_of(given)
    if bool(given.node) == given.all:
        raise SettingError("say which: the server ID of one node, or --all")
    scope = "*" if given.all else given.node
    with Database(settings, pooled=False) as db:
        did = action(db, scope, actor=_actor(), reason=given.reason)
    resumed = did if isinstance(did, nodes.Resumption) else None
    changed = resumed.changed if resumed else bool(did)
    if given.json:
        answer = {"environment": settings.env, "scope": scope, "changed": changed}
        show.as_json(answer | ({"leftQuarantine": resumed.cured, "stillPaused": resumed.held} if resumed else {}))
    else:
        who = "every node" if given.all else scope
        more = resumed.more if resumed else ""
        show.out.print(f"{who} {done if changed else nothing}{more} ({settings.env})")
    return 0


def drain(given: argparse.Namespace) -> int:
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        nodes.drain(db, given.node, actor=_actor(), reason=given.reason)
    show.out.print(f"{given.node} finishes its file and stops ({settings.env})")
    return 0


def examine(given: argparse.Namespace) -> int:
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        findings = doctor.examine(db)
    if given.json:
        show.as_json({"environment": settings.env, "findings": [asdict(finding) for finding in findings]})
    else:
        rows = [asdict(finding) for finding in findings]
        show.table(rows, empty=f"all is well ({settings.env})", in_lines=("mend",))
    return 1 if any(finding.level == "error" for finding in findings) else 0


def prove(given: argparse.Namespace) -> int:
    from opskit.prove import prove

    def say(line: str) -> None:
        show.err.print(line)

    answer = prove(
        settings_of(given), nodes=given.nodes, files=given.files, seconds=given.seconds, seed=given.seed, say=say
    )
    if given.json:
        show.as_json(answer)
    else:
        rows = [{**promise, "holds": "yes" if promise["holds"] else "NO"} for promise in answer["promises"]]
        show.table(rows)
        show.out.print(", ".join(f"{count} {fault}" for fault, count in answer["faults"].items()), soft_wrap=True)
        for phrase in answer["wrong"]:
            show.out.print(phrase)
    return 0 if answer["holds"] else 1


def bench(given: argparse.Namespace) -> int:
    from opskit.bench import bench

    def say(line: str) -> None:
        show.err.print(line)

    answer = bench(settings_of(given), nodes=given.nodes, seconds=given.seconds, file_ms=given.file_ms, say=say)
    if given.json:
        show.as_json(answer)
    else:
        claim = answer["claim_ms"]
        show.table(
            [{"a claim": "complete one file, claim the next", "p50 [ms]": claim["p50"], "p99 [ms]": claim["p99"]}]
        )
        parts = {"network round trip": "round_trip_ms", "commit": "commit_ms", "the server's work": "server_ms"}
        show.table([{"of it": name, "[ms]": answer[key]} for name, key in parts.items()])
        show.table([{"nodes": one["nodes"], "files/s": one["files_per_second"]} for one in answer["rates"]])
        show.table(
            [{"a file takes [ms]": one["file_ms"], "nodes it can feed": one["nodes"]} for one in answer["feeds"]]
        )
        for sentence in answer["limits"]:
            show.out.print(sentence, soft_wrap=True)
    return 0


def prune(given: argparse.Namespace) -> int:
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        gone = nodes.prune(db, node_days=given.node_days, event_days=given.event_days)
    if given.json:
        show.as_json({"environment": settings.env, **gone})
    else:
        show.out.print(f"{gone['nodes']} nodes and {gone['events']} events dropped ({settings.env})")
    return 0


def dashboard(given: argparse.Namespace) -> int:
    try:
        from opskit.dashboard.serve import serve
    except ImportError as error:
        raise MissingExtraError(error.name or "streamlit", "ui") from None
    return serve(settings_of(given))


def database(given: argparse.Namespace) -> int:
    settings = settings_of(given)
    if given.what == "start":
        print(embedded.start(settings))
    elif given.what == "stop":
        show.err.print("stopped" if embedded.stop(settings) else "it was not running")
    elif given.what == "url":
        url = embedded.url(settings)
        if url is None:
            raise OpskitError("the embedded PostgreSQL is not running; start it with: opskit db start")
        print(url)
    else:
        return embedded.psql(settings, given.arguments)
    return 0


def notebooks(given: argparse.Namespace) -> int:
    from opskit import notebooks

    copied = notebooks.copy(given.folder, overwrite=given.overwrite)
    if given.json:
        show.as_json({"folder": given.folder, "copied": [str(path) for path in copied]})
    else:
        show.out.print(f"{len(copied)} notebooks copied to {given.folder}", soft_wrap=True)
        if not copied and not given.overwrite:
            show.err.print("those that are there were kept; --overwrite replaces them")
    return notebooks.open_lab(given.folder, settings_of(given)) if given.open else 0


def query(given: argparse.Namespace) -> int:
    print(queries.standalone(given.name.replace("-", "_")), end="")
    return 0


# -- the command line ------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """The command line: every verb with its own flags and those of the settings."""
    parser = argparse.ArgumentParser(
        prog="opskit",
        description="Process uploaded files on many nodes, each file once; see and steer it.",
        epilog="Exit codes: 0 done, 1 error (one sentence on stderr), 2 bad usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"opskit {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def add(name: str, verb: Verb, text: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(verb=verb, verbose=False)
        return one

    def finish(one: argparse.ArgumentParser, *, json: bool = True) -> None:
        if json:
            one.add_argument("--json", action="store_true", help="one JSON document on stdout")
        one.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
        add_settings(one)

    one = add("up", up, "everything at once: database, migration, files, nodes, page and API")
    one.add_argument("paths", nargs="*", metavar="PATH", help="files, folders and URLs to enqueue")
    one.add_argument("--nodes", type=_count, default=3, metavar="N", help="nodes to start; defaults to 3")
    one.add_argument("--no-dashboard", action="store_true", help="no page and no API")
    one.add_argument("--until-done", action="store_true", help="end when nothing is queued or processing")
    one.add_argument("--migrate", action="store_true", help="migrate also a database that is not the embedded one")
    finish(one)

    one = add("worker", worker, "run one node: claim and process files (also: python -m opskit.worker)")
    from opskit.worker import add_worker_flags

    add_worker_flags(one)
    add_settings(one)

    one = add("process", process, "process one file by hand, safe beside the scheduled nodes")
    one.add_argument("id", metavar="ID", help="the file's id")
    finish(one)

    one = add("migrate", migrate, "add what opskit needs to this environment's table")
    one.add_argument("--both", action="store_true", help="both environments' tables")
    one.add_argument(
        "--plan", action="store_true", help="print every statement with its lock and an estimate; run nothing"
    )
    choice = one.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="exit 1 if anything is missing; run nothing")
    choice.add_argument("--rollback", action="store_true", help="remove triggers, indexes, columns and our tables")
    choice.add_argument("--queue-new", action="store_true", help="cut over: new rows are queued from now on")
    choice.add_argument("--no-queue-new", action="store_true", help="undo the cut-over: new rows wait without a status")
    one.add_argument(
        "--wake", action=argparse.BooleanOptionalAction,
        help="whether an insert wakes waiting nodes (NOTIFY), or they only poll; as chosen before; at first it does",
    )  # fmt: skip
    one.add_argument("--yes", action="store_true", help="do not ask")
    finish(one)

    one = add("enqueue", enqueue, "queue files, folders and URLs, or adopt rows from before")
    one.add_argument("paths", nargs="*", metavar="PATH", help="files, folders and URLs")
    one.add_argument(
        "--set", action="append", default=[], metavar="COLUMN=VALUE", help="a value for a column of the application's"
    )
    one.add_argument("--skip-known", action="store_true", help="leave out paths that are in the table already")
    one.add_argument("--existing", action="store_true", help="adopt rows without a status instead")
    one.add_argument("--where", metavar="CONDITION", help="which rows to adopt, in SQL; defaults to all")
    one.add_argument("--dry-run", action="store_true", help="with --existing: only count")
    finish(one)

    one = add("cleanup", cleanup, "end stale claims and orphans")
    one.add_argument("claims", nargs="*", metavar="CLAIM", help="only these, as --dry-run names them in JSON")
    one.add_argument("--dry-run", action="store_true", help="show what would be ended, with the evidence")
    one.add_argument("--reason", default="", help="why, for the history")
    finish(one)

    one = add("stats", statistics, "show statistics")
    one.add_argument(
        "what", nargs="?", default="all", metavar="WHAT",
        choices=["all", "concurrency", "distribution", "longest-running", "stale", "nodes", "throughput", "failures",
                 "timeline", "files", "events", "pauses"],
        help="all (default), concurrency, distribution, longest-running, stale, nodes, throughput, failures, timeline, "
        "files, events or pauses",
    )  # fmt: skip
    finish(one)

    finish(add("info", info, "show this process: server ID, environment, version"))

    one = add("requeue", requeue, "queue files again that have ended, with a fresh retry budget")
    one.add_argument("ids", nargs="*", metavar="ID", help="files, failed or completed")
    one.add_argument("--failed", action="store_true", help="every failed file that --error and --server let through")
    one.add_argument("--error", default="", help="only this error, as `opskit stats failures` groups it")
    one.add_argument("--server", default="", metavar="NODE", help="only files that this node failed")
    one.add_argument("--reason", default="", help="why, for the history")
    finish(one)

    for name, verb, text in (
        ("pause", pause, "claim nothing more; work in hand goes on"),
        ("resume", resume, "claim again; ends a quarantine, too"),
    ):
        one = add(name, verb, text)
        one.add_argument("node", nargs="?", metavar="NODE", help="server ID of one node")
        one.add_argument("--all", action="store_true", help="all nodes")
        one.add_argument("--reason", default="", help="why, for the history")
        finish(one)

    one = add("drain", drain, "have a node finish its file and stop")
    one.add_argument("node", metavar="NODE", help="server ID of the node")
    one.add_argument("--reason", default="", help="why, for the history")
    finish(one, json=False)

    finish(add("doctor", examine, "say what is wrong and the command that mends it; exit 1 if there is an error"))

    one = add("prove", prove, "try the promises on this database, in a scratch schema that is dropped afterwards")
    one.add_argument("--nodes", type=_count, default=4, metavar="N", help="nodes that race, at least 3; defaults to 4")
    one.add_argument("--files", type=int, default=400, metavar="N", help="files they race for; defaults to 400")
    one.add_argument("--seconds", type=float, default=60, metavar="S", help="longest time [s]; defaults to 60")
    one.add_argument("--seed", type=int, default=1, metavar="N", help="of the moments of the faults; defaults to 1")
    finish(one)

    one = add("bench", bench, "measure what this database can do for nodes, in a scratch schema")
    one.add_argument("--nodes", type=_count, default=8, metavar="N", help="most nodes at once; defaults to 8")
    one.add_argument("--seconds", type=float, default=30, metavar="S", help="about how long [s]; defaults to 30")
    one.add_argument("--file-ms", type=float, metavar="MS", help="how long a file takes [ms]; defaults to a table")
    finish(one)

    one = add("prune", prune, "drop nodes silent for long and old events")
    one.add_argument("--node-days", type=float, default=7, metavar="DAYS", help="defaults to 7")
    one.add_argument("--event-days", type=float, default=90, metavar="DAYS", help="defaults to 90")
    finish(one)

    finish(add("dashboard", dashboard, "serve page and API"), json=False)

    one = add("notebooks", notebooks, "copy the notebooks to a folder, and open them")
    one.add_argument("folder", nargs="?", default="notebooks", metavar="DIR", help="defaults to notebooks")
    one.add_argument("--open", action="store_true", help="open them in JupyterLab, on the database of the settings")
    one.add_argument("--overwrite", action="store_true", help="replace those that are there already")
    finish(one)

    one = add("query", query, "print a query's SQL, ready for psql")
    one.add_argument("name", metavar="NAME", help="such as distribution")
    one.add_argument("-v", "--verbose", action="store_true", help=argparse.SUPPRESS)

    one = add("db", database, "start, stop or open the embedded PostgreSQL, or print its URL")
    one.add_argument("what", choices=["start", "stop", "url", "psql"], metavar="start|stop|url|psql")
    one.add_argument("arguments", nargs="*", metavar="ARG", help="for psql; after --")
    finish(one, json=False)
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 100")
    return number


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingError(f"--set is {text!r}; it must look like column=value")
    return name, value


def _actor() -> str:
    """Who stands behind a command, for the history."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return f"{os.getuid()}@{socket.gethostname()}"


def _confirm(given: argparse.Namespace, what: str) -> None:
    if given.yes:
        return
    if not sys.stdin.isatty():
        _refuse(f"{what}: say --yes to do it without being asked")
    show.err.print(f"This will {what}.")
    if input("Type yes to go on: ").strip() != "yes":
        _refuse("nothing was changed")


def _refuse(sentence: str) -> NoReturn:
    raise OpskitError(sentence)


if __name__ == "__main__":
    raise SystemExit(main())
