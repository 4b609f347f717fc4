"""Back-off: pauses between retries that double up to a longest one, until a deadline."""

from __future__ import annotations

import math
import random
import time


class Backoff:
    """The pauses between tries.

    Args:
        first: The first pause [s]; each is twice as long as the one before.
        longest: The longest pause [s].
        patience_seconds: How long to go on. Defaults to for ever.
    """

    def __init__(self, first: float, longest: float, patience_seconds: float = math.inf) -> None:
        self._pause, self._longest = first, longest
        self._deadline = time.monotonic() + patience_seconds

    @property
    def is_over(self) -> bool:
        """Whether the patience is used up."""
        return time.monotonic() > self._deadline

    @property
    def is_last(self) -> bool:
        """Whether it will be used up after the next pause."""
        return time.monotonic() + self._pause > self._deadline

    def pause(self, *, jitter: bool = False) -> float:
        """The next pause [s].

        Args:
            jitter: Half of it or more, at random, so that many who wait do not come back at once.
        """
        now, self._pause = self._pause, min(self._pause * 2, self._longest)
        return now * random.uniform(0.5, 1.0) if jitter else now

    def wait(self, *, jitter: bool = False) -> None:
        """Sleep for the next pause."""
        time.sleep(self.pause(jitter=jitter))
