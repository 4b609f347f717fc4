"""What an operator may do from the page: each action is asked about, named with its environment, and recorded."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from opskit import access, intake, nodes, proxies, reaper
from opskit.dashboard import shared, signin, uploads
from opskit.database import Database, Row
from opskit.errors import ForbiddenError, OpskitError

VERDICTS = {
    "stale": "stale: no known node holds it",
    "hung": "hung: two looks saw no progress",
    "dead": "dead: its node's lease ran out, seen twice",
    "rebooted": "its node has started again since",
    "silent": "silent: lease ran out, second look needed",
    "stuck": "stuck: no progress, second look needed",
}
WRONG_TOKEN_SECONDS = 0.3

UPLOAD_BYTES = 1 << 30
"""Most bytes of one file; Streamlit's own limit (server.maxUploadSize) is the same."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an action came to, to be said on the page until the operator has read it."""

    sentence: str
    fine: bool = True
    requeue: tuple[str, ...] = ()
    lines: tuple[dict[str, Any], ...] = ()


# -- who may -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, as the page's connection told it."""

    host: str
    headers: Mapping[str, str]
    authorization: str | None


def client() -> Client:
    """The browser of this tab."""
    headers = st.context.headers
    token = st.session_state.get("token")
    return Client(
        # Streamlit says None for a client on this machine.
        host=st.context.ip_address or "127.0.0.1",
        headers=headers,
        authorization=f"Bearer {token}" if token else headers.get("Authorization"),
    )


def refusal() -> str | None:
    """Why this page may change nothing; None when it may."""
    try:
        allow()
    except ForbiddenError as error:
        return str(error)
    return None


def allow() -> None:
    """Return when this page's client may act.

    Raises:
        ForbiddenError: It may not.
    """
    asking, settings = client(), shared.settings()
    if signin.may_act():
        # An operator has shown who they are: that stands for the token, not for read-only mode or the Origin.
        settings = dataclasses.replace(settings, api_token="signed in")
        asking = dataclasses.replace(asking, authorization="Bearer signed in")
    access.writing_allowed(
        settings,
        client_host=asking.host,
        host_header=asking.headers.get("Host"),
        origin=asking.headers.get("Origin"),
        authorization=asking.authorization,
        forwarded=proxies.passed_on(asking.headers.items()),
    )


def unlock() -> None:
    """Where the token is given, when one is needed."""
    settings = shared.settings()
    if settings.api_token is None or settings.read_only or signin.roles():
        return
    open_already = refusal() is None
    label = "Unlocked" if open_already else "Unlock actions"
    icon = ":material/lock_open:" if open_already else ":material/lock:"
    with st.popover(label, icon=icon, width="content"):
        st.text_input("OPSKIT_API_TOKEN", type="password", key="token", persist_state="session", on_change=_slowed)
        st.caption("Kept for this tab only." if open_already else "Actions need the token of this installation.")


def _slowed() -> None:
    """A wrong token costs whoever tries it a moment."""
    if refusal() is not None:
        time.sleep(WRONG_TOKEN_SECONDS)


def actor(name: str = "") -> str:
    """Who acts, for the history."""
    user = signin.user()
    who = user.email if user is not None else name.strip()
    place = f"page, {client().host}"
    return f"{who} ({place})" if who else place


# -- the frame of every action -----------------------------------------------------------------


def button(label: str, *, icon: str, key: str, primary: bool = False, disabled: bool = False, why: str = "") -> bool:
    """A button that begins an action; it says why when it may not."""
    reason = refusal()
    pressed = st.button(
        label,
        icon=icon,
        key=key,
        type="primary" if primary else "secondary",
        disabled=disabled or reason is not None,
        help=reason or why or None,
    )
    # A button that looks dead can still be pressed by whoever writes the browser's messages by hand.
    return pressed and not disabled and reason is None


def ask(
    title: str, show: Callable[[], str], act: Callable[[Database, str, str], Result], *, recorded: bool = True
) -> None:
    """Show what would be done and to which environment; do it when the operator confirms.

    Args:
        title: The question.
        show: Draws the evidence and answers what the button that does it says; "" when there is nothing to do.
        act: Called with the database, the actor and the reason once it is confirmed.
        recorded: Whether the history keeps who did it and why; if so, they are asked for.
    """

    @st.dialog(title, width="large", on_dismiss="rerun")
    def dialog() -> None:
        # The dialog alone is drawn again after its button; the evidence is gone by then, so this comes first.
        if st.session_state.get("done"):
            st.rerun()
        where()
        try:
            verb = show()
        except OpskitError as error:
            shared.say_error(error)
            return
        if not verb:
            if st.button("Close", key="close"):
                st.rerun()
            return
        # Enter must not confirm: it is what one presses after typing a reason.
        with st.form("confirm", enter_to_submit=False, border=False):
            if recorded:
                known = signin.user()
                name, reason = st.columns([1, 2])
                name.text_input(
                    "Your name",
                    key="actor_name",
                    value=known.email if known else st.session_state.get("operator", ""),
                    disabled=known is not None,
                )
                reason.text_input("Reason", key="actor_reason", placeholder="goes to the history with your name")
            st.form_submit_button(verb, type="primary", on_click=perform, args=(act,), key="confirm_button")

    st.session_state["asking"] = True
    dialog()


