"""A reader does not wait in vain: an answer that took longer than its patience the last time is not waited for."""

from __future__ import annotations

import threading
import time

import pytest

from opskit.database.cache import Cache

LONG_AGO = 1000.0


class Counting:
    """Counts its calls; takes so long by the cache's clock, and then until it is let go."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.calls, self.now = seconds, 0, 0.0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> int:
        self.gate.wait(20)
        self.calls += 1
        self.now += self.seconds
        return self.calls


def read(cache: Cache, source: Counting, patience_seconds: float) -> int | None:
    return cache.read("key", source, size=lambda _: 1, patience_seconds=patience_seconds)


@pytest.fixture
def source() -> Counting:
    return Counting(2.4)


@pytest.fixture
def cache(source: Counting) -> Cache:
    cache = Cache(small=0, clock=lambda: source.now)
    assert read(cache, source, 20) == 1
    source.now += LONG_AGO
    return cache


def test_an_answer_that_took_longer_than_the_patience_is_not_waited_for(cache: Cache, source: Counting) -> None:
    source.gate.clear()
    began = time.monotonic()

    assert read(cache, source, 2.0) == 1

    assert time.monotonic() - began < 1.5
    source.gate.set()
    for thread in threading.enumerate():
        if thread.name == "cache":
            thread.join(20)
    assert read(cache, source, 2.0) == 2


def test_an_answer_that_took_less_than_the_patience_is_waited_for(cache: Cache, source: Counting) -> None:
    assert read(cache, source, 10) == 2
