"""Whether this session may act: sign-in, token, read-only, address; and under whose name."""

from __future__ import annotations

import dataclasses
import time

import streamlit as st

from opskit.errors import ForbiddenError
from opskit.settings import Settings
from opskit.web.authorization import Caller, writing_allowed
from opskit.web.dashboard import readings, sign_in

WRONG_TOKEN_SECONDS = 0.3


def client() -> Caller:
    """The browser of this tab."""
    headers = st.context.headers
    token = st.session_state.get("token")
    # Streamlit says None for a client on this machine.
    return Caller.with_headers(
        st.context.ip_address or "127.0.0.1",
        headers,
        f"Bearer {token}" if token else headers.get("Authorization"),
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
    _allow(readings.settings())


def _allow(settings: Settings) -> None:
    asking = client()
    if sign_in.may_act():
        # An operator has shown who they are: that stands for the token, not for read-only mode or the Origin.
        settings = dataclasses.replace(settings, api_token="signed in")
        asking = dataclasses.replace(asking, authorization="Bearer signed in")
    writing_allowed(settings, asking)


def allow_seeing() -> None:
    """Return when this page's client may see what is in a file: whoever may act, on a read-only page as well.

    Raises:
        ForbiddenError: It may not.
    """
    _allow(dataclasses.replace(readings.settings(), read_only=False))


def unlock() -> None:
    """Where the token is given, when one is needed."""
    settings = readings.settings()
    if settings.api_token is None or settings.read_only or sign_in.roles():
        return
    open_already = refusal() is None
    label = "Unlocked" if open_already else "Unlock actions"
    icon = ":material/lock_open:" if open_already else ":material/lock:"
    with st.popover(label, icon=icon, width="content"):
        st.text_input("OPSKIT_API_TOKEN", type="password", key="token", persist_state="session", on_change=_slowed)
        st.caption("Kept for this tab only." if open_already else "Actions need the token of this installation.")


def actor(name: str = "") -> str:
    """Who acts, for the history."""
    user = sign_in.user()
    who = user.email if user is not None else name.strip()
    place = f"page, {client().client_host}"
    return f"{who} ({place})" if who else place


def _slowed() -> None:
    """A wrong token costs whoever tries it a moment."""
    if refusal() is not None:
        time.sleep(WRONG_TOKEN_SECONDS)


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
