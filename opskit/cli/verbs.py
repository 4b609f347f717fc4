"""What the verbs share: how their flags are added, who acts, and the question before what cannot be undone."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from opskit.errors import OpskitError
from opskit.settings.command_line import add_settings
from opskit.support import console
from opskit.support.actor import person

actor = person
Verb = Callable[[argparse.Namespace], int]


def near(word: str, known: Iterable[str]) -> str:
    """The word that may have been meant, as the end of a sentence; nothing where none is like it."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


class Parser(argparse.ArgumentParser):
    """A command line that says which word was meant."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of the choices."""
        if action.choices is not None and value not in action.choices:
            known = [str(one) for one in action.choices]
            listed = f" (choose from {', '.join(known)})"
            raise argparse.ArgumentError(action, f"there is no {value!r}{near(str(value), known) or listed}")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]  # argparse's own has two forms
        """Parse, and refuse what is left over."""
        given, left = self.parse_known_args(args, namespace)
        if left:
            flags = [flag for one in self._all() for flag in one._option_string_actions]
            flag = left[0].partition("=")[0]
            meant = near(flag, flags) if flag.startswith("-") else ""
            self.error(f"unrecognized arguments: {' '.join(left)}{meant}")
        return given

    def _all(self) -> list[argparse.ArgumentParser]:
        """This parser, and those of its verbs."""
        verbs = [one for action in self._actions if isinstance(action, argparse._SubParsersAction)
                 for one in action.choices.values()]  # fmt: skip
        return [self, *verbs]


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
