"""Doctor: what is wrong with this environment, why it matters, and the command that mends it."""

from __future__ import annotations

import itertools
import re

import streamlit as st

from opskit.doctor import runbooks
from opskit.errors import SettingError
from opskit.support import wording
from opskit.web.dashboard import banners, markdown, readings, rows, sources

LEVELS = {"error": ("red", ":material/error:"), "warning": ("orange", ":material/warning:")}


def findings() -> None:
    """Everything that the doctor found, the gravest first. It is asked anew whenever the page is opened."""
    if "runbook" in st.query_params:
        asked_for(st.query_params["runbook"])
    examined = readings.fresh("doctor") if st.session_state.pop("examine", True) else readings.read("doctor")
    banners.as_of(examined)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Examine again",
            icon=":material/stethoscope:",
            key="examine_again",
            on_click=lambda: st.session_state.update(examine=True),
        )
        sources.menu(examined)
    if not banners.healthy([examined]):
        return
    found = examined.rows()
    if not found:
        st.success("All is well: nothing was found that needs mending.", icon=":material/check_circle:")
        return
    counts = [
        wording.count(sum(finding["level"] == level for finding in found), level)
        for level in LEVELS
        if any(finding["level"] == level for finding in found)
    ]
    st.markdown(
        f"**{' and '.join(counts) or wording.count(len(found), 'finding')}**, each with the command that mends it."
    )
    for finding in found:
        show(finding)


def show(finding: dict[str, str]) -> None:
    """One finding."""
    color, icon = LEVELS.get(finding["level"], ("gray", ":material/info:"))
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(finding["level"], icon=icon, color=color)  # type: ignore[arg-type]  # both are among the colours
            st.markdown(f"**{markdown.escaped(finding['what'])}**")
        st.caption(f"Why it matters: {markdown.escaped(finding['why'])}")
        for language, commands in by_language(finding["mend"]):
            st.code(commands, language=language, wrap_lines=True)
        if condition := finding.get("condition"):
            with st.expander(f"Runbook: {runbooks.title(condition)}", icon=":material/menu_book:"):
                st.markdown(runbook(condition))


def asked_for(condition: str) -> None:
    """The runbook that an address names, such as an alert's: it needs no database."""
    with st.container(border=True):
        try:
            st.markdown(runbook(condition))
        except SettingError as error:
            st.warning(markdown.escaped(str(error)), icon=":material/menu_book:")


def runbook(condition: str) -> str:
    """A runbook for this environment, whose links lead to the others, its headings below the page's."""
    text = runbooks.text(
        condition, settings=readings.settings(), address=lambda other: rows.address("doctor", runbook=other)
    )
    return re.sub(r"^## (.*)$", r"**\1**", re.sub(r"^# ", "### ", text), flags=re.MULTILINE)


def by_language(mend: str) -> list[tuple[str, str]]:
    """The commands that mend it, those of one language together: SQL ends with a semicolon."""
    lines = mend.splitlines()
    runs = itertools.groupby(lines, key=lambda line: "sql" if line.rstrip().endswith(";") else "bash")
    return [(language, "\n".join(run)) for language, run in runs]


findings()
