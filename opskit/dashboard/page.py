"""The page that `st.App` runs: the frame around every page, with the environment always in sight."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from opskit.dashboard import actions, shared
from opskit.database import masked
from opskit.errors import OpskitError

HERE = Path(__file__).parent
TICKING = ("", "nodes")
"""The pages with parts that renew themselves, by their address."""
# Streamlit leaves six lines empty above a page; at night every line counts.
STYLE = "[data-testid=stMainBlockContainer] {padding-top: 4.1rem; padding-bottom: 2rem}"
PRODUCTION_STYLE = """
[data-testid=stHeader] {border-top: 5px solid #b3261e}
.production {background: #b3261e; color: #fff; font-weight: 700; padding: .15rem .6rem; border-radius: .3rem}
"""


def frame() -> None:
    """Draw the frame, then the page in it."""
    # No icons: the browser would fetch the page's one from the internet.
    page = st.navigation(
        [
            st.Page(HERE / "overview.py", title="Overview", default=True),
            st.Page(HERE / "nodes.py", title="Nodes", url_path="nodes"),
            st.Page(HERE / "files.py", title="Files", url_path="files"),
            st.Page(HERE / "failures.py", title="Failures", url_path="failures"),
            st.Page(HERE / "cleanup.py", title="Cleanup", url_path="cleanup"),
            st.Page(HERE / "timeline.py", title="Timeline", url_path="timeline"),
            st.Page(HERE / "doctor.py", title="Doctor", url_path="doctor"),
            st.Page(HERE / "history.py", title="History", url_path="history"),
        ],
        position="top",
    )
    try:
        settings = shared.settings()
        st.set_page_config(
            page_title=f"{page.title} · {settings.env} · opskit",
            page_icon=str(HERE / "favicon.svg"),
            layout="wide",
        )
        st.html(f"<style>{STYLE}{PRODUCTION_STYLE if settings.env == 'production' else ''}</style>")
        with st.container(horizontal=True, vertical_alignment="center", key="frame"):
            environment()
            st.space("stretch")
            shared.stamp()
            actions.unlock()
            if page.url_path in TICKING:
                st.toggle("Live", value=True, key="live", persist_state="session", help="Off: the numbers stand still.")
            else:
                st.button("Refresh", icon=":material/refresh:", key="refresh", on_click=shared.forget)
        actions.results()
        page.run()
        if page.url_path not in TICKING or not st.session_state.get("live", True):
            shared.come_back()
    except OpskitError as error:
        shared.say_error(error)


def environment() -> None:
    """Which environment, table and database this page acts on."""
    settings = shared.settings()
    if settings.env == "production":
        st.html('<span class="production">PRODUCTION</span>', width="content")
    else:
        st.badge(settings.env, icon=":material/science:", color="blue")
    if settings.read_only:
        st.badge("read-only", icon=":material/lock:", color="gray")
    where = masked(settings.database_url or "the embedded database").partition("?")[0].rpartition("@")[2]
    st.caption(f"`{settings.files}` on `{where}`", width="content")


frame()