def where() -> None:
    """The environment that an action is about to change, unmistakably."""
    settings = shared.settings()
    if settings.env == "production":
        st.error(f"This changes **PRODUCTION**, table `{settings.files}`.", icon=":material/warning:")
    else:
        st.info(f"This changes **{settings.env}**, table `{settings.files}`.", icon=":material/science:")


def perform(act: Callable[[Database, str, str], Result]) -> None:
    """Do a confirmed action, if this client may, and keep what it came to."""
    name, reason = st.session_state.get("actor_name", ""), st.session_state.get("actor_reason", "")
    st.session_state["operator"] = name or st.session_state.get("operator", "")
    try:
        allow()
        result = act(shared.database(), actor(name), reason.strip())
    except OpskitError as error:
        result = Result(str(error), fine=False)
    shared.forget()
    st.session_state.update(result=result, done=True, toast=True)


def results() -> None:
    """Say what the last action came to, until it is dismissed."""
    st.session_state.update(done=False, asking=False)
    uploads.refuse_here()
    result: Result | None = st.session_state.get("result")
    if result is None:
        return
    icon = ":material/check_circle:" if result.fine else ":material/block:"
    if st.session_state.pop("toast", False):
        st.toast(shared.escaped(result.sentence), icon=icon)
    with st.container(horizontal=True, vertical_alignment="center"):
        (st.success if result.fine else st.error)(shared.escaped(result.sentence), icon=icon, width="stretch")
        again = result.requeue and button(
            f"Requeue {shared.count(len(result.requeue), 'file')}…", icon=":material/replay:", key="requeue_result"
        )
        st.button("Dismiss", key="dismiss", on_click=lambda: st.session_state.pop("result", None))
    if result.lines:
        with st.expander("What became of each", icon=":material/list:"):
            st.dataframe(list(result.lines), hide_index=True)
    if again:
        requeue(result.requeue)


# -- the actions -------------------------------------------------------------------------------


def cleanup(chosen: Sequence[Row] | None = None) -> None:
    """Preview what a cleanup would end, with the evidence; end exactly that.

    Args:
        chosen: The claims that an operator has approved, as `reaper.preview` answers them. Defaults to all it finds.
    """
    found: list[Row] = []
    looked: list[bool] = []

    def show() -> str:
        # Opening counts as the first of the two looks; drawing it again must not.
        found[:] = reaper.preview(shared.database(), look=not looked) if chosen is None else chosen
        looked.append(True)
        if not found:
            st.success("No stale processing locks found: every claim has a live node that makes progress.")
            return ""
        fail = sum(row["would_become"] == "failed" for row in found)
        unsure = sum(row["verdict"] in ("silent", "stuck") for row in found)
        st.markdown(
            f"**{shared.count(len(found), 'claim')}** to end: {fail} would fail, "
            f"{len(found) - fail} would go back to the queue. "
            + (f"To be confirmed by a second look, two seconds from now: {unsure}. " if unsure else "")
            + "Each is judged anew; one that has moved on is left alone."
        )
        evidence(found)
        return f"End {shared.count(len(found), 'claim')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        return _cleaned(reaper.cleanup(db, claims=[row["claim"] for row in found], actor=actor, reason=reason), found)

    ask("Clean up stale processing locks", show, act)


def _cleaned(done: reaper.Cleanup, found: Sequence[Row]) -> Result:
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
            "File": shared.shown(row["original_filename"] or row["id"]),
            "Server": row["processing_server_id"] or "",
            "Became": became.get(row["claim"], ("skipped", ""))[0],
            "Why": became.get(row["claim"], ("", "it has moved on by itself"))[1],
        }
        for row in found
    ]
    return Result(sentence, requeue=failed, lines=tuple(lines))


def evidence(found: Sequence[dict[str, Any]]) -> None:
    """Every claim in question, and why."""
    st.dataframe(
        [
            {
                "File": shared.shown(row["original_filename"]),
                "Server": row["processing_server_id"],
                "Verdict": VERDICTS.get(row["verdict"], row["verdict"]),
                "Becomes": row["would_become"],
                "Held for": shared.span((row["minutes_processing"] or 0) * 60),
                "No progress for": shared.span((row["minutes_without_progress"] or 0) * 60),
                "Last heartbeat": "none known"
                if row["seconds_since_heartbeat"] is None
                else shared.span(row["seconds_since_heartbeat"]) + " ago",
                "Bad attempts": row["processing_failures"],
            }
            for row in found
        ],
        hide_index=True,
    )


