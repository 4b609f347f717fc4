"""What the last action came to, said on the page until an operator has read it."""

from __future__ import annotations

import streamlit as st

from opskit.support import wording
from opskit.web.dashboard import markdown, uploads
from opskit.web.dashboard.dialogs.asking import Result
from opskit.web.dashboard.dialogs.requeue import ask_requeue
from opskit.web.dashboard.permission import button


def results() -> None:
    """Say what the last action came to, until it is dismissed."""
    st.session_state.update(done=False, asking=False)
    uploads.refuse_here()
    result: Result | None = st.session_state.get("result")
    if result is None:
        return
    icon = ":material/check_circle:" if result.fine else ":material/block:"
    if st.session_state.pop("toast", False):
        st.toast(markdown.escaped(result.sentence), icon=icon)
    with st.container(horizontal=True, vertical_alignment="center"):
        (st.success if result.fine else st.error)(markdown.escaped(result.sentence), icon=icon, width="stretch")
        again = result.requeue and button(
            f"Requeue {wording.count(len(result.requeue), 'file')}…", icon=":material/replay:", key="requeue_result"
        )
        st.button("Dismiss", key="dismiss", on_click=lambda: st.session_state.pop("result", None))
    if result.lines:
        with st.expander("What became of each", icon=":material/list:"):
            st.dataframe(list(result.lines), hide_index=True)
    if again:
        ask_requeue(result.requeue)
