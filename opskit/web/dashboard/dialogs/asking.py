"""The dialog before each action: what it changes, in which environment, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from opskit.database import Database
from opskit.errors import OpskitError
from opskit.web.dashboard import banners, readings, sign_in
from opskit.web.dashboard.permission import actor, allow


@dataclass(frozen=True, slots=True)
class Result:
    """What an action came to, to be said on the page until the operator has read it."""

    sentence: str
    fine: bool = True
    requeue: tuple[str, ...] = ()
    lines: tuple[dict[str, Any], ...] = ()


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
            banners.say_error(error)
            return
        if not verb:
            if st.button("Close", key="close"):
                st.rerun()
            return
        # Enter must not confirm: it is what one presses after typing a reason.
        with st.form("confirm", enter_to_submit=False, border=False):
            if recorded:
                known = sign_in.user()
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
    settings = readings.settings()
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
        result = act(readings.database(), actor(name), reason.strip())
    except OpskitError as error:
        result = Result(str(error), fine=False)
    readings.forget()
    st.session_state.update(result=result, done=True, toast=True)
