"""opskit: process uploaded files on many nodes, each file once, and see and steer it.

import opskit
from opskit import stats

with opskit.connect() as db:
    print(stats.distribution(db))
"""

from __future__ import annotations

from typing import Any

from opskit._version import __version__
from opskit.database import Database
from opskit.errors import ClaimLostError, OpskitError, Reject
from opskit.files import ClaimedFile
from opskit.server_id import server_id, server_info
from opskit.settings import Settings

__all__ = [
    "ClaimLostError",
    "ClaimedFile",
    "Database",
    "OpskitError",
    "Reject",
    "Settings",
    "__version__",
    "connect",
    "server_id",
    "server_info",
]


def connect(database_url: str | None = None, **settings: Any) -> Database:
    """Open the database that the settings name; the embedded one when they name none.

    Args:
        database_url: Any libpq URI. Defaults to DATABASE_URL, else the embedded server, which is started.
        settings: Other settings by field name, such as env="production".

    Raises:
        SettingError: A setting cannot be used.
        EmbeddedServerError: The embedded server cannot be started.
    """
    return Database(Settings.load(database_url=database_url, **settings))
