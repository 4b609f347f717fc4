"""Charts in the page's own letters."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st


def dressed(chart: go.Figure) -> str:
    """Give a figure the page's letters; answers its title, which on a phone stands beside it."""
    title = str(chart.layout.title.text)
    chart.update_layout(title=None, margin_t=10)
    inked(chart)
    return title


def inked(chart: go.Figure) -> None:
    """Give a figure the page's letters and its ink."""
    # A figure's grey is readable on any ground; of the page's ground the browser tells which it is.
    ink = "#c9ced8" if st.context.theme.type == "dark" else "#4a5160"
    chart.update_layout(font={"family": '"Source Sans", sans-serif', "color": ink})
