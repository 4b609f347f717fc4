"""The lines above the pages: how old the numbers are, and what is said while the database is away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import streamlit as st

from opskit.doctor.finding import command
from opskit.errors import DatabaseUnavailableError, NotMigratedError, OpskitError
from opskit.support.wording import span
from opskit.web.dashboard import sign_in
from opskit.web.dashboard.markdown import escaped
from opskit.web.dashboard.readings import TICK_SECONDS, Reading, _memory, capital, forget, read, settings
from opskit.web.dashboard.times import moment


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


def live(draw: Callable[[], None], *, seconds: float = TICK_SECONDS) -> None:
    """Draw a part of the page that renews itself while the operator has not stopped that."""

    def part() -> None:
        # The frame is not drawn with it: whoever's sign-in has ended meanwhile gets the sign-in page.
        if sign_in.role() is None:
            st.rerun()
        draw()

    every = seconds if st.session_state.get("live", True) else None
    st.fragment(part, run_every=every)()


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
