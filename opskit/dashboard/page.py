"""The page that `st.App` runs: the frame around every page, with the environment always in sight."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from opskit.dashboard import actions, shared
from opskit.database import masked
from opskit.errors import OpskitError

HERE = Path(__file__).parent


def frame() -> None:
    """Draw the frame, then the page in it."""
    page = st.navigation(
        [
            st.Page(HERE / "overview.py", title="Overview", icon=":material/monitoring:", default=True),
            st.Page(HERE / "nodes.py", title="Nodes", icon=":material/dns:", url_path="nodes"),
            st.Page(HERE / "files.py", title="Files", icon=":material/description:", url_path="files"),
            st.Page(HERE / "failures.py", title="Failures", icon=":material/error:", url_path="failures"),
            st.Page(HERE / "history.py", title="History", icon=":material/history:", url_path="history"),
        ],
        position="top",
    )
    try:
        settings = shared.settings()
        st.set_page_config(
            page_title=f"{page.title} · {settings.env} · opskit",
            # A file of our own: a material icon would be fetched from the internet.
            page_icon=str(HERE / "favicon.svg"),
            layout="wide",
        )
        with st.container(horizontal=True, vertical_alignment="center", key="frame"):
            environment()
            st.space("stretch")
            actions.unlock()
            st.toggle("Live", value=True, key="live", help="Off: the numbers stand still until you act.")
        actions.results()
        page.run()
    except OpskitError as error:
        shared.say_error(error)


def environment() -> None:
    """Which environment, table and database this page acts on."""
    settings = shared.settings()
    production = settings.env == "production"
    st.badge(
        settings.env.upper() if production else settings.env,
        icon=":material/warning:" if production else ":material/science:",
        color="red" if production else "blue",
    )
    if settings.read_only:
        st.badge("read-only", icon=":material/lock:", color="gray")
    where = masked(settings.database_url or "the embedded database").partition("?")[0].rpartition("@")[2]
    st.caption(f"`{settings.files}` on `{where}`", width="content")


frame()
