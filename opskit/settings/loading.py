"""Where the value of a setting comes from: what is given, the environment, or a folder above."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opskit.errors import SettingError
from opskit.settings.variables import Fields


def values_of(environ: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are given or in the environment, by field, each of its field's type.

    Args:
        environ: Variables by name.
        given: Values by field; None means "not given".

    Raises:
        SettingError: A value is not of its field's type, or there is no such field.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Fields):
        source = field.metadata["env"]
        value: Any = given.get(field.name)
        if value is None:
            # An empty variable counts as unset: that is what a shell or a manifest means by it.
            value = environ.get(source, "").strip() or None
        if value is not None:
            values[field.name] = _convert(source, str(field.type), value)
    unknown = set(given) - {field.name for field in dataclasses.fields(Fields)}
    if unknown:
        raise SettingError(f"there is no setting {sorted(unknown)[0]!r}")
    if "home" not in values and (home := _home_above()):
        values["home"] = home
    return values


def _home_above() -> str | None:
    """The home folder of a folder above, when there is none here: a notebook's kernel works in the notebook's folder.

    Only one of this user's own: another's, in /tmp say, would lead to a server that is theirs.
    """
    try:
        here = Path.cwd()
        for folder in (here, *here.parents):
            home = folder / ".opskit"
            with contextlib.suppress(OSError):
                found = home.lstat()
                if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                    return None if folder == here else str(home)
    except OSError:  # the folder that we work in is gone
        pass
    return None


def _convert(source: str, type_name: str, value: Any) -> Any:
    """Turn what was given for *source* into the field's type, or say what is wrong with it."""
    if not isinstance(value, str):
        return value
    kind = type_name.removesuffix(" | None")
    if kind == "bool":
        if value.lower() in ("1", "true", "yes", "on"):
            return True
        if value.lower() in ("0", "false", "no", "off"):
            return False
        raise SettingError(f"{source} is {value!r}; it must be 1 or 0")
    if kind not in ("float", "int"):
        return value
    try:
        return float(value) if kind == "float" else int(value)
    except ValueError:
        wanted = "a number" if kind == "float" else "a whole number"
        raise SettingError(f"{source} is {value!r}; it must be {wanted}") from None
