"""opskit: process uploaded files on many nodes, each file once, and see and steer it.

import opskit
from opskit import stats

with opskit.connect() as db:
    print(stats.distribution(db))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Unpack

from opskit._version import __version__
from opskit.database import Database
from opskit.errors import ClaimLostError, OpskitError, Reject, Retry
from opskit.settings import OtherSettings, Settings

if TYPE_CHECKING:
    from opskit import doctor as doctor
    from opskit import jupyter as jupyter
    from opskit import migration as migration
    from opskit import queue as queue
    from opskit import stats as stats
    from opskit.files.claimed import ClaimedFile as ClaimedFile
    from opskit.files.testing import claimed as claimed
    from opskit.jupyter.replay import replay as replay
    from opskit.jupyter.watch import watch as watch
    from opskit.queue.server_id import server_id as server_id
    from opskit.queue.server_id import server_info as server_info

_PACKAGES = ("doctor", "jupyter", "migration", "queue", "stats")
_HOMES = {
    "ClaimedFile": "opskit.files.claimed",
    "claimed": "opskit.files.testing",
    "load_ipython_extension": "opskit.jupyter.magics",
    "replay": "opskit.jupyter.replay",
    "server_id": "opskit.queue.server_id",
    "server_info": "opskit.queue.server_id",
    "unload_ipython_extension": "opskit.jupyter.magics",
    "watch": "opskit.jupyter.watch",
}

__all__ = [
    "ClaimLostError",
    "ClaimedFile",
    "Database",
    "OpskitError",
    "Reject",
    "Retry",
    "Settings",
    "__version__",
    "claimed",
    "connect",
    "doctor",
    "jupyter",
    "migration",
    "queue",
    "replay",
    "server_id",
    "server_info",
    "stats",
    "watch",
]


def connect(database_url: str | None = None, *, actor: str = "", **settings: Unpack[OtherSettings]) -> Database:
    """Open the database that the settings name; the embedded one when they name none.

    Args:
        database_url: Any libpq URI. Defaults to DATABASE_URL, else the embedded server, which is started.
        actor: Who acts through this connection, for the history. Defaults to $JUPYTERHUB_USER, else this machine's
            user.
        settings: Other settings by field name, such as env="production".

    Raises:
        SettingError: A setting cannot be used.
        EmbeddedServerError: The embedded server cannot be started.
    """
    return Database(Settings.load(database_url=database_url, **settings), actor=actor)


def __getattr__(name: str) -> Any:
    """What is imported on first use (PEP 562): `import opskit` loads neither pandas nor plotly."""
    if name in _PACKAGES:
        return importlib.import_module(f"opskit.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'opskit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
