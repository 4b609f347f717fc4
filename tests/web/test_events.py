"""Live numbers for programs: one reading for all who listen, honest when there is none, over when the server stops."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.sse import ServerSentEvent

from opskit.errors import DatabaseUnavailableError
from opskit.web.api import events


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EVERY_SECONDS", 0.02)


async def first(listener: AsyncIterator[ServerSentEvent], count: int) -> list[ServerSentEvent]:
    told = []
    async for event in listener:
        told.append(event)
        if len(told) == count:
            break
    return told


def test_many_listeners_cost_no_more_readings_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EVERY_SECONDS", 60.0)
    taken = iter(range(100))
    pulse = events.StatsStream(lambda: {"number": next(taken)})

    async def many() -> list[list[ServerSentEvent]]:
        return await asyncio.gather(*(first(pulse.listen(), 1) for _ in range(50)))

    told = asyncio.run(many())

    assert {event.data["number"] for events in told for event in events} == {0}


def test_a_listener_is_told_again_and_again() -> None:
    taken = iter(range(100))
    pulse = events.StatsStream(lambda: {"number": next(taken)})

    told = asyncio.run(first(pulse.listen(), 3))

    assert [event.data["number"] for event in told] == [0, 1, 2]
    assert told[0].event is None


def test_a_database_that_is_away_is_an_event_of_its_own_and_the_stream_goes_on() -> None:
    answers: Iterator[Any] = iter([{"number": 1}, DatabaseUnavailableError(), {"number": 2}])

    def take() -> dict[str, Any]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    told = asyncio.run(first(events.StatsStream(take).listen(), 3))

    assert [event.event for event in told] == [None, "unavailable", None]
    assert told[1].data == {"error": "The database cannot be reached."}


def test_a_stream_ends_when_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SimpleNamespace(should_exit=False)

    class Handler:
        __self__ = server

    monkeypatch.setattr(signal, "getsignal", lambda _: Handler())

    def take() -> dict[str, Any]:
        server.should_exit = True
        return {}

    assert len(asyncio.run(first(events.StatsStream(take).listen(), 5))) == 1