def pause(scope: str = "*") -> None:
    """Pause one node, or all."""

    def act(db: Database, actor: str, reason: str) -> Result:
        changed = nodes.pause(db, scope, actor=actor, reason=reason)
        return Result(f"Paused {_named(scope)}." if changed else f"{_capital(_named(scope))} was paused already.")

    def show() -> str:
        who = "No node" if scope == "*" else f"{shared.escaped(scope)} no longer"
        st.markdown(f"**{who}** claims a new file until resumed; work in hand goes on.")
        return "Pause"

    ask(f"Pause {shared.escaped(_named(scope))}?", show, act)


def resume(scope: str = "*") -> None:
    """Resume one node, or all."""

    def act(db: Database, actor: str, reason: str) -> Result:
        did = nodes.resumption(db, scope, actor=actor, reason=reason)
        if did.changed:
            return Result(f"Resumed {_named(scope)}{did.more}.")
        everyone = "There was no pause of all nodes, and none was in quarantine"
        was = everyone if scope == "*" else f"{scope} was neither paused nor in quarantine"
        return Result(f"{was}{did.more}.", fine=False)

    def show() -> str:
        note = "This also ends a quarantine."
        if scope == "*":
            note = "This also ends every quarantine. Nodes that were paused by name stay paused."
        st.markdown(f"**{shared.escaped(_capital(_named(scope)))}** may claim files again. {note}")
        return "Resume"

    ask(f"Resume {shared.escaped(_named(scope))}?", show, act)


def drain(server_id: str) -> None:
    """Tell a node to finish its file and stop."""

    def act(db: Database, actor: str, reason: str) -> Result:
        nodes.drain(db, server_id, actor=actor, reason=reason)
        return Result(f"{server_id} is draining: it finishes its file and stops.")

    def show() -> str:
        st.markdown(
            f"**{shared.escaped(server_id)}** finishes the file in hand, claims nothing more and stops. "
            "It comes back only when it is started again."
        )
        return "Drain"

    ask(f"Drain {shared.escaped(server_id)}?", show, act)


def requeue(ids: Sequence[str], names: Sequence[str] = ()) -> None:
    """Queue given files again."""

    def show() -> str:
        st.markdown(
            f"**{shared.count(len(ids), 'file')}** would go back to the queue with a fresh retry budget. "
            "A file that is running or queued by then is left alone."
        )
        for name in names[:20]:
            st.markdown(f"- {shared.escaped(name)}")
        return f"Requeue {shared.count(len(ids), 'file')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = intake.requeue(db, ids, actor=actor, reason=reason)
        return _requeued(len(done), len(ids) - len(done))

    ask(f"Requeue {shared.count(len(ids), 'file')}?", show, act)


def requeue_group(error: str, file_count: int) -> None:
    """Queue every failed file of one error again."""

    def show() -> str:
        st.markdown(f"**{shared.count(file_count, 'failed file')}** with this error would go back to the queue:")
        st.code(error, language=None, wrap_lines=True)
        return f"Requeue {shared.count(file_count, 'file')}"

    def act(db: Database, actor: str, reason: str) -> Result:
        done = intake.requeue(db, failed=True, error=error, actor=actor, reason=reason)
        return _requeued(len(done)) if done else Result(f"0 files requeued: {_who_was_first(db)}.", fine=False)

    ask(f"Requeue {shared.count(file_count, 'file')}?", show, act)


def upload() -> None:
    """Queue files from the operator's own machine."""
    chosen: list[UploadedFile] = []

    def show() -> str:
        allow()  # a dialog that was opened an hour ago is no right
        uploads.allow_here()
        chosen[:] = st.file_uploader("Files", accept_multiple_files=True, key="upload")
        return f"Queue {shared.count(len(chosen), 'file')}" if chosen else ""

    def act(db: Database, actor: str, reason: str) -> Result:
        done = intake.upload(db, [(file.name, file) for file in chosen], limit_bytes=UPLOAD_BYTES)
        uploads.refuse_here()
        queued = sum(file["id"] is not None for file in done)
        known = (
            f", {len(done) - queued} left out because the same bytes are there already" if queued < len(done) else ""
        )
        return Result(f"{shared.count(queued, 'file')} queued{known}.")

    ask("Upload files", show, act, recorded=False)


def _who_was_first(db: Database) -> str:
    last = db.run("events", file_id="", kind="requeue", row_limit=1)
    if not last:
        return "no file has failed with this error any more"
    return f"no file has failed with this error any more; {last[0]['actor']} requeued last, at {_clock(last[0]['at'])}"


def _clock(moment: datetime) -> str:
    return f"{shared.local(moment):%H:%M:%S} {shared.zone()}"


def _requeued(done: int, skipped: int = 0) -> Result:
    left = f", {skipped} skipped because they moved" if skipped else ""
    return Result(f"{shared.count(done, 'file')} requeued{left}.", fine=done > 0 or not skipped)


def _named(scope: str) -> str:
    return "all nodes" if scope == "*" else scope


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text == "all nodes" else text
