"""The page that `st.App` runs: the frame around every page, with the environment always in sight."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from opskit.errors import OpskitError
from opskit.support.logs import masked
from opskit.web.dashboard import banners, fleets, markdown, permission, readings, rows, shortcuts, sign_in
from opskit.web.dashboard.dialogs.results import results
from opskit.web.dashboard.pages import HIDDEN, HOME, PAGES, TICKING

HERE = Path(__file__).parent
# Streamlit leaves six lines empty above a page; at night every line counts.
# Streamlit's own download writes formulas raw; ours, in each panel's menu, makes them harmless.
# Streamlit's grey for what is said small has too little contrast: 4.3 : 1, its green for names 3.0 : 1,
# its colours in code 2.8 : 1; 4.5 is needed.
# Where the pages' names are behind a button, as on a phone, the page says which one it is.
STYLE = """
[data-testid=stMainBlockContainer] {padding-top: 4.1rem; padding-bottom: 2rem}
[data-testid=stElementContainer]:has(.pagename) {display: none; font-weight: 600}
body:has([data-testid=stExpandSidebarButton]) [data-testid=stElementContainer]:has(.pagename) {display: block}
[data-testid=stCaptionContainer] {color: inherit; opacity: .85}
[data-testid=stCaptionContainer] code {color: inherit; background: transparent}
[data-testid=stCode] .token {color: inherit !important}
[data-testid=stElementToolbar] button[aria-label="Download as CSV"] {display: none}
[data-testid=stMetricLabel] * {white-space: normal; overflow: visible}
"""
# White on the bright blue of the dark theme has 2.4 : 1.
DARK_STYLE = """
[data-testid=stBaseButton-primary], [data-testid=stBaseButton-primaryFormSubmit] {color: #0b1220}
dialog.shortcuts {color: #e6edf3; background: #0f141c}
"""
PRODUCTION_STYLE = """
[data-testid=stHeader] {border-top: 5px solid #b3261e}
.production {background: #b3261e; color: #fff; font-weight: 700; padding: .15rem .6rem; border-radius: .3rem}
"""


def frame() -> None:
    """Draw the frame, then the page in it; who has to sign in sees the page for that."""
    try:
        fleets.choose()
    except OpskitError as error:
        st.error(markdown.escaped(readings.capital(str(error))) + ".", icon=":material/help:")
        st.stop()
    inside = sign_in.role() is not None
    page = navigate(inside=inside)
    if not inside:
        st.set_page_config(page_title="Sign in · opskit", page_icon=str(HERE / "favicon.svg"))
        if sign_in.user() is not None:
            fleets.chooser()
        page.run()
        return
    try:
        settings = readings.settings()
        st.set_page_config(
            page_title=f"{page.title} · {settings.env} · opskit",
            page_icon=str(HERE / "favicon.svg"),
            layout="wide",
        )
        dark = DARK_STYLE if st.context.theme.type == "dark" else ""
        red = PRODUCTION_STYLE if settings.env == "production" else ""
        st.html(f"<style>{STYLE}{rows.STYLE}{shortcuts.STYLE}{dark}{red}</style>")
        with st.container(horizontal=True, vertical_alignment="center", key="frame"):
            st.html(f'<span class="pagename">{page.title}</span>', width="content")
            environment()
            fleets.chooser()
            st.space("stretch")
            banners.stamp()
            permission.unlock()
            sign_in.badge()
            shortcuts.buttons()
            if page.url_path in TICKING:
                st.toggle("Live", value=True, key="live", persist_state="session", help="Off: the numbers stand still.")
            else:
                st.button("Refresh", icon=":material/refresh:", key="refresh", on_click=readings.forget)
        results()
        st.session_state["opened"] = page.url_path
        page.run()
        st.session_state["standing"] = page.url_path
        if page.url_path not in TICKING or not st.session_state.get("live", True):
            banners.come_back()
    except OpskitError as error:
        banners.say_error(error)


def navigate(*, inside: bool) -> StreamlitPage:
    """The page that the address names; who is not signed in sees the sign-in page there: a shared link leads on."""
    # No icons: the browser would fetch the page's one from the internet.
    pages = [
        st.Page(
            HERE / "views" / f"{name}.py" if inside else sign_in.sign_in_page,
            title=name.capitalize() if inside else "Sign in",
            url_path="" if name == HOME else name,
            default=name == HOME,
            visibility="hidden" if name in HIDDEN else "visible",
        )
        for name in (*PAGES, *HIDDEN)
    ]
    return st.navigation(pages, position="top" if inside else "hidden")


def environment() -> None:
    """Which environment, table and database this page acts on."""
    settings = readings.settings()
    if settings.env == "production":
        st.html('<span class="production">PRODUCTION</span>', width="content")
    else:
        st.badge(settings.env, icon=":material/science:", color="blue")
    if settings.read_only:
        st.badge("read-only", icon=":material/lock:", color="gray")
    where = masked(settings.database_url or "the embedded database").partition("?")[0].rpartition("@")[2]
    st.caption(f"`{settings.files}` on `{where}`", width="content")


frame()
