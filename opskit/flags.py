"""Settings as command-line flags: one flag for each setting, made from the settings themselves."""

from __future__ import annotations

import argparse
import dataclasses

from opskit.settings import Settings


def flag_name(field_name: str) -> str:
    """The flag of a setting: `lease_seconds` is `--lease-seconds`."""
    return "--" + field_name.replace("_", "-")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Give a parser a flag for every setting, with the variable that sets it otherwise."""
    group = parser.add_argument_group("settings", "each also an environment variable; a flag goes first")
    for field in dataclasses.fields(Settings):
        text = f"{field.metadata['help']} [{field.metadata['env']}]".replace("%", "%%")
        metavar = field.metadata["env"].rsplit("_", 1)[-1]
        if field.type == "bool":
            group.add_argument(flag_name(field.name), dest=field.name, action="store_const", const="1", help=text)
        else:
            group.add_argument(flag_name(field.name), dest=field.name, metavar=metavar, help=text)


def settings_of(given: argparse.Namespace) -> Settings:
    """The settings that a command line and the environment give.

    Raises:
        SettingError: A value cannot be used.
    """
    return Settings.load(**{field.name: getattr(given, field.name, None) for field in dataclasses.fields(Settings)})
