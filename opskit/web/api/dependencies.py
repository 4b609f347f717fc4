"""What the API's handlers are given with each call: the database, the settings, who calls."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from opskit.database import Database
from opskit.errors import DatabaseUnavailableError, SettingError
from opskit.settings import Settings


def database(request: Request) -> Database:
    """The database of this call."""
    try:
        opened: Database = request.app.state.database()
    except SettingError as error:
        # Not the caller's fault, as a SettingError of a verb is: DATABASE_URL cannot be used.
        raise DatabaseUnavailableError(str(error)) from error
    return opened


def settings(request: Request) -> Settings:
    """The settings of this process."""
    found: Settings = request.app.state.settings
    return found


def actor(request: Request) -> str:
    """Who calls, for the history."""
    return f"api {request.client.host}" if request.client else "api"


Db = Annotated[Database, Depends(database)]
SettingsOf = Annotated[Settings, Depends(settings)]
Actor = Annotated[str, Depends(actor)]
Json = dict[str, Any]
