"""The failure of an attempt, as a program or a server reports it."""

from __future__ import annotations

from typing import Literal


class Failure(Exception):
    """A program or a server that processes files has failed at one.

    Attributes:
        outcome: raised, or crashed when a signal has killed the program.
        kind: Whether it speaks of the world or of the file.
        place: Which program or server it was.
        story: What it said before, such as the end of stderr; "" when nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        outcome: Literal["raised", "crashed"] = "raised",
        kind: Literal["world", "file"] = "file",
        place: str = "",
        story: str = "",
    ) -> None:
        super().__init__(message)
        self.outcome, self.kind, self.place, self.story = outcome, kind, place, story
