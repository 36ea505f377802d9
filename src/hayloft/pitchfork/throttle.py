"""Bytes per second, so that repairs leave room for those who read and upload."""

from __future__ import annotations

import asyncio

from hayloft.clock import Clock


class Throttle:
    """Lets ``bytes_per_second`` pass on average, over everything that shares it; 0 for everything."""

    def __init__(self, bytes_per_second: int, clock: Clock) -> None:
        self._bytes_per_second = bytes_per_second
        self._clock = clock
        self._free_at = 0.0

    async def wait(self, size_bytes: int) -> None:
        """Return when so many bytes may pass."""
        if not self._bytes_per_second:
            return
        now = self._clock.monotonic_seconds()
        self._free_at = max(self._free_at, now) + size_bytes / self._bytes_per_second
        # What is counted now is paid for by the next one, so that a small piece never waits for itself.
        pause = self._free_at - size_bytes / self._bytes_per_second - now
        if pause > 0:
            await asyncio.sleep(pause)
