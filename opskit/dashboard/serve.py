"""The launcher: page and API on one port; behind `opskit dashboard`, `python -m opskit.dashboard` and app.py."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
from pathlib import Path

import streamlit as st
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from opskit import access
from opskit.access import writing_allowed
from opskit.api import create_api, probe_routes
from opskit.dashboard import shared, signin
from opskit.errors import ForbiddenError, OpskitError, SettingError, TokenNeededError
from opskit.flags import add_settings, settings_of
from opskit.parent import end_with
from opskit.settings import LOOPBACK, Settings

PAGE = Path(__file__).with_name("page.py").absolute()
"""The script that `st.App` runs for every tab."""


def routes(settings: Settings) -> list[BaseRoute]:
    """What is served beside the page, over the page's own database: /api, /healthz and /metrics.

    Mounted, not flat: Streamlit's catch-all would answer a wrong method or path with 200 and HTML.
    Where people have to sign in for the page, the API's readings need the token, as its actions always do.
    """
    api = create_api(shared.database, settings)
    health, numbers = probe_routes(api)
    if not signin.roles():
        return [Mount("/api", api), health, numbers]
    closed = Closed(api, settings)
    return [Mount("/api", closed), health, Route("/metrics", endpoint=closed)]


class Closed:
    """The API where people have to sign in: no reading either without what an action would need."""

    def __init__(self, api: ASGIApp, settings: Settings) -> None:
        self._api, self._settings = api, dataclasses.replace(settings, read_only=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                writing_allowed(
                    self._settings,
                    client_host=scope["client"][0] if scope.get("client") else None,
                    host_header=headers.get("host"),
                    origin=headers.get("origin"),
                    authorization=headers.get("authorization"),
                    forwarded=any(name in headers for name in access.FORWARDED),
                )
            except ForbiddenError as error:
                status = 401 if isinstance(error, TokenNeededError) else 403
                await JSONResponse({"error": str(error)}, status)(scope, receive, send)
                return
        await self._api(scope, receive, send)


def check(settings: Settings) -> None:
    """Refuse an address that others can reach while nothing says who may act.

    Raises:
        SettingError: Another address than this machine's own, and neither token nor sign-in; or sign-in is
            wanted and no identity provider is configured.
    """
    wanted = bool(signin.roles())
    if wanted and (problem := signin.lacking()):
        raise SettingError(f"OPSKIT_OPERATORS or OPSKIT_VIEWERS is set, and nobody could sign in: {problem}")
    if settings.host not in LOOPBACK and settings.api_token is None and not wanted:
        raise SettingError(
            f"OPSKIT_HOST is {settings.host!r}, which others can reach, and neither OPSKIT_API_TOKEN nor "
            "OPSKIT_OPERATORS with sign-in says who may act; set one"
        )


def serve(settings: Settings) -> int:
    """Serve page and API on the settings' host and port until stopped.

    Raises:
        SettingError: Nothing says who may act, or nobody could sign in.
    """
    # The page is a script that Streamlit runs: it finds its settings where every process finds them.
    os.environ.update(settings.environ())
    check(settings)
    # Streamlit looks for .streamlit/config.toml beside the launcher, and hands our arguments to the page.
    sys.argv[:] = [str(PAGE)]
    app = st.App(PAGE, routes=routes(settings))
    print(f"page and API on http://{settings.host}:{settings.port} ({settings.env})", file=sys.stderr, flush=True)
    app.run(
        config={
            "server.address": settings.host,
            "server.port": settings.port,
            "logger.hideWelcomeMessage": True,
        }
    )
    return 0


def main(argv: list[str] | None = None) -> int:
    """`python -m opskit.dashboard`, with a flag for every setting."""
    parser = argparse.ArgumentParser(prog="opskit dashboard", description="Serve page and API.")
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    add_settings(parser)
    given = parser.parse_args(argv)
    if given.parent is not None:
        end_with(given.parent, signal.SIGTERM)
    try:
        return serve(settings_of(given))
    except OpskitError as error:
        print(f"opskit: {error}", file=sys.stderr)
        return 1
