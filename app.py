"""Page and API on one port: `streamlit run app.py`, `uvicorn app:app` or `python app.py`."""

import streamlit as st

from opskit.web.server import PAGE, checked, main, parts

if __name__ == "__main__":
    raise SystemExit(main())

# Streamlit looks for this very assignment in the source.
app = st.App(PAGE, **parts(checked()))
