"""The HTML that every address of the page begins with: Streamlit's own, which is told where its server is.

Opened by a page's own address, Streamlit asks for its server below that address first, such as at /file/_stcore/health,
and gets a 404, before it asks one folder higher. Every page of ours stands in the server's own folder: no guessing.
What a page draws with is fetched while the connection opens, not after the first message; what the other pages draw
with is fetched and begun once the browser has nothing else to do, so that a later click waits for neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Route

STATIC = Path(st.__file__).with_name("static")
SERVER = '<script>window.__streamlit = {BACKEND_BASE_URL: new URL("./", document.baseURI).href}</script>'
EVERYWHERE = ("Html", "StreamlitMarkdown", "Button", "ButtonGroup", "Checkbox")
TABLE, CHART = "DataFrame", "PlotlyChart"
DRAWS = {
    "": ("Metric", "serialization", "recordbatch", "ArrowVegaLiteChart", "embed"),
    "nodes": (TABLE,),
    "files": (TABLE, "Selectbox", "TextInput"),
    "failures": (TABLE,),
    "timeline": (CHART,),
    "history": (TABLE,),
    "file": (TABLE, "Table"),
    "node": (CHART, TABLE),
}
"""What each page draws with, by the names of Streamlit's files; one that is not there is fetched when it is used."""
LATER = (TABLE, "Selectbox", "TextInput", CHART)
"""What is fetched once the first view stands, in this order."""
_IMPORT = re.compile(rb"(?:from|import)\"\./([^\"/]+\.js)\"")
_HEAD_BYTES = 100_000
"""Within so many bytes stand a file's own imports."""


def index_routes(pages: Iterable[str]) -> list[BaseRoute]:
    """A route for each page's address; none where Streamlit's HTML is not as we know it: then its own is served.

    Args:
        pages: The addresses, "" for the first page.
    """
    try:
        html = (STATIC / "index.html").read_text(encoding="utf-8")
    except OSError:
        return []
    if html.count("<head>") != 1 or html.count("</body>") != 1:
        return []
    whole = html.replace("</body>", f"{fetched_later()}</body>")
    return [
        Route(f"/{page}", _serving(whole.replace("<head>", f"<head>{SERVER}{preloads(page, html)}")), methods=["GET"])
        for page in pages
    ]


def preloads(page: str, html: str = "") -> str:
    """Links that have the browser fetch what a page draws with, and what that needs; not what *html* fetches anyway."""
    needed = dict.fromkeys(file for one in (*EVERYWHERE, *DRAWS.get(page, ())) for file in _needed(one))
    new = [name for name in needed if f"/{name}" not in html]
    return "".join(f'<link rel="modulepreload" crossorigin href="./static/js/{name}">' for name in new)


def fetched_later() -> str:
    """A script that imports what other pages draw with, one after the other, whenever the browser is idle."""
    files = [f"./static/js/{name}" for one in LATER for name in _files(one)]
    return (
        f"<script>addEventListener('load', () => {{ const files = {json.dumps(files)}, "
        "idle = window.requestIdleCallback || ((then) => setTimeout(then, 500)), "
        "next = () => { const file = files.shift(); "
        "if (file) import(new URL(file, document.baseURI)).catch(() => {}).finally(() => idle(next)) }; "
        "setTimeout(() => idle(next), 1500) })</script>"
    )


def _files(name: str) -> list[str]:
    """The files of Streamlit that a name stands for."""
    return [path.name for path in sorted((STATIC / "static/js").glob(f"{name}.*.js"))]


@cache
def _needed(name: str) -> list[str]:
    """The files that a name stands for and all that they import: a browser would learn of these one after the other."""
    known: dict[str, None] = {}
    waiting = _files(name)
    while waiting:
        name = waiting.pop(0)
        if name not in known:
            known[name] = None
            waiting += _imports(name)
    return list(known)


@cache
def _imports(name: str) -> list[str]:
    with (STATIC / "static/js" / name).open("rb") as file:
        found = [one.decode() for one in _IMPORT.findall(file.read(_HEAD_BYTES))]
    return [one for one in found if (STATIC / "static/js" / one).exists()]


def _serving(html: str) -> Callable[[Request], Awaitable[HTMLResponse]]:
    async def index(_: Request) -> HTMLResponse:
        return HTMLResponse(html, headers={"Cache-Control": "no-cache"})

    return index
