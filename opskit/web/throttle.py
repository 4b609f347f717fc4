"""A brake for wrong tokens: each waits the longer, the more of them wait."""

from __future__ import annotations

import asyncio

STEP_SECONDS = 0.1
MOST_SECONDS = 5.0


class Throttle:
    """Makes guessing slow for all guessers together, and costs whoever shows the right token nothing."""

    def __init__(self) -> None:
        self._waiting = 0

    async def wait(self) -> None:
        """Wait for one's turn after a wrong token: 0.1 s alone, at most 5 s among many."""
        self._waiting += 1
        try:
            await asyncio.sleep(min(self._waiting * STEP_SECONDS, MOST_SECONDS))
        finally:
            self._waiting -= 1
