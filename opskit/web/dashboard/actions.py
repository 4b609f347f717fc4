"""What an operator may do from the page: each action is asked about, named with its environment, and recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from opskit import queue
from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import OpskitError
from opskit.queue import nodes, reaper
from opskit.support import wording
from opskit.web.dashboard import markdown, meanwhile, readings, uploads
from opskit.web.dashboard.dialog import Result, ask, button
from opskit.web.dashboard.permission import allow

VERDICTS = {
    "stale": "stale: no known node holds it",
    "hung": "hung: two looks saw no progress",
    "dead": "dead: its node's lease ran out, seen twice",
    "rebooted": "its node has started again since",
    "silent": "silent: lease ran out, second look needed",
    "stuck": "stuck: no progress, second look needed",
}
UPLOAD_BYTES = 1 << 30
"""Most bytes of one file; Streamlit's own limit (server.maxUploadSize) is the same."""


def results() -> None:
    """Say what the last action came to, until it is dismissed."""
    st.session_state.update(done=False, asking=False)
    uploads.refuse_here()
    result: Result | None = st.session_state.get("result")
    if result is None:
        return
    icon = ":material/check_circle:" if result.fine else ":material/block:"
    if st.session_state.pop("toast", False):
        st.toast(markdown.escaped(result.sentence), icon=icon)
    with st.container(horizontal=True, vertical_alignment="center"):
        (st.success if result.fine else st.error)(markdown.escaped(result.sentence), icon=icon, width="stretch")
        again = result.requeue and button(
            f"Requeue {wording.count(len(result.requeue), 'file')}…", icon=":material/replay:", key="requeue_result"
        )
        st.button("Dismiss", key="dismiss", on_click=lambda: st.session_state.pop("result", None))
    if result.lines:
        with st.expander("What became of each", icon=":material/list:"):
            st.dataframe(list(result.lines), hide_index=True)
    if again:
        requeue(result.requeue)


def cleanup(chosen: Sequence[Row] | None = None) -> None:
    """Preview what a cleanup would end, with the evidence; end exactly that.

    Args:
        chosen: The claims that an operator has approved, as `reaper.preview` answers them. Defaults to all it finds.
    """
    found: list[Row] = []
    looked: list[bool] = []

    def show() -> str:
        # Opening counts as the first of the two looks; drawing it again must not.
        found[:] = queue.preview(readings.database(), look=not looked) if chosen is None else chosen
        looked.append(True)
        if not found:
            st.success("No stale processing locks found: every claim has a live node that makes progress.")
            return ""
        fail = sum(row["would_become"] == "failed" for row in found)
        unsure = sum(row["verdict"] in ("silent", "stuck") for row in found)
        st.markdown(
            f"**{wording.count(len(found), 'claim')}** to end: {fail} would fail, "
            f"{len(found) - fail} would go back to the queue. "
            + (f"To be confirmed by a second look, two seconds from now: {unsure}. " if unsure else "")
            + "Each is judged anew; one that has moved on is left alone."
        )
        evidence(found)
        return f"End {wording.count(len(found), 'claim')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.cleanup(db, claims=[row["claim"] for row in found], actor=actor, reason=reason)
        return _cleaned(done, found, meanwhile.enders(db, found, done.skipped))

    ask("Clean up stale processing locks", show, act)


def _cleaned(done: reaper.Cleanup, found: Sequence[Row], why: Mapping[str, str]) -> Result:
    failed = tuple(str(row["id"]) for row in done.ended if row["outcome"] == "failed")
    sentence = (
        f"{len(done.ended)} ended, {len(done.pending)} pending a second look, "
        f"{len(done.skipped)} skipped because they moved."
    )
    if done.pending:
        sentence += " Clean up again in two seconds for the pending ones."
    became = {row["claim"]: (row["outcome"], row["reason"]) for row in (*done.ended, *done.pending)}
    lines = [
        {
            "File": readings.shown(row["original_filename"] or row["id"]),
            "Server": row["processing_server_id"] or "",
            "Became": became.get(row["claim"], ("skipped", ""))[0],
            "Why": became[row["claim"]][1] if row["claim"] in became else why.get(row["claim"], ""),
        }
        for row in found
    ]
    return Result(sentence, fine=bool(became), requeue=failed, lines=tuple(lines))


def evidence(found: Sequence[dict[str, Any]]) -> None:
    """Every claim in question, and why."""
    st.dataframe(
        [
            {
                "File": readings.shown(row["original_filename"]),
                "Server": row["processing_server_id"],
                "Verdict": VERDICTS.get(row["verdict"], row["verdict"]),
                "Becomes": row["would_become"],
                "Held for": wording.span((row["minutes_processing"] or 0) * 60),
                "No progress for": wording.span((row["minutes_without_progress"] or 0) * 60),
                "Last heartbeat": "none known"
                if row["seconds_since_heartbeat"] is None
                else wording.span(row["seconds_since_heartbeat"]) + " ago",
                "Bad attempts": row["processing_failures"],
            }
            for row in found
        ],
        hide_index=True,
    )


def pause(scopes: Sequence[str] = ("*",)) -> None:
    """Pause nodes, or all."""

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


def resume(scopes: Sequence[str] = ("*",)) -> None:
    """Resume nodes, or all."""

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


def drain(server_ids: Sequence[str]) -> None:
    """Tell nodes to finish their files and stop."""

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


def forget(server_ids: Sequence[str]) -> None:
    """Forget nodes that are gone."""

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


