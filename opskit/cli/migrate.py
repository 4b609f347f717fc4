"""The migration: run it, plan it, check it, roll it back, cut over."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from opskit import migration
from opskit.cli.verbs import Verbs, actor, confirm
from opskit.database import Database
from opskit.errors import SettingError
from opskit.settings.command_line import settings_of
from opskit.support import console, wording


def add_migrate(verbs: Verbs) -> None:
    """Add `opskit migrate`."""
    one = verbs.add("migrate", migrate, "add what opskit needs to this environment's table")
    one.add_argument("--both", action="store_true", help="both environments' tables")
    one.add_argument(
        "--plan", action="store_true", help="print every statement with its lock and an estimate; run nothing"
    )
    choice = one.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="exit 1 if anything is missing; run nothing")
    choice.add_argument("--rollback", action="store_true", help="remove triggers, indexes, columns and our tables")
    choice.add_argument("--queue-new", action="store_true", help="cut over: new rows are queued from now on")
    choice.add_argument("--no-queue-new", action="store_true", help="undo the cut-over: new rows wait without a status")
    choice.add_argument("--lane-column", metavar="COLUMN", help="lanes: the values of this column take turns")
    choice.add_argument("--no-lanes", action="store_true", help="no lanes: files are taken in the order of the queue")
    one.add_argument(
        "--wake", action=argparse.BooleanOptionalAction,
        help="whether an insert wakes waiting nodes (NOTIFY), or they only poll; as chosen before; at first it does",
    )  # fmt: skip
    one.add_argument("--yes", action="store_true", help="do not ask")
    verbs.finish(one)


def migrate(given: argparse.Namespace) -> int:
    """Migrate one table or both, or say what would be done."""
    settings = settings_of(given)
    if given.plan and given.check:
        raise SettingError("--check runs nothing; it takes no --plan")
    with Database(settings, pooled=False) as db:
        answers = [_migrate_one(one, given) for one in migration.both(db)] if given.both else [_migrate_one(db, given)]
    if given.json:
        console.as_json(answers)
    return 1 if given.check and any(answer["missing"] for answer in answers) else 0


def _migrate_one(db: Database, given: argparse.Namespace) -> dict[str, Any]:
    env, table = db.settings.env, db.settings.files
    answer: dict[str, Any] = {"environment": env, "table": table, "missing": migration.missing(db)}
    if given.rollback and not given.plan:
        confirm(given, f"roll back {table} ({env}): drop the columns that opskit added, its history and its nodes")
    with console.progress(quiet=given.json) as bar:
        say = bar.line
        if given.check:
            for phrase in answer["missing"]:
                say(f"{env}: {phrase}")
            left_out = "" if migration.wakes(db) else "; the wake-up is left out: nodes see a new file when they poll"
            say(f"{env}: {'not migrated; run: opskit migrate' if answer['missing'] else 'migrated' + left_out}")
        elif given.plan:
            answer |= _planned(db, given, say)
        elif given.rollback:
            answer["ran"] = [asdict(step) for step in migration.rollback(db, confirm=table, on_line=say)]
        elif given.queue_new or given.no_queue_new:
            migration.queue_new(db, on=given.queue_new)
            since = "are queued from now on" if given.queue_new else "wait without a status"
            say(f"{env}: new rows of {table} {since}")
        elif given.lane_column is not None or given.no_lanes:
            ran_lanes = migration.set_lanes(db, given.lane_column, actor=actor(), on_line=say, on_progress=bar.at)
            answer["ran"], answer["lanes"] = [asdict(step) for step in ran_lanes], given.lane_column
            now = f"the lanes of {table} are the values of {given.lane_column}"
            say(f"{env}: {now if given.lane_column else f'{table} has no lanes'}")
        else:
            ran = migration.migrate(db, wake=given.wake, actor=actor(), on_line=say, on_progress=bar.at)
            answer["ran"], cleaned = [asdict(step) for step in ran], ran.cleaned
            answer["cleaned"] = len(cleaned.ended)
            answer["missing"] = migration.missing(db)
            say(f"{env}: {wording.count(len(answer['ran']), 'statement')}, {table} is migrated; {cleaned.message}")
            if not migration.queues_new(db):
                say(f"{env}: new rows of {table} wait without a status until: opskit migrate --queue-new")
    return answer


def _planned(db: Database, given: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """What would be run, how long it takes, who is in the way; for a cut-over, what it changes and for whom."""
    env, table = db.settings.env, db.settings.files
    answer: dict[str, Any] = {}
    cut_over = given.queue_new or given.no_queue_new
    if cut_over:
        steps = [migration.cut_over_step(db, on=given.queue_new)]
        answer["cut_over"] = migration.preview(db, on=given.queue_new)
    elif given.lane_column is not None or given.no_lanes:
        steps = migration.plan_lanes(db, given.lane_column)
    else:
        steps = migration.plan_rollback(db) if given.rollback else migration.plan(db, wake=given.wake)
    estimate, survey = migration.estimate(db, steps), migration.survey(db)
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
        say(f"{table} is {survey['bytes'] / 2**20:,.0f} MB, about {wording.count(survey['rows_estimated'], 'row')}")
    for one in survey["in_the_way"]:
        waits = f"it holds {one['lock']}: every statement" if one["lock"] else "it has a snapshot: an index"
        say(f"in the way now: {migration.blocker(one)}")
        say(f"  {waits} has to wait for it; {' '.join((one['query'] or '').split())}")
    if cut_over:
        for sentence in answer["cut_over"]["sentences"]:
            say(f"{env}: {sentence}")
    say(
        f"{env}: {wording.count(len(steps), 'statement')} would be run on {table}, "
        f"in about {wording.span(max(1, estimate.total_seconds))}"
    )
    if not (cut_over or given.rollback):
        minutes = db.settings.stale_after_seconds / 60
        say(f"  then, as by `opskit cleanup`: what a server unknown to opskit has processed for {minutes:g} min fails")
    if any(step.reads for step in steps):
        say(f"  {estimate.how}")
    return answer


def _work(step: migration.Step, seconds: float) -> str:
    """The work of a step: what it does to the table, and for how long."""
    if not step.reads:
        return "reads and rewrites nothing"
    times = "once" if step.reads == 1 else "twice"
    return f"reads {step.table} {times}, rewrites nothing, about {wording.span(max(1, seconds))}"


def _rendered(step: migration.Step) -> str:
    """A step as psql could run it: as we do, never waiting long for a lock."""
    if not step.transactional:
        return f"SET statement_timeout = 0;\n{step.sql};"
    limits = f"SET LOCAL lock_timeout = '{migration.LOCK_SECONDS:g}s';\nSET LOCAL statement_timeout = 0;"
    return f"BEGIN;\n{limits}\n{step.sql};\nCOMMIT;"
