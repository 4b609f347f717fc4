"""Doctor: what is wrong with this environment, why it matters, and the command that mends it."""

from __future__ import annotations

import itertools

import streamlit as st

from opskit.support import wording
from opskit.web.dashboard import banners, markdown, readings, sources

LEVELS = {"error": ("red", ":material/error:"), "warning": ("orange", ":material/warning:")}


def findings() -> None:
    """Everything that the doctor found, the gravest first. It is asked anew whenever the page is opened."""
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


def by_language(mend: str) -> list[tuple[str, str]]:
    """The commands that mend it, those of one language together: SQL ends with a semicolon."""
    lines = mend.splitlines()
    runs = itertools.groupby(lines, key=lambda line: "sql" if line.rstrip().endswith(";") else "bash")
    return [(language, "\n".join(run)) for language, run in runs]


findings()
