"""A stale-while-revalidate cache for slow counts, shared by all threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any, TypeVar

Cached = TypeVar("Cached")
_NEVER = float("-inf")


@dataclass(slots=True)
class _Entry:
    """One cached result, how long it took, and the thread that refreshes it."""

    answer: Any = None
    known: bool = False
    took: float = 0.0
    size: int = 0
    begun: float = _NEVER
    failed: float = _NEVER
    running: Future[None] | None = None


class Cache:
    """Cache answers, by key; any thread may ask.

    What is quick to get, or small, is never kept: its reader gets it himself, exact for this moment. What is slow is
    handed out as it was got last, while one thread, whoever asks and however often, gets it anew.

    Args:
        slow_seconds: An answer that takes longer is kept [s]. Defaults to 0.05.
        small: One of no more than this is not, however long it takes on a busy machine. Defaults to 100,000.
        every_seconds: A kept answer older than this is got anew when somebody asks [s]. Defaults to 60.
        soonest_seconds: One that is outdated, or could not be got, is not got anew sooner [s]. Defaults to 5.
        clock: Tells the time [s].
    """

    def __init__(
        self,
        *,
        slow_seconds: float = 0.05,
        small: int = 100_000,
        every_seconds: float = 60.0,
        soonest_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slow_seconds = slow_seconds
        self.small = small
        self.every_seconds = every_seconds
        self.soonest_seconds = soonest_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[object, _Entry] = {}
        self._changed = _NEVER

    def read(
        self, key: object, get: Callable[[], Cached], size: Callable[[Cached], int], *, patience_seconds: float
    ) -> Cached | None:
        """The answer to *key*, as *get* gets it.

        Args:
            key: What is asked.
            get: Gets the answer; may be called in another thread.
            size: How much was counted for an answer.
            patience_seconds: How long to wait for a slow answer when none is known, or when the known one is of
                long ago because nobody has asked; one that took longer the last time is not waited for [s].

        Returns:
            The answer; None when there is none yet.

        Raises:
            Exception: What *get* raises, when no answer is known.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            quick = self.quick(key)
            if not quick and entry.running is None and self._due(entry):
                entry.running = Future()
                threading.Thread(
                    target=self._renew, args=(entry, entry.running, get, size), name="cache", daemon=True
                ).start()
            running = entry.running
            of_long_ago = self._clock() - entry.begun > 2 * self.every_seconds
            in_vain = entry.known and entry.took > patience_seconds
        if quick:
            self._get(entry, get, size)
        elif running is not None and of_long_ago and not in_vain:
            try:
                running.result(patience_seconds)
            except Late:
                pass
            except Exception:
                if not entry.known:
                    raise
        answer: Cached | None = entry.answer
        return answer

    def quick(self, key: object) -> bool:
        """Whether the answer is known to be quick to get."""
        entry = self._entries.get(key)
        return entry is not None and entry.known and (entry.took <= self.slow_seconds or entry.size <= self.small)

    def note(self, key: object, *, seconds: float, size: int) -> None:
        """What is as long to get as the answer to *key* took so long, and was of that size."""
        with self._lock:
            if entry := self._entries.get(key):
                entry.took, entry.size = seconds, size

    def outdate(self) -> None:
        """Mark every cached result as outdated: the next call computes it again."""
        self._changed = self._clock()

    def _due(self, entry: _Entry) -> bool:
        if not entry.known:
            return True
        now = self._clock()
        old = now - entry.begun > self.every_seconds or self._changed >= entry.begun
        return old and now - max(entry.begun, entry.failed) > self.soonest_seconds

    def _renew(self, entry: _Entry, running: Future[None], get: Callable[[], Any], size: Callable[[Any], int]) -> None:
        try:
            self._get(entry, get, size)
        except Exception as error:
            with self._lock:
                entry.failed, entry.running = self._clock(), None
            running.set_exception(error)
        else:
            with self._lock:
                entry.running = None
            running.set_result(None)

    def _get(self, entry: _Entry, get: Callable[[], Any], size: Callable[[Any], int]) -> None:
        begun = self._clock()
        answer = get()
        with self._lock:
            # Whoever began later has seen more.
            if begun >= entry.begun:
                entry.answer, entry.known, entry.begun = answer, True, begun
                entry.took, entry.size = self._clock() - begun, size(answer)
