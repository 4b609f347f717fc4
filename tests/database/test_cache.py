"""Kept answers: what is quick is got anew for everybody, what is slow once for all, behind the scenes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from opskit.database.cache import Cache


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """What is asked: counts its calls, and takes as long as it is told by the clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, self.calls = clock, seconds, 0
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> int:
        self.gate.wait(20)
        self.calls += 1
        self.clock.now += self.seconds
        if self.error is not None:
            raise self.error
        return self.calls


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(clock: Clock) -> Cache:
    return Cache(small=0, clock=clock)


def reader(kept: Cache, source: Callable[[], int], patience_seconds: float = 20) -> Callable[[], int | None]:
    return lambda: kept.read("key", source, size=lambda _: 1, patience_seconds=patience_seconds)


def settled() -> None:
    """Wait until no thread gets an answer any more."""
    for thread in threading.enumerate():
        if thread.name == "cache":
            thread.join(20)


def test_what_is_quick_is_got_anew_for_everybody_who_asks(clock: Clock, kept: Cache) -> None:
    read = reader(kept, Source(clock, 0.01))

    assert [read() for _ in range(3)] == [1, 2, 3]


def test_what_is_slow_is_kept_for_a_minute(clock: Clock, kept: Cache) -> None:
    source = Source(clock, 1.0)
    read = reader(kept, source)

    assert [read() for _ in range(3)] == [1, 1, 1]
    clock.now += 55
    assert (read(), source.calls) == (1, 1)


def test_an_old_answer_is_handed_out_while_one_thread_gets_the_next(clock: Clock, kept: Cache) -> None:
    source = Source(clock, 1.0)
    read = reader(kept, source)
    assert read() == 1
    source.gate.clear()
    clock.now += 70

    with ThreadPoolExecutor(20) as pool:
        assert {answer.result(20) for answer in [pool.submit(read) for _ in range(20)]} == {1}
    source.gate.set()
    settled()

    assert (read(), source.calls) == (2, 2)


def test_an_answer_of_long_ago_is_waited_for_as_long_as_the_reader_has_patience(clock: Clock, kept: Cache) -> None:
    source = Source(clock, 1.0)
    read = reader(kept, source)
    assert read() == 1
    clock.now += 3600

    assert read() == 2
    clock.now += 3600
    source.gate.clear()
    assert reader(kept, source, 0)() == 2
    source.gate.set()


def test_there_is_no_answer_yet_for_a_reader_without_patience(clock: Clock, kept: Cache) -> None:
    source = Source(clock, 1.0)
    source.gate.clear()

    assert reader(kept, source, 0)() is None

    source.gate.set()
    settled()
    assert (reader(kept, source, 0)(), source.calls) == (1, 1)


def test_what_was_changed_is_got_anew_but_not_at_each_change(clock: Clock, kept: Cache) -> None:
    source = Source(clock, 1.0)
    read = reader(kept, source)
    assert read() == 1

    kept.outdate()
    read()
    settled()
    assert source.calls == 1
    clock.now += 6
    read()
    settled()

    assert (read(), source.calls) == (2, 2)


def test_a_change_while_an_answer_is_got_makes_that_answer_old(clock: Clock, kept: Cache) -> None:
    source = Source(clock, 1.0)
    source.gate.clear()
    assert reader(kept, source, 0)() is None
    kept.outdate()
    source.gate.set()
    settled()

    clock.now += 6
    reader(kept, source)()
    settled()

    assert source.calls == 2


def test_an_error_is_raised_when_nothing_is_known_and_else_what_is_known_stays(clock: Clock, kept: Cache) -> None:
    source = Source(clock, 1.0)
    read = reader(kept, source)
    source.error = ValueError("away")
    with pytest.raises(ValueError, match="away"):
        read()
    source.error = None
    assert read() == 2
    source.error = ValueError("away again")

    clock.now += 3600
    assert read() == 2
    assert (read(), source.calls) == (2, 3)
    source.error = None
    clock.now += 6
    assert read() == 4


def test_what_was_slow_and_is_quick_now_is_kept_no_longer(clock: Clock, kept: Cache) -> None:
    source = Source(clock, 1.0)
    read = reader(kept, source)
    read()
    source.seconds = 0.01
    clock.now += 3600

    assert [read() for _ in range(3)] == [2, 3, 4]


def test_what_is_small_is_got_anew_however_long_it_takes(clock: Clock) -> None:
    read = reader(Cache(small=1, clock=clock), Source(clock, 10.0))

    assert [read() for _ in range(3)] == [1, 2, 3]


def test_a_later_look_is_not_overwritten_by_an_earlier_one_that_took_longer(clock: Clock, kept: Cache) -> None:
    read = reader(kept, Source(clock, 0.01))
    read()
    held, begun = threading.Event(), threading.Event()

    def early() -> int:
        begun.set()
        held.wait(20)
        return -1

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(kept.read, "key", early, lambda _: 1, patience_seconds=20)
        assert begun.wait(20)
        clock.now += 1
        assert read() == 2
        held.set()

        assert late.result(20) == 2
