"""The launcher: page and API on one port; behind `opskit dashboard`, `python -m opskit.web` and app.py."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.routing import BaseRoute, Mount, Route

from opskit.errors import OpskitError, SettingError
from opskit.settings import Settings
from opskit.settings.command_line import add_settings, settings_of
from opskit.support.allowed_hosts import LOOPBACK
from opskit.support.parent_death import end_with
from opskit.support.wording import count
from opskit.web.api.app import create_api
from opskit.web.api.beside_sign_in import TokenAlone
from opskit.web.api.probes import probe_routes
from opskit.web.dashboard import ahead, fleets, readings, sign_in
from opskit.web.dashboard.pages import HIDDEN, PAGES
from opskit.web.index import index_routes
from opskit.web.middleware import middleware

PAGE = Path(__file__).with_name("dashboard").joinpath("frame.py").absolute()
"""The script that `st.App` runs for every tab."""
LEAST_TOKEN = 6
"""Fewest characters of a token: wrong ones are slowed down to some ten a second."""


def routes(settings: Settings) -> list[BaseRoute]:
    """The routes beside the page, over the page's own database: /api, /healthz and /metrics.

    Mounted, not flat: Streamlit's catch-all would answer a wrong method or path with 200 and HTML.
    Where people have to sign in for the page, every call but /healthz needs the token.
    """
    api = create_api(readings.database, settings)
    health, numbers = probe_routes(api)
    html = index_routes(["", *PAGES[1:], *HIDDEN])
    if not sign_in.roles():
        return [Mount("/api", api), health, numbers, *html]
    closed = TokenAlone(api, settings)
    return [Mount("/api", closed), health, Route("/metrics", endpoint=closed), *html]


def parts(settings: Settings) -> dict[str, Any]:
    """What `st.App` is given beside the page: the routes, and the middleware before them and the page."""
    return {"routes": routes(settings), "middleware": middleware(settings)}


def checked() -> Settings:
    """The environment's settings, for a server that imports app.py; one sentence and exit code 1 where it must not."""
    try:
        settings = Settings.load()
        check(settings)
    except OpskitError as error:
        raise SystemExit(f"opskit: {error}") from None
    return settings


def check(settings: Settings) -> None:
    """Refuse an address that others can reach while nothing says who may act.

    Raises:
        SettingError: Another address than this machine's own, and neither token nor sign-in; a token that can be
            guessed; or sign-in is wanted and no identity provider is configured, or one that lets everybody in.
    """
    for name, fleet in fleets.load(settings).items():
        if name != fleets.OWN:
            _check_fleet(name, fleet, settings)
    wanted = bool(sign_in.roles())
    if wanted and (problem := sign_in.lacking()):
        raise SettingError(f"OPSKIT_OPERATORS or OPSKIT_VIEWERS is set, and nobody could sign in: {problem}")
    if wanted and (url := sign_in.shared_tenant()):
        raise SettingError(
            f"server_metadata_url of .streamlit/secrets.toml is {url!r}, which lets people of every organisation in; "
            "name your own tenant in it"
        )
    if settings.api_token and len(settings.api_token) < LEAST_TOKEN:
        raise SettingError(
            f"OPSKIT_API_TOKEN has {count(len(settings.api_token), 'character')}, which can be guessed; take at least "
            f"{LEAST_TOKEN}, better 32 of: openssl rand -hex 16"
        )
    if settings.host not in LOOPBACK and settings.api_token is None and not wanted:
        raise SettingError(
            f"OPSKIT_HOST is {settings.host!r}, which others can reach, and neither OPSKIT_API_TOKEN nor "
            "OPSKIT_OPERATORS with sign-in says who may act; set one"
        )


def _check_fleet(name: str, fleet: Settings, own: Settings) -> None:
    """Refuse a further fleet that would be open where the page is closed, or could be acted on by anybody."""
    wanted, where = bool(sign_in.roles_of(fleet)), f"[{name}] of OPSKIT_PAGES"
    if wanted and (problem := sign_in.lacking()):
        raise SettingError(f"{where} sets OPSKIT_OPERATORS or OPSKIT_VIEWERS, and nobody could sign in: {problem}")
    if not wanted and sign_in.roles():
        raise SettingError(
            f"{where} names neither operators nor viewers, and the page has people sign in; name them there, too"
        )
    if fleet.api_token and len(fleet.api_token) < LEAST_TOKEN:
        raise SettingError(f"the OPSKIT_API_TOKEN of {where} can be guessed; take at least {LEAST_TOKEN} characters")
    if own.host not in LOOPBACK and fleet.api_token is None and not wanted and not fleet.read_only:
        raise SettingError(f"{where} can be reached by others, and nothing says who may act; give it OPSKIT_API_TOKEN")


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
    app = st.App(PAGE, **parts(settings))
    # A terminal that closes ends it as SIGTERM does, calls in hand first; not where nohup has the signal ignored.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    ahead.fetch()
    print(f"page and API on http://{settings.host}:{settings.port} ({settings.env})", file=sys.stderr, flush=True)
    app.run(
        config={
            "server.address": settings.host,
            "server.port": settings.port,
            "server.maxUploadSize": settings.page_upload_mb,
            "logger.hideWelcomeMessage": True,
        }
    )
    return 0


def main(argv: list[str] | None = None) -> int:
    """`python -m opskit.web`, with a flag for every setting."""
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
