"""The numbers of the moment as Server-Sent Events: one reading serves all who listen."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable

from fastapi.sse import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from opskit.errors import OpskitError
from opskit.web.api.dependencies import Json

EVERY_SECONDS = 2.0
"""How often a listener is told [s]; a reading that is younger is not taken again."""
RETRY_MILLISECONDS = 3000


class StatsStream:
    """The last reading, taken anew by whichever listener finds it too old, while the others wait for that one.

    Args:
        take: Reads the numbers; raises OpskitError when there are none.
    """

    def __init__(self, take: Callable[[], Json]) -> None:
        self._take = take
        self._lock = asyncio.Lock()
        self._last: ServerSentEvent | None = None
        self._taken_at = 0.0

    async def reading(self) -> ServerSentEvent:
        """The numbers, or why there are none."""
        async with self._lock:
            if self._last is None or time.monotonic() - self._taken_at >= EVERY_SECONDS:
                self._last = await run_in_threadpool(self._event)
                self._taken_at = time.monotonic()
            return self._last

    def _event(self) -> ServerSentEvent:
        try:
            return ServerSentEvent(data=self._take(), retry=RETRY_MILLISECONDS)
        except OpskitError as error:
            # Not "error": that is what a browser calls a connection that broke.
            return ServerSentEvent(data={"error": str(error)}, event="unavailable", retry=RETRY_MILLISECONDS)

    async def listen(self) -> AsyncIterator[ServerSentEvent]:
        """One listener's events, until it goes or the server stops."""
        while not server_stops():
            yield await self.reading()
            await asyncio.sleep(EVERY_SECONDS)


def server_stops() -> bool:
    """Whether the server in this process has been told to stop.

    uvicorn waits for answers that are under way, and tells nobody; but the handler of its signals is a method of it.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(server, "should_exit", False) is True
