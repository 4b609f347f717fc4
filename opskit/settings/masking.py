"""Which settings are secrets, and what is shown of them."""

from __future__ import annotations

import dataclasses
from typing import Any

from opskit.settings.variables import Fields
from opskit.support.logs import masked


def secret_variables() -> frozenset[str]:
    """The environment variables of settings that are secrets."""
    return frozenset(field.metadata["env"] for field in dataclasses.fields(Fields) if field.metadata["secret"])


def holds_secret(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether this value of a setting must not be shown: a token, or a URL with a password in it."""
    return bool(value != shown(field, value))


def shown(field: dataclasses.Field[Any], value: Any) -> Any:
    """What is shown of a setting: a token is left out, a URL keeps all but its password."""
    if not isinstance(value, str) or not value:
        return value
    return "…" if field.metadata["secret"] else masked(value)
