"""The lines of an error's text, and the one that tells it. Light: the shell reads nothing else of errors."""

from __future__ import annotations

import re

MARKERS = re.compile(r"[\s^~+\-|]*")
"""Lines that say nothing: carets below a line, and the frame of an exception group."""
_DETAILS = re.compile(r"\s*(LINE \d+|DETAIL|HINT|CONTEXT|QUERY):")


def last_line(text: str | None) -> str:
    """The line of a stored error that tells it: the last one that says something.

    Texts of older versions end in the caret of an SQL or Python error, or in PostgreSQL's details; these are passed
    over.
    """
    lines = [line for line in (text or "").splitlines() if not MARKERS.fullmatch(line)]
    telling = [line for line in lines if not _DETAILS.match(line)]
    return one_line((telling or lines or [text or ""])[-1])


def one_line(text: str) -> str:
    """Without line ends, control characters and what UTF-8 cannot hold; white space is single."""
    text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split()).encode("utf-8", "replace").decode()
