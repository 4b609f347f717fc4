"""What a person hands to a function of a notebook, checked before it is used."""

from __future__ import annotations

from opskit.database import Database
from opskit.errors import SettingError


def database(db: object) -> Database:
    """The open database that was given.

    Raises:
        SettingError: It is none, such as an address, or the module itself.
    """
    if not isinstance(db, Database):
        # Not the value: an address may hold a password.
        raise SettingError(
            f"db is of the type {type(db).__name__}, not an open database; open one: db = opskit.connect()"
        )
    return db
