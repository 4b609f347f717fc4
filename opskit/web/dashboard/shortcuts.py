"""The keys of the page, the list of them, and the button that copies the address of what one sees."""

from __future__ import annotations

import functools
from pathlib import Path

import streamlit as st

from opskit.web.dashboard.pages import PAGES

KEYS = {
    "/": "search",
    "?": "this list",
    "l": "copy the link to what is shown",
    **{str(number): name.capitalize() for number, name in enumerate(PAGES, 1)},
    "Tab, Enter": "to the next control; press it",
    "Tab, ↓, Shift+Space": "into a table; to a row; tick it",
    "Esc": "close",
}
STYLE = """
.keys button {font: inherit; font-size: .9rem; color: inherit; background: transparent; cursor: pointer;
  border: 1px solid #8a93a388; border-radius: .5rem; padding: .2rem .65rem}
.keys button:focus-visible {outline: 2px solid #1f6feb; outline-offset: 2px}
dialog.shortcuts {color: inherit; background: #fff; border: 1px solid #8a93a388;
  border-radius: .5rem; padding: 1rem 1.4rem; margin: auto}
dialog.shortcuts h2 {font-size: 1.1rem; padding: 0; margin: 0 0 .6rem}
dialog.shortcuts dl {display: grid; grid-template-columns: auto 1fr; gap: .25rem 1.2rem; margin: 0 0 .8rem}
dialog.shortcuts dd {margin: 0}
dialog.shortcuts kbd {border: 1px solid #8a93a388; border-radius: .3rem; padding: 0 .35rem}
@media (max-width: 640px) {.keys [data-shortcuts] {display: none}}
"""


def buttons() -> None:
    """The two buttons, and what listens to the keys."""
    st.html(_markup(), unsafe_allow_javascript=True, width="content")


@functools.cache
def _markup() -> str:
    listed = "".join(f"<dt><kbd>{key}</kbd></dt><dd>{what}</dd>" for key, what in KEYS.items())
    return f"""<div class="keys">
<button type="button" data-copy-link title="The address of all that is shown and chosen">Copy link</button>
<button type="button" data-shortcuts aria-label="Keyboard shortcuts" title="Keyboard shortcuts">?</button>
<dialog class="shortcuts" aria-label="Keyboard shortcuts"><h2>Keyboard shortcuts</h2><dl>{listed}</dl>
<form method="dialog"><button>Close</button></form></dialog>
</div><script>{Path(__file__).with_suffix(".js").read_text(encoding="utf-8")}</script>"""
