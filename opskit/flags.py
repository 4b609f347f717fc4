"""Settings as command-line flags: one flag for each setting, made from the settings themselves."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from opskit.settings import Settings, holds_secret


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
    values = {field.name: getattr(given, field.name, None) for field in dataclasses.fields(Settings)}
    _warn_of_secrets(values)
    return Settings.load(**values)


def _warn_of_secrets(values: dict[str, str | None]) -> None:
    """Say, once, that what stands on a command line is no secret any more."""
    open_to_all = [field for field in dataclasses.fields(Settings) if holds_secret(field, values[field.name])]
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
