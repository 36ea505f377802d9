"""Waiting for the event log to grow: woken at once by this process's own commits, polling for those of
others.

SQLite has no way to tell another process that it has written, so other processes' events are found by
looking: often while something has just happened, seldom when nothing has for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from hayloft.errors import ShuttingDown

T = TypeVar("T")

POLL_SECONDS_MIN: Final = 0.01
"""The first pause: what another process has written is seen about this late while there is work."""

POLL_SECONDS_MAX: Final = 0.25
"""The longest pause: an idle reader costs four probes of an index a second."""

WAIT_SECONDS_MAX: Final = 60.0
"""The longest that one call waits, so that no connection is held open for ever."""


class Waiting:
    """Where readers of the log wait."""

    def __init__(self) -> None:
        self._grown = asyncio.Event()
        self._closed = False

    def wake(self) -> None:
        """Something was committed in this process."""
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    def close(self) -> None:
        """Let everybody go who waits."""
        self._closed = True
        self.wake()

    async def until_some(
        self, look: Callable[[], Awaitable[tuple[T, ...]]], seconds: float
    ) -> tuple[T, ...]:
        """What ``look`` finds, as soon as it finds something; nothing when the time is over.

        Raises:
            ShuttingDown: closed while waiting.
        """
        deadline = time.monotonic() + min(seconds, WAIT_SECONDS_MAX)
        pause = POLL_SECONDS_MIN
        while True:
            grown = self._grown
            found = await look()
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            if self._closed:
                raise ShuttingDown
            await _either(grown, min(pause, left))
            pause = min(2 * pause, POLL_SECONDS_MAX)


async def _either(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
