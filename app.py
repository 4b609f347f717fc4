"""Page and API on one port: `streamlit run app.py`, `uvicorn app:app` or `python app.py`."""

import streamlit as st

from opskit.dashboard.serve import PAGE, routes, serve
from opskit.settings import Settings

# Streamlit looks for this very assignment in the source.
app = st.App(PAGE, routes=routes(Settings.load()))

if __name__ == "__main__":
    raise SystemExit(serve(Settings.load()))
