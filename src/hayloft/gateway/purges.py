"""Has the caches forget every deleted photo, whoever deleted it: follows the deletions in the event log.

The gateway that deletes a photo purges it from the caches at once (``cached``). Should it die before that,
or a cache be away, the event is still there: every gateway with caches follows the log from the position up
to which all purges are done, which the directory remembers. Purging again is no error, so gateways need not
know of each other. What was deleted longer ago than anything stays in a cache unread is skipped.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from hayloft import limits
from hayloft.clock import Clock
from hayloft.errors import HayloftError
from hayloft.gateway.cached import Cached
from hayloft.roles import Directory
from hayloft.types import EventKind, PhotoId

CONSUMER: Final = "caches"
EVENTS_AT_ONCE: Final = 100
WAIT_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 1.0
"""Between two questions: every event, of whatever kind, ends the waiting for the next deletion."""

_log = structlog.get_logger(__name__)


class Purges:
    """One gateway's part in it."""

    def __init__(
        self,
        directory: Directory,
        cached: Cached,
        clock: Clock,
        *,
        entry_seconds_max: float = limits.CACHE_TTL_SECONDS,
    ) -> None:
        self._directory = directory
        self._cached = cached
        self._clock = clock
        self._entry_ms_max = entry_seconds_max * 1000
        self._seen: int | None = None
        self._done = 0
        self._open: dict[int, PhotoId] = {}

    async def run(self) -> None:
        """Follow the log until cancelled."""
        while True:
            try:
                await self.follow()
            except HayloftError as error:
                _log.warning("deletions not heard of", error=error.message)
            await asyncio.sleep(PAUSE_SECONDS)

    async def follow(self, *, wait_seconds: float = WAIT_SECONDS) -> None:
        """Purge the next deletions, waiting for the first.

        Raises:
            HayloftError: the directory does not answer; nothing is skipped.
        """
        if self._seen is None:
            self._seen = self._done = await self._directory.position(CONSUMER)
        events = await self._directory.events(
            after=self._seen, limit=EVENTS_AT_ONCE, wait_seconds=wait_seconds, kinds=(EventKind.DELETED,)
        )
        since_ms = self._clock.now_ms() - self._entry_ms_max
        fresh = {
            event.position: event.photo
            for event in events
            if event.kind is EventKind.DELETED and event.at_ms >= since_ms
        }
        self._open |= fresh
        if events:
            self._seen = events[-1].position
        await asyncio.gather(*(self._cached.purge(photo) for photo in fresh.values()))
        await self._remember()

    async def _remember(self) -> None:
        """Have the directory know how far all purges are done."""
        self._open = {
            position: photo for position, photo in self._open.items() if self._cached.is_unpurged(photo)
        }
        assert self._seen is not None
        done = min(self._open) - 1 if self._open else self._seen
        if done > self._done:
            await self._directory.advance(CONSUMER, done)
            self._done = done
