"""Makes foreign text safe for terminals and logs: writes out control characters and invisible ones.

A file's name and a processor's error come from whoever uploads. Raw, they would clear the screen, write the
clipboard, turn the reading direction round, or begin a log line of their own.
"""

from __future__ import annotations

import re
import unicodedata

# Control (C0 and C1), format (bidirectional marks, zero-width characters, tags), halves of a character, separators.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_INDENT = "\n    "


def visible(text: str) -> str:
    """*text* on one line, with each character that a terminal obeys or hides written out.

    An escape becomes \\x1b, a line's end \\n, a right-to-left override \\u202e.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_written(one) if unicodedata.category(one) in _OBEYED else one for one in text)


def visible_lines(text: str) -> str:
    """*text* with its lines kept, each as `visible` shows it; all but the first are indented.

    So a line that somebody else wrote never stands where one of ours begins.
    """
    return _INDENT.join(visible(line) for line in text.replace("\r\n", "\n").rstrip("\n").split("\n"))


def directions_shown(text: str) -> str:
    """*text* with the marks written out that turn the reading direction; for the page, which obeys nothing else."""
    return _DIRECTION.sub(lambda mark: _written(mark[0]), text)


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
