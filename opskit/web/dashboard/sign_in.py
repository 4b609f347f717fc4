"""Who may see this page and who may act on it, where sign-in by OpenID Connect is wanted.

Streamlit does the signing in (`[auth]` in `.streamlit/secrets.toml`); what somebody may do then is said by two
settings: patterns of e-mail addresses of operators, who act, and of viewers, who look. As soon as one of them
is set the page is closed to everybody else, and so are the API's readings to whoever shows no token.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal
from urllib.parse import urlsplit

import streamlit as st
from streamlit.errors import StreamlitAuthError, StreamlitMissingAuthlibError

from opskit.errors import ForbiddenError
from opskit.settings import Settings
from opskit.web.dashboard import fleets
from opskit.web.dashboard.user import User, shared_tenant_of, user_of

KEYS = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
"""What `.streamlit/secrets.toml` has to say in its section [auth]."""
Role = Literal["operator", "viewer"]


@dataclass(frozen=True, slots=True)
class Roles:
    """Who is what, as patterns of e-mail addresses such as `ann@example.com` or `*@ops.example.com`."""

    operators: tuple[str, ...] = ()
    viewers: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.operators or self.viewers)

    def of(self, email: str) -> Role | None:
        """What somebody with this address may be; operators look, too."""
        if _fits(email, self.operators):
            return "operator"
        return "viewer" if _fits(email, self.viewers) else None


def roles() -> Roles:
    """OPSKIT_OPERATORS and OPSKIT_VIEWERS of this tab's fleet; nobody when sign-in is not wanted."""
    if (fleet := fleets.current()) != fleets.OWN:
        return roles_of(fleets.known()[fleet])
    return Roles(_patterns("OPSKIT_OPERATORS"), _patterns("OPSKIT_VIEWERS"))


def roles_of(settings: Settings) -> Roles:
    """The same for the settings of a fleet."""
    return Roles(_listed(settings.operators or ""), _listed(settings.viewers or ""))


def lacking() -> str:
    """What is missing before anybody could sign in, in one sentence; "" when nothing is."""
    try:
        section = st.secrets.get("auth")
    except FileNotFoundError:
        section = None
    if section is None:
        return ".streamlit/secrets.toml has no section [auth]"
    given = {**section, **section.get("default", {})}
    missing = [key for key in KEYS if not given.get(key)]
    if missing:
        return f"the section [auth] of .streamlit/secrets.toml has no {' and no '.join(missing)}"
    if find_spec("authlib") is None:
        return "Authlib is not installed; run: pip install 'opskit[signin]'"
    return ""


def own_names() -> tuple[str, ...]:
    """The name that people come back to after signing in: it is one of ours."""
    if not roles() or lacking():
        return ()
    name = urlsplit(str(st.secrets["auth"]["redirect_uri"])).hostname
    return (name,) if name else ()


def shared_tenant() -> str:
    """A provider's URL, of those in the section [auth], that lets people of every organisation in; "" for none."""
    section: Mapping[str, object] = {} if lacking() else st.secrets["auth"]
    for part in (section, *(value for value in section.values() if isinstance(value, Mapping))):
        url = str(part.get("server_metadata_url") or "")
        if shared_tenant_of(url):
            return url
    return ""


def user() -> User | None:
    """Who has signed in; None when nobody has."""
    claims: Mapping[str, object] = st.user
    if claims.get("is_logged_in") is not True:
        return None
    settings = Settings.load()
    return user_of(claims, hours=settings.sign_in_hours, trust_unverified=settings.trust_unverified_email)


def role() -> Role | None:
    """What whoever looks at this page may be; None where sign-in is wanted and they are nobody."""
    wanted, who = roles(), user()
    if not wanted:
        return "operator"
    return wanted.of(who.email) if who is not None and who.verified and not who.expired else None


def may_act() -> bool:
    """Whether sign-in alone lets whoever looks at this page act.

    Raises:
        ForbiddenError: Sign-in is wanted, and they are no operator.
    """
    if not roles():
        return False
    mine = role()
    if mine is None:
        raise ForbiddenError("your sign-in does not hold any more; load the page again")
    if mine != "operator":
        raise ForbiddenError("you may look, but not act: OPSKIT_OPERATORS does not name you")
    return True


def sign_in_page() -> None:
    """The page of whoever is not signed in: why nothing else is shown, and the button that signs in."""
    who = user()
    st.title("opskit", anchor=False)
    if problem := lacking():
        st.error(f"This page is for people who sign in, and nobody could: {problem}.", icon=":material/lock:")
    elif who is None:
        st.info("This page is for people who sign in.", icon=":material/lock:")
        st.button("Sign in", icon=":material/login:", type="primary", key="sign_in", on_click=_sign_in)
    elif who.expired and who.verified and roles().of(who.email):
        st.info(f"A sign-in holds for {Settings.load().sign_in_hours:g} hours; yours is older.", icon=":material/lock:")
        st.button("Sign in", icon=":material/login:", type="primary", key="sign_in", on_click=_sign_in)
        st.button("Sign out", icon=":material/logout:", key="sign_out", on_click=st.logout)
    else:
        reason = "is not in OPSKIT_OPERATORS or OPSKIT_VIEWERS" if who.verified else "is not verified by the provider"
        st.error(f"You are signed in as `{who.email or 'somebody without an address'}`, which {reason}.")
        st.button("Sign out", icon=":material/logout:", key="sign_out", on_click=st.logout)
    if failed := st.session_state.pop("sign_in_problem", None):
        st.error(failed)


def badge() -> None:
    """Who one is on this page, and the way out."""
    who = user()
    if who is None or not roles():
        return
    with st.popover(f"{role()}", icon=":material/person:", width="content"):
        st.markdown(f"`{who.email}`")
        st.button("Sign out", icon=":material/logout:", key="sign_out", on_click=st.logout)


def _sign_in() -> None:
    try:
        st.login()
    except (StreamlitAuthError, StreamlitMissingAuthlibError) as error:
        st.session_state["sign_in_problem"] = str(error)


def _fits(email: str, patterns: tuple[str, ...]) -> bool:
    return bool(email) and any(fnmatch.fnmatchcase(email.lower(), pattern) for pattern in patterns)


def _patterns(name: str) -> tuple[str, ...]:
    return _listed(os.environ.get(name, ""))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in text.split(",") if part.strip())
