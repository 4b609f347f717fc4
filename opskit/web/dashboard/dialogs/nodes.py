"""Ask before nodes are paused, resumed, drained or forgotten; one or several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from opskit import queue
from opskit.database import Database
from opskit.errors import OpskitError
from opskit.queue import nodes
from opskit.support import wording
from opskit.web.dashboard import markdown
from opskit.web.dashboard.dialogs.asking import Result, ask


def ask_pause(scopes: Sequence[str] = ("*",)) -> None:
    """Ask, then pause nodes, or all."""

    def act(db: Database, actor: str, reason: str) -> Result:
        def one(scope: str) -> tuple[str, bool]:
            changed = bool(queue.pause(db, scope, actor=actor, reason=reason))
            return "paused" if changed else "was paused already", changed

        return _steered("Paused", scopes, one)

    def show() -> str:
        who = "No node" if "*" in scopes else f"{_escaped(scopes)} no longer"
        st.markdown(f"**{who}** claims a new file until resumed; work in hand goes on.")
        return _verb("Pause", scopes)

    ask(f"Pause {_escaped(scopes)}?", show, act)


def ask_resume(scopes: Sequence[str] = ("*",)) -> None:
    """Ask, then resume nodes, or all."""

    def act(db: Database, actor: str, reason: str) -> Result:
        def one(scope: str) -> tuple[str, bool]:
            did = nodes.resumption(db, scope, actor=actor, reason=reason)
            return f"{'resumed' if did.changed else 'was neither paused nor in quarantine'}{did.more}", did.changed

        if "*" not in scopes:
            return _steered("Resumed", scopes, one)
        did = nodes.resumption(db, actor=actor, reason=reason)
        if did.changed:
            return Result(f"Resumed all nodes{did.more}.")
        return Result(f"There was no pause of all nodes, and none was in quarantine{did.more}.", fine=False)

    def show() -> str:
        note = "This also ends a quarantine."
        if "*" in scopes:
            note = "This also ends every quarantine. Nodes that were paused by name stay paused."
        st.markdown(f"**{_capital(_escaped(scopes))}** may claim files again. {note}")
        return _verb("Resume", scopes)

    ask(f"Resume {_escaped(scopes)}?", show, act)


def ask_drain(server_ids: Sequence[str]) -> None:
    """Ask, then tell nodes to finish their files and stop."""

    def act(db: Database, actor: str, reason: str) -> Result:
        def one(server_id: str) -> tuple[str, bool]:
            queue.drain(db, server_id, actor=actor, reason=reason)
            return "drains: it finishes its file and stops", True

        return _steered("Told to drain", server_ids, one)

    def show() -> str:
        many = len(server_ids) > 1
        st.markdown(
            f"**{_escaped(server_ids)}** {'finish the files' if many else 'finishes the file'} in hand, "
            f"{'claim' if many else 'claims'} nothing more and {'stop' if many else 'stops'}. "
            f"{'They come' if many else 'It comes'} back only when started again."
        )
        return _verb("Drain", server_ids)

    ask(f"Drain {_escaped(server_ids)}?", show, act)


def ask_forget(server_ids: Sequence[str]) -> None:
    """Ask, then forget nodes that are gone."""

    def act(db: Database, actor: str, reason: str) -> Result:
        gone = queue.forget(db, server_ids, actor=actor, reason=reason)
        kept = [name for name in server_ids if name not in gone]
        left = f"; {wording.named(kept)} left alone, alive or with a file in hand" if kept else ""
        return Result(f"Forgot {wording.count(len(gone), 'node')}{left}.", fine=bool(gone))

    def show() -> str:
        st.markdown(
            f"**{_escaped(server_ids)}** would be no warning any more; the history keeps what was done there. "
            "A node that is alive or holds a file is left alone, and one that starts again registers again."
        )
        return _verb("Forget", server_ids)

    ask(f"Forget {_escaped(server_ids)}?", show, act)


def _steered(done: str, scopes: Sequence[str], one: Callable[[str], tuple[str, bool]]) -> Result:
    """Do something with each node; what is refused for one does not keep it from the others.

    Args:
        done: What the sentence says of those that were changed.
        scopes: The nodes.
        one: Does it; returns what became of the node, and whether that is a change.
    """
    lines, changed, failed = [], 0, 0
    for scope in scopes:
        try:
            became, new = one(scope)
            changed += new
        except OpskitError as error:
            became, failed = str(error), failed + 1
        lines.append({"Node": scope, "Became": became})
    if len(scopes) == 1:
        who = "" if failed else f"{_capital(_named(scopes[0]))} "
        return Result(f"{who}{lines[0]['Became']}.", fine=not failed)
    alike = len(scopes) - changed - failed
    left = f", {alike} left as before" if alike else ""
    refused = f", {failed} refused" if failed else ""
    return Result(f"{done} {wording.count(changed, 'node')}{left}{refused}.", fine=bool(changed), lines=tuple(lines))


def _verb(verb: str, scopes: Sequence[str]) -> str:
    return f"{verb} {wording.count(len(scopes), 'node')}" if len(scopes) > 1 else verb


def _escaped(scopes: Sequence[str]) -> str:
    return markdown.escaped(wording.named(map(_named, scopes)))


def _named(scope: str) -> str:
    return "all nodes" if scope == "*" else scope


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text == "all nodes" else text
