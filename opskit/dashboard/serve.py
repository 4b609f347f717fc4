"""The launcher: page and API on one port, by `python -m opskit.dashboard`, `streamlit run`, uvicorn or Python."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.routing import BaseRoute

from opskit.errors import OpskitError, SettingError
from opskit.settings import LOOPBACK, Settings

PAGE = Path(__file__).with_name("page.py").absolute()


def routes() -> list[BaseRoute]:
    """What is served beside the page: the API under /api, /healthz and /metrics."""
    from opskit.api import routes as api_routes

    return api_routes()


def check(settings: Settings) -> None:
    """Refuse an address that others can reach while anybody could act.

    Raises:
        SettingError: Another address than this machine's own, and no token.
    """
    if settings.host not in LOOPBACK and settings.api_token is None and not settings.read_only:
        raise SettingError(
            f"OPSKIT_HOST is {settings.host!r}, which others can reach, and OPSKIT_API_TOKEN is not set; "
            "set a token, or OPSKIT_READ_ONLY=1"
        )


def options(settings: Settings) -> dict[str, Any]:
    """Streamlit's options that follow from the settings; the others stand in .streamlit/config.toml."""
    return {"server.address": settings.host, "server.port": settings.port, "logger.hideWelcomeMessage": True}


def main() -> int:
    """Serve until stopped."""
    try:
        settings = Settings.load()
        check(settings)
        app = st.App(PAGE, routes=routes())
    except OpskitError as error:
        print(f"opskit: {error}", file=sys.stderr)
        return 1
    print(f"page and API on http://{settings.host}:{settings.port} ({settings.env})", file=sys.stderr)
    app.run(config=options(settings))
    return 0