def requeue(ids: Sequence[str], names: Sequence[str] = ()) -> None:
    """Queue given files again."""

    def show() -> str:
        st.markdown(
            f"**{wording.count(len(ids), 'file')}** would go back to the queue with a fresh retry budget. "
            "A file that is running or queued by then is left alone."
        )
        _first(names)
        return f"Requeue {wording.count(len(ids), 'file')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.requeue(db, ids, actor=actor, reason=reason)
        return _requeued(len(done), len(ids) - len(done))

    ask(f"Requeue {wording.count(len(ids), 'file')}?", show, act)


def cancel(ids: Sequence[str], names: Sequence[str] = ()) -> None:
    """Cancel given files."""

    def show() -> str:
        st.markdown(
            f"**{wording.count(len(ids), 'file')}** would fail at once, and nothing tries them again by itself. "
            "The processor of a running one is killed. A file that has ended by then is left alone."
        )
        _first(names)
        return f"Cancel {wording.count(len(ids), 'file')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.cancel(db, ids, actor=actor, reason=reason)
        skipped = f", {len(done.skipped)} skipped because they moved" if done.skipped else ""
        lines = [
            {
                "File": readings.shown(row["original_filename"] or row["id"]),
                "Became": row["outcome"],
                "Why": row["reason"] or "",
            }
            for row in (*done.ended, *done.asked, *done.kept)
        ]
        return Result(f"{done.message}{skipped}.", fine=bool(done.ended or done.asked), lines=tuple(lines))

    ask(f"Cancel {wording.count(len(ids), 'file')}?", show, act)


def expedite(ids: Sequence[str], names: Sequence[str] = ()) -> None:
    """Give given files a head start in the queue."""
    hours: list[float] = []

    def show() -> str:
        st.markdown(
            f"**{wording.count(len(ids), 'file')}** would take a place in the queue as if so much older, and overtake "
            "what came within that time. Nothing starves; waits are told without it."
        )
        _first(names)
        hours[:] = [st.number_input("Head start [hours]", min_value=0.0, max_value=8784.0, value=1.0, key="head_start")]
        return f"Expedite {wording.count(len(ids), 'file')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.expedite(db, ids, ahead_seconds=hours[0] * 3600, actor=actor, reason=reason)
        left = f", {len(ids) - len(done)} skipped because they are not queued" if len(done) < len(ids) else ""
        return Result(f"{wording.count(len(done), 'file')} moved ahead{left}.", fine=bool(done))

    ask(f"Expedite {wording.count(len(ids), 'file')}?", show, act)


def _first(names: Sequence[str]) -> None:
    """The first of the files that are meant, and how many more there are."""
    for name in names[:20]:
        st.markdown(f"- {markdown.escaped(name)}")
    if len(names) > 20:
        st.caption(f"and {len(names) - 20:,} more")


def undo(act: int) -> None:
    """Undo an act: exactly what stands so still, counted anew when it is confirmed."""

    def show() -> str:
        would = queue.preview_undo(readings.database(), act)
        st.markdown(markdown.escaped(readings.capital(would.message)) + ".")
        _first([row["original_filename"] or row["id"] for row in would.files])
        if not would:
            return ""
        return "Resume" if would.how == "resume" else f"Requeue {wording.count(len(would.files), 'file')}"

    def act_(db: Database, actor: str, reason: str) -> Result:
        done = queue.undo(db, act, actor=actor, reason=reason)
        return Result(f"{readings.capital(done.message)}.", fine=bool(done))

    ask("Undo this act?", show, act_)


def requeue_group(error: str, file_count: int, lane: str = "") -> None:
    """Queue every failed file of one error again; of one lane alone where it is named."""
    of_lane = f" of lane {markdown.escaped(lane)}" if lane else ""

    def show() -> str:
        st.markdown(
            f"**{wording.count(file_count, 'failed file')}** with this error{of_lane} would go back to the queue:"
        )
        st.code(error, language=None, wrap_lines=True)
        return f"Requeue {wording.count(file_count, 'file')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.requeue(db, failed=True, error=error, lane=lane, actor=actor, reason=reason)
        return _requeued(len(done)) if done else Result(f"0 files requeued: {meanwhile.last_requeue(db)}.", fine=False)

    ask(f"Requeue {wording.count(file_count, 'file')}?", show, act)


def upload() -> None:
    """Queue files from the operator's own machine."""
    chosen: list[UploadedFile] = []

    def show() -> str:
        allow()  # a dialog that was opened an hour ago is no right
        uploads.allow_here()
        chosen[:] = st.file_uploader("Files", accept_multiple_files=True, key="upload")
        return f"Queue {wording.count(len(chosen), 'file')}" if chosen else ""

    def act(db: Database, actor: str, reason: str) -> Result:
        done = queue.upload(db, [(file.name, file) for file in chosen], limit_bytes=UPLOAD_BYTES)
        uploads.refuse_here()
        queued = sum(file["id"] is not None for file in done)
        known = (
            f", {len(done) - queued} left out because the same bytes are there already" if queued < len(done) else ""
        )
        return Result(f"{wording.count(queued, 'file')} queued{known}.")

    ask("Upload files", show, act, recorded=False)


def _requeued(done: int, skipped: int = 0) -> Result:
    left = f", {skipped} skipped because they moved" if skipped else ""
    return Result(f"{wording.count(done, 'file')} requeued{left}.", fine=done > 0 or not skipped)


def _named(scope: str) -> str:
    return "all nodes" if scope == "*" else scope


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text == "all nodes" else text
