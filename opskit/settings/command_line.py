"""The settings as flags of a command line, each beside its variable."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

from opskit.errors import SettingError
from opskit.settings.masking import holds_secret
from opskit.settings.settings import Settings
from opskit.settings.variables import Fields


def flag_name(field_name: str) -> str:
    """The flag of a setting: `lease_seconds` is `--lease-seconds`."""
    return "--" + field_name.replace("_", "-")


class _SettingsHelp(argparse.Action):
    """Print the help with the settings in it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it, and end."""
        for group in parser._action_groups:
            group.description = getattr(group, "described", group.description)
        for action in parser._actions:
            action.help = getattr(action, "described", action.help)
        parser.print_help()
        parser.exit()


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Give a parser a flag for every setting, with the variable that sets it otherwise; --help leaves them out."""
    parser.add_argument("--help-settings", action=_SettingsHelp, nargs=0, help="show the settings, too, and exit")
    group = parser.add_argument_group("settings")
    said = "each also an environment variable; a flag goes first"
    group.described = said  # type: ignore[attr-defined]  # kept for --help-settings
    for field in dataclasses.fields(Fields):
        text = f"{field.metadata['help']} [{field.metadata['env']}]".replace("%", "%%")
        metavar = field.metadata["env"].rsplit("_", 1)[-1]
        if field.type == "bool":
            how: dict[str, Any] = {"action": "store_const", "const": "1"}
        else:
            how = {"metavar": metavar}
        flag = group.add_argument(flag_name(field.name), dest=field.name, help=argparse.SUPPRESS, **how)
        flag.described = text  # type: ignore[attr-defined]  # kept for --help-settings


def settings_of(given: argparse.Namespace) -> Settings:
    """The settings that a command line and the environment give.

    Raises:
        SettingError: A value cannot be used.
    """
    values = {field.name: getattr(given, field.name, None) for field in dataclasses.fields(Fields)}
    for name in ("processor", "exec", "post"):
        # An empty variable in a script: the default processor would complete every file in its place.
        if (said := values[name]) is not None and not said.strip():
            raise SettingError(f"{flag_name(name)} is {said!r}; say what processes the files, or leave it out")
    _warn_of_secrets(values)
    return Settings.load(**values)


def _warn_of_secrets(values: dict[str, str | None]) -> None:
    """Say, once, that what stands on a command line is no secret any more."""
    open_to_all = [field for field in dataclasses.fields(Fields) if holds_secret(field, values[field.name])]
    if not open_to_all:
        return
    flags = " and ".join(flag_name(field.name) for field in open_to_all)
    variables = ", ".join(field.metadata["env"] for field in open_to_all)
    if any(field.name == "database_url" for field in open_to_all):
        variables += " (or leave the password to PGPASSFILE)"
    print(
        f"opskit: every user of this machine can read {flags} in the list of processes; set {variables} instead",
        file=sys.stderr,
    )
