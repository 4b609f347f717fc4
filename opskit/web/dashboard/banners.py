"""The lines above the pages: how old the numbers are, and what is said while the database is away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import streamlit as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState

from opskit.doctor.finding import command
from opskit.errors import DatabaseUnavailableError, NotMigratedError, OpskitError
from opskit.support.wording import span
from opskit.web.dashboard import sign_in
from opskit.web.dashboard.markdown import escaped
from opskit.web.dashboard.readings import TICK_SECONDS, Reading, _memory, capital, forget, read, settings
from opskit.web.dashboard.times import moment

LATER_SECONDS = 0.25
"""How soon after a page's numbers its charts are drawn [s]."""


def healthy(readings: Iterable[Reading]) -> bool:
    """Say what is wrong with these readings in one banner; whether there are numbers to draw."""
    readings = list(readings)
    oldest = min(readings, key=lambda reading: reading.taken_at)
    error = next((reading.error for reading in readings if reading.error), None)
    if error is None:
        return True
    complete = all(reading.frame is not None for reading in readings)
    say_error(error, shown=oldest if complete else None)
    return complete and not isinstance(error, NotMigratedError)


def say_error(error: OpskitError, *, shown: Reading | None = None) -> None:
    """One sentence for an error, and what helps against it."""
    if isinstance(error, NotMigratedError):
        env = settings().env
        st.warning(f"The tables of **{env}** are not migrated yet. This command adds what is missing:")
        st.code(command(settings(), "migrate"), language="bash")
        return
    sentence = escaped(capital(str(error)))
    if shown is not None:
        age = (datetime.now(UTC) - shown.taken_at).total_seconds()
        sentence += f". These are the last known numbers, **{span(age)} old**"
    if isinstance(error, DatabaseUnavailableError):
        sentence += ". The page comes back by itself"
    st.error(sentence + ".", icon=":material/cloud_off:")


def live(draw: Callable[[], None], *, seconds: float = TICK_SECONDS, charts_later: bool = False) -> None:
    """Draw a part of the page that renews itself while the operator has not stopped that.

    Args:
        draw: Draws it.
        seconds: How often [s].
        charts_later: It leaves its charts out until the page stands, and is drawn again as soon as it does.
    """
    every = seconds if st.session_state.get("live", True) else None

    def part() -> None:
        # The frame is not drawn with it: whoever's sign-in has ended meanwhile gets the sign-in page.
        if sign_in.role() is None:
            st.rerun()
        if charts_later and standing():
            _renew_every(every)
        draw()

    st.fragment(part, run_every=LATER_SECONDS if charts_later and not standing() else every)()


def standing() -> bool:
    """Whether the browser shows this page already: a chart costs it more than all the numbers, and comes after them.

    Whoever is no browser is given everything at once.
    """
    return not st.context.url or st.session_state.get("standing") == st.session_state.get("opened")


def _renew_every(seconds: float | None) -> None:
    """How often the part that is being drawn is drawn again from now on [s]; None for never."""
    context, part = get_script_run_ctx(), ThreadState.get().fragment_id
    if context is None or part is None:
        return
    message = ForwardMsg()
    if seconds is None:
        message.stop_auto_rerun.fragment_ids.append(part)
    else:
        message.auto_rerun.interval, message.auto_rerun.fragment_id = seconds, part
    context.enqueue(message)


def come_back() -> None:
    """On a page that does not renew itself: draw it anew once the database is back."""
    if _memory().failure is not None:
        st.fragment(_look_again, run_every=TICK_SECONDS)()


def _look_again() -> None:
    if read("pauses").error is None:
        forget()
        st.rerun()


def stamp() -> None:
    """Keep a place in the frame for the stamp, which the live part of a page fills."""
    st.session_state["stamp"] = st.container(width="content")


def as_of(*readings: Reading) -> None:
    """The stamp: as of when these numbers are true."""
    taken = [reading.taken_at for reading in readings if reading.frame is not None]
    if taken:
        st.session_state["stamp"].caption(f"as of {moment(min(taken))}", width="content")
