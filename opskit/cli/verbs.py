"""What the verbs share: how their flags are added, who acts, and the question before what cannot be undone."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from opskit.errors import OpskitError
from opskit.settings.command_line import add_settings
from opskit.support import console
from opskit.support.actor import person

actor = person
Verb = Callable[[argparse.Namespace], int]


class Verbs:
    """The verbs of the command line.

    Args:
        parser: The whole command line's parser.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parsers = parser.add_subparsers(metavar="VERB", required=True)

    def add(self, name: str, verb: Verb, text: str) -> argparse.ArgumentParser:
        """Add a verb; *text* says in one line what it does."""
        one = self._parsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(verb=verb, verbose=False)
        return one

    def finish(self, one: argparse.ArgumentParser, *, json: bool = True) -> None:
        """Add what every verb has: --json, --verbose and the settings."""
        if json:
            one.add_argument("--json", action="store_true", help="one JSON document on stdout")
        one.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
        add_settings(one)


def count_of(text: str) -> int:
    """A number of nodes from a flag, 1 to 100."""
    number = int(text)
    if not 1 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 100")
    return number


_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str) -> float:
    """A stretch of time such as 90, 45s, 30m, 2h or 1d, in seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in {"", *_UNITS}:
        raise argparse.ArgumentTypeError(f"{text!r} is no stretch of time; write 90s, 30m, 2h or 1d")
    return float(found[1]) * _UNITS.get(found[2], 1.0)


def confirm(given: argparse.Namespace, what: str) -> None:
    """Ask before what cannot be undone; --yes answers for programs."""
    if given.yes:
        return
    if not sys.stdin.isatty():
        refuse(f"{what}: say --yes to do it without being asked")
    console.err.print(f"This will {what}.")
    if input("Type yes to go on: ").strip() != "yes":
        refuse("nothing was changed")


def refuse(sentence: str) -> NoReturn:
    """End with one sentence."""
    raise OpskitError(sentence)
