"""The settings of a process of opskit, loaded and checked."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from opskit.settings import loading, masking
from opskit.settings.checking import check
from opskit.settings.variables import ENVIRONMENTS, Fields, GivenSettings
from opskit.support import notebook_output


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(Fields):
    """What a process of opskit needs to know; made by `Settings.load`."""

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **given: Unpack[GivenSettings]) -> Settings:
        """Read the settings: what is *given* first, then the environment, then the defaults.

        Args:
            environ: Where variables are looked up. Defaults to the process's own.
            given: Settings by field name; None means "not given".

        Raises:
            SettingError: A value is not usable; the message names it and what would be.
        """
        return cls(**loading.values_of(os.environ if environ is None else environ, given))

    def __post_init__(self) -> None:
        check(self)

    @property
    def prefix(self) -> str:
        """What the names of this environment's tables begin with: "" or "dev_"."""
        return ENVIRONMENTS[self.env]

    @property
    def shown_columns(self) -> tuple[str, ...] | None:
        """The application's columns that are shown with a file; None for all of them."""
        names = tuple(name.strip() for name in self.show_columns.split(",") if name.strip())
        return None if names == ("*",) else names

    @property
    def files(self) -> str:
        """Name of this environment's files table."""
        return self.prefix + self.table

    @property
    def home_path(self) -> Path:
        """The home folder, absolute."""
        return Path(self.home).expanduser().absolute()

    @property
    def storage_root(self) -> str:
        """Folder or URL under which uploads are kept and relative paths begin."""
        return self.storage or str(self.home_path / "uploads")

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._shown().items())
        return f"Settings({given})"

    def _repr_html_(self) -> str:
        """What a notebook shows, and keeps in its file: no secret."""
        return notebook_output.record("opskit settings", self._shown())

    def _shown(self) -> dict[str, Any]:
        """The settings without their secrets; an URL keeps all but its password."""
        return {field.name: masking.shown(field, getattr(self, field.name)) for field in dataclasses.fields(self)}

    def environ(self) -> dict[str, str]:
        """These settings as environment variables, for a process of opskit to be started."""
        values = {field.metadata["env"]: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: str(int(value)) if isinstance(value, bool) else str(value)
            for name, value in values.items()
            if value is not None and value != ""
        }
