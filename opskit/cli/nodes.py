"""Nodes: run one, pause, resume, drain, prune."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from opskit import queue
from opskit.cli.verbs import Verb, Verbs, actor
from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import nodes
from opskit.queue.control import Change
from opskit.settings.command_line import add_settings, settings_of
from opskit.support import console
from opskit.support.wording import count


def add_worker(verbs: Verbs) -> None:
    """Add `opskit worker`."""
    one = verbs.add(
        "worker", worker, "run one node, or a pool of them: claim and process files (also: python -m opskit.worker)"
    )
    from opskit.worker.command import add_worker_flags

    add_worker_flags(one)
    add_settings(one)


def worker(given: argparse.Namespace) -> int:
    """Run one node."""
    from opskit.worker.command import run_given

    return run_given(given)


def add_pause(verbs: Verbs) -> None:
    """Add `opskit pause`."""
    _add_steering(verbs, "pause", pause, "claim nothing more; work in hand goes on")


def add_resume(verbs: Verbs) -> None:
    """Add `opskit resume`."""
    _add_steering(verbs, "resume", resume, "claim again; ends a quarantine, too")


def _add_steering(verbs: Verbs, name: str, verb: Verb, text: str) -> None:
    one = verbs.add(name, verb, text)
    one.add_argument("node", nargs="?", metavar="NODE", help="server ID of one node")
    one.add_argument("--all", action="store_true", help="all nodes")
    one.add_argument("--reason", default="", help="why, for the history")
    verbs.finish(one)


def pause(given: argparse.Namespace) -> int:
    """Pause one node or all."""
    return _steer(given, queue.pause, "paused", "was paused already")


def resume(given: argparse.Namespace) -> int:
    """Resume one node or all."""
    return _steer(given, nodes.resumption, "goes on", "was not paused")


def _steer(given: argparse.Namespace, action: Callable[..., Change | nodes.Resumption], done: str, nothing: str) -> int:
    settings = settings_of(given)
    if bool(given.node) == given.all:
        raise SettingError("say which: the server ID of one node, or --all")
    scope = "*" if given.all else given.node
    with Database(settings, pooled=False) as db:
        did = action(db, scope, actor=actor(), reason=given.reason)
    resumed = did if isinstance(did, nodes.Resumption) else None
    changed = bool(did)
    if given.json:
        answer = {"environment": settings.env, "scope": scope, "changed": changed}
        console.as_json(
            answer | ({"leftQuarantine": resumed.cured, "stillPaused": resumed.held} if resumed is not None else {})
        )
    else:
        who = "every node" if given.all else scope
        more = resumed.more if resumed is not None else ""
        console.out.print(f"{who} {done if changed else nothing}{more} ({settings.env})")
    return 0


def add_drain(verbs: Verbs) -> None:
    """Add `opskit drain`."""
    one = verbs.add("drain", drain, "have a node finish its file and stop")
    one.add_argument("node", metavar="NODE", help="server ID of the node")
    one.add_argument("--reason", default="", help="why, for the history")
    verbs.finish(one, json=False)


def drain(given: argparse.Namespace) -> int:
    """Have a node finish its file and stop."""
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        queue.drain(db, given.node, actor=actor(), reason=given.reason)
    console.out.print(f"{given.node} finishes its file and stops ({settings.env})")
    return 0


def add_forget(verbs: Verbs) -> None:
    """Add `opskit forget`."""
    one = verbs.add("forget", forget, "forget nodes that are gone, so that they are no warning any more")
    one.add_argument("nodes", nargs="+", metavar="NODE", help="server IDs of nodes that have stopped or died")
    one.add_argument("--reason", default="", help="why, for the history")
    verbs.finish(one)


def forget(given: argparse.Namespace) -> int:
    """Forget nodes that are gone."""
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        gone = queue.forget(db, given.nodes, actor=actor(), reason=given.reason)
    kept = [node for node in given.nodes if node not in gone]
    if given.json:
        console.as_json({"environment": settings.env, "forgotten": gone, "kept": kept})
    else:
        if gone:
            console.out.print(f"forgotten: {', '.join(gone)} ({settings.env})")
        if kept:
            console.out.print(f"left alone, alive, with a file in hand or unknown: {', '.join(kept)} ({settings.env})")
    return 1 if kept else 0


def add_prune(verbs: Verbs) -> None:
    """Add `opskit prune`."""
    one = verbs.add("prune", prune, "drop nodes silent for long, old events and old logs")
    one.add_argument("--node-days", type=float, default=7, metavar="DAYS", help="defaults to 7")
    one.add_argument("--event-days", type=float, default=90, metavar="DAYS", help="defaults to 90")
    verbs.finish(one)


def prune(given: argparse.Namespace) -> int:
    """Drop nodes that are silent for long, and old events."""
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        gone = queue.prune(db, node_days=given.node_days, event_days=given.event_days)
    if given.json:
        console.as_json({"environment": settings.env, **gone})
    else:
        console.out.print(
            f"{count(gone['nodes'], 'node')}, {count(gone['events'], 'event')} and "
            f"{count(gone['logs'], 'piece of logs', 'pieces of logs')} dropped ({settings.env})"
        )
    return 0
