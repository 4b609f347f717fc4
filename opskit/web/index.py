"""The HTML that every address of the page begins with: Streamlit's own, which is told where its server is.

Opened by a page's own address, Streamlit asks for its server below that address first, such as at /file/_stcore/health,
and gets a 404, before it asks one folder higher. Every page of ours stands in the server's own folder: no guessing.
What the first view draws with is fetched while the connection opens, not after the first message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Route

STATIC = Path(st.__file__).with_name("static")
SERVER = '<script>window.__streamlit = {BACKEND_BASE_URL: new URL("./", document.baseURI).href}</script>'
DRAWS = (
    "Html", "StreamlitMarkdown", "Button", "Checkbox", "ButtonGroup", "Metric", "Tabs", "serialization", "recordbatch",
    "ArrowVegaLiteChart", "embed", "PlotlyChart",
)  # fmt: skip
"""What the Overview draws with, by the names of Streamlit's files; one that is not there is fetched when it is used."""


def index_routes(pages: Iterable[str]) -> list[BaseRoute]:
    """A route for each page's address; none where Streamlit's HTML is not as we know it: then its own is served.

    Args:
        pages: The addresses, "" for the first page.
    """
    try:
        html = (STATIC / "index.html").read_text(encoding="utf-8")
    except OSError:
        return []
    if html.count("<head>") != 1:
        return []
    plain = html.replace("<head>", f"<head>{SERVER}")
    ahead = html.replace("<head>", f"<head>{SERVER}{preloads()}")
    return [Route(f"/{page}", _serving(plain if page else ahead), methods=["GET"]) for page in pages]


def preloads() -> str:
    """Links that have the browser fetch what the first view draws with."""
    found = [path.name for name in DRAWS for path in sorted((STATIC / "static/js").glob(f"{name}.*.js"))]
    return "".join(f'<link rel="modulepreload" crossorigin href="./static/js/{name}">' for name in found)


def _serving(html: str) -> Callable[[Request], Awaitable[HTMLResponse]]:
    async def index(_: Request) -> HTMLResponse:
        return HTMLResponse(html, headers={"Cache-Control": "no-cache"})

    return index
