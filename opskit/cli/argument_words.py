"""The words of a command line before argparse reads them: settings before the verb, and a verb that is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from opskit.cli.verbs import near
from opskit.errors import SettingError
from opskit.settings import Settings
from opskit.settings.command_line import flag_name

_BARE = {flag_name(field.name) for field in dataclasses.fields(Settings) if field.type == "bool"} | {"-v", "--verbose"}
_OWN = ("--help", "--version")
_VALUED = {flag_name(field.name) for field in dataclasses.fields(Settings)} - _BARE


def arranged(words: Sequence[str], verbs: Collection[str]) -> list[str]:
    """The words with the settings behind the verb: `opskit --env production stats` is `opskit stats --env production`.

    Raises:
        SettingError: The verb is none; it says which was meant.
    """
    words, before = list(words), []
    while words and words[0].startswith("-"):
        flag, _, value = words[0].partition("=")
        if flag in _BARE or (flag in _VALUED and value):
            before.append(words.pop(0))
        elif flag in _VALUED and len(words) > 1:
            before += [words.pop(0), words.pop(0)]
        elif flag in _VALUED or flag == "-h" or any(one.startswith(flag) for one in _OWN):
            return [*before, *words]  # --help, --version, or a value that is missing: argparse's
        else:
            raise SettingError(f"there is no setting {flag}{near(flag, _BARE | _VALUED)}")
    if not words:
        return before
    if words[0] not in verbs:
        meant = near(words[0], verbs) or "; opskit --help lists them"
        raise SettingError(f"there is no verb {words[0]!r}{meant}")
    return [words[0], *before, *words[1:]]


def divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line of `opskit notebooks`, and what follows --: argparse would take it for folders."""
    words = list(words)
    at = words.index("--") if words[:1] == ["notebooks"] and "--" in words else len(words)
    return words[:at], words[at + 1 :]
