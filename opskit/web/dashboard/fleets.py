"""Several fleets on one page: which there are, and which one this tab shows and acts on.

OPSKIT_PAGES names a TOML file with a section for each further fleet: its table, environment and database, and its own
rights. What a section does not say is as it is for the page's own fleet.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from opskit.errors import SettingError
from opskit.settings import Settings

OWN = "own"
"""The name of the page's own fleet, which the API serves as well."""
PARAMETER = "fleet"
VARIABLES = (
    "DATABASE_URL", "OPSKIT_ENV", "OPSKIT_TABLE", "OPSKIT_API_TOKEN", "OPSKIT_OPERATORS", "OPSKIT_VIEWERS",
    "OPSKIT_VIEWERS_SEE_FILES", "OPSKIT_READ_ONLY", "OPSKIT_SHOW_COLUMNS", "OPSKIT_STALE_AFTER_SECONDS",
    "OPSKIT_STORAGE", "OPSKIT_CONTENT_ENCODING", "OPSKIT_TEXT_ENCODING",
)  # fmt: skip
"""What a section may say."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_KEPT = ("live",)


def load(own: Settings, environ: Mapping[str, str] | None = None) -> dict[str, Settings]:
    """The settings of each fleet by its name, the page's own first.

    Args:
        own: The settings of the page's own fleet.
        environ: Where a value such as "$LIVE_DATABASE_URL" is looked up. Defaults to the process's own.

    Raises:
        SettingError: OPSKIT_PAGES cannot be used; the message names the section and the value.
    """
    found = {OWN: own}
    if not own.pages:
        return found
    variables = os.environ if environ is None else environ
    for name, section in _sections(own.pages).items():
        where = f"[{name}] of {own.pages}, which OPSKIT_PAGES names,"
        if not _NAME.fullmatch(name) or name == OWN:
            raise SettingError(
                f"{where} is no name of a fleet; take letters, digits, - and _, at most 40, but not {OWN!r}"
            )
        if not isinstance(section, dict):
            raise SettingError(f"{where} is {section!r}; it must be a section with variables such as OPSKIT_TABLE")
        values = {variable: _value(where, variable, value, variables) for variable, value in section.items()}
        try:
            found[name] = Settings.load({**own.environ(), "OPSKIT_PAGES": "", **values})
        except SettingError as error:
            raise SettingError(f"{where} cannot be used: {error}") from None
    return found


def _sections(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"OPSKIT_PAGES is {path!r}, which cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SettingError(f"OPSKIT_PAGES is {path!r}, which is no TOML: {error}") from None


def _value(where: str, variable: str, value: object, environ: Mapping[str, str]) -> str:
    if variable not in VARIABLES:
        raise SettingError(f"{where} sets {variable!r}; it may set {', '.join(VARIABLES)}")
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, (str, int, float)):
        raise SettingError(f"{where} sets {variable} to {value!r}; it must be one value")
    text = str(value)
    if not text.startswith("$"):
        return text
    if not environ.get(text[1:]):
        raise SettingError(f"{where} sets {variable} to {text!r}, and the environment has no variable {text[1:]}")
    return environ[text[1:]]


@st.cache_resource(show_spinner=False)
def known() -> dict[str, Settings]:
    """The fleets of this process, by name."""
    return load(Settings.load())


def current() -> str:
    """The fleet of this tab; the page's own for whoever is no tab, such as the API."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return OWN
    return str(st.session_state.get(PARAMETER, OWN))


def choose() -> str:
    """Take the fleet from the address; what the tab held of another one is forgotten.

    Raises:
        SettingError: The address names none of this page's fleets.
    """
    mine, there = current(), known()
    asked = st.query_params.get(PARAMETER, mine)
    if asked not in there:
        raise SettingError(f"there is no fleet {asked!r} on this page; it has {', '.join(there)}")
    if asked != mine:
        for key in [key for key in st.session_state if key not in _KEPT]:
            del st.session_state[key]
        st.session_state[PARAMETER] = asked
    if len(there) > 1 and PARAMETER not in st.query_params:
        st.query_params[PARAMETER] = asked
    return asked


def chooser() -> None:
    """The choice, where there is one: which environment and table each name stands for is said with it."""
    there = known()
    if len(there) == 1:
        return
    st.session_state["fleet chosen"] = current()
    st.selectbox(
        "Fleet", list(there), format_func=in_words, key="fleet chosen", on_change=_switch, width=320,
        label_visibility="collapsed",
    )  # fmt: skip


def in_words(name: str) -> str:
    """A fleet's name with what it is: production is said in capitals."""
    settings = known()[name]
    env = "PRODUCTION" if settings.env == "production" else settings.env
    return f"{name} · {env} · {settings.files}"


def asked(**values: str) -> dict[str, str]:
    """What an address within this page asks for, with this tab's fleet where there are several."""
    return values if len(known()) == 1 else {**values, PARAMETER: current()}


def _switch() -> None:
    name = st.session_state["fleet chosen"]
    st.query_params.clear()
    st.query_params[PARAMETER] = name
