"""The API where people have to sign in: it answers to the token alone, readings too."""

from __future__ import annotations

import dataclasses

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from opskit.errors import ForbiddenError, TokenNeededError
from opskit.settings import Settings
from opskit.web.authorization import Caller, writing_allowed
from opskit.web.throttle import Throttle

NO_TOKEN = "people sign in for this page, so the API answers to a token alone; set OPSKIT_API_TOKEN for the API"
"""What every call is told while no token is set. A call from this machine is no better: a proxy's looks the same."""


class TokenAlone:
    """No reading either without what an action would need; without a token there is nothing that would do."""

    def __init__(self, api: ASGIApp, settings: Settings) -> None:
        self._api, self._settings = api, dataclasses.replace(settings, read_only=False)
        self._throttle = Throttle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "http":
            caller = Caller.of(scope)
            try:
                if not self._settings.api_token:
                    raise ForbiddenError(NO_TOKEN)
                writing_allowed(self._settings, caller)
            except ForbiddenError as error:
                needed = isinstance(error, TokenNeededError)
                if needed and caller.authorization is not None:
                    await self._throttle.wait()
                headers = {"WWW-Authenticate": "Bearer"} if needed else None
                refusal = JSONResponse({"error": str(error)}, 401 if needed else 403, headers)
                await refusal(scope, receive, send)
                return
        await self._api(scope, receive, send)
