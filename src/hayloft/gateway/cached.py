"""The cache in front of the stores, as far as it may be relied on: hardly.

A question that is not answered within a moment is a miss, and so is one that fails: a cache never holds a
read up. What is filled in follows Haystack, section 3.3: only what clients ask for, and, unless told
otherwise, only photos of volumes that take writes, because photos are read most when they are new. Fills
and the repetition of purges go on in the background. A photo whose purge is not complete is not read from
the cache by this gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from typing import Any, Final

import structlog

from hayloft import limits
from hayloft.clock import Clock
from hayloft.errors import HayloftError
from hayloft.gateway.placements import Placements
from hayloft.roles import Cache, StoredNeedle
from hayloft.types import AlternateKey, CacheMiss, NewNeedle, PhotoId, volume_of

ANSWER_SECONDS_MAX: Final = 0.05
"""What a read may lose to a cache that does not answer."""

FILL_BYTES_MAX: Final = 64 * limits.MIB
"""Fills in flight; past it photos are not filled in, so that a slow cache holds little memory."""

PURGES_MAX: Final = 100_000
"""Incomplete purges remembered; past it the oldest is forgotten."""

PAUSE_SECONDS: Final = 1.0
PAUSE_SECONDS_MAX: Final = 30.0
"""Between two tries of what is to be purged; it doubles as long as none succeeds."""

_PURGED_AT_ONCE: Final = 16

_NO_FILL: Final = CacheMiss(lease=None)

_log = structlog.get_logger(__name__)


class Admission(StrEnum):
    """Which photos are filled into the cache when a client asks for them."""

    ALL = "all"
    WRITABLE = "writable"
    """Those in volumes that take writes (Haystack, section 3.3)."""
    NONE = "none"


IsActive = Callable[[PhotoId], Awaitable[bool]]
"""Whether the directory has a photo, and not as a deleted one."""


class Cached:
    """One gateway's view of the cache."""

    def __init__(
        self,
        cache: Cache,
        *,
        placements: Placements,
        is_active: IsActive,
        clock: Clock,
        admission: Admission = Admission.WRITABLE,
        entry_seconds_max: float = limits.CACHE_TTL_SECONDS,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._cache = cache
        self._placements = placements
        self._is_active = is_active
        self._clock = clock
        self._admission = admission
        self._entry_seconds_max = entry_seconds_max
        self._answer_seconds_max = answer_seconds_max
        self._pause_seconds_min = pause_seconds
        self._fill_bytes = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._unpurged: dict[PhotoId, float] = {}
        self._purging: asyncio.Task[None] | None = None

    async def get(self, photo: PhotoId, key: AlternateKey) -> StoredNeedle | CacheMiss:
        """A rendition, or a miss; whatever the cache does, it comes soon."""
        if photo in self._unpurged:
            return _NO_FILL
        question = self._in_background(self._ask(photo, key))
        # A question given up is not cancelled: the cache's own failures are to be noticed further down.
        await asyncio.wait((question,), timeout=self._answer_seconds_max)
        return question.result() if question.done() else _NO_FILL

    def fill(self, photo: PhotoId, key: AlternateKey, needle: StoredNeedle, miss: CacheMiss) -> None:
        """Have the cache keep what it missed and a store had, if it is to be kept."""
        size = len(needle.data)
        if miss.lease is None or self._fill_bytes + size > FILL_BYTES_MAX or not self._admits(photo):
            return
        self._fill_bytes += size
        self._in_background(
            self._put(
                NewNeedle(
                    photo=photo,
                    cookie=needle.cookie,
                    data=needle.data,
                    alternate_key=key,
                    metadata=needle.metadata,
                ),
                miss.lease,
            )
        )

    async def purge(self, photo: PhotoId) -> None:
        """Have the cache forget a photo; what cannot be done now is tried again until it is, or until
        whatever a cache may have had of it has expired.
        """
        self._unpurged[photo] = self._clock.monotonic_seconds() + self._entry_seconds_max
        if len(self._unpurged) > PURGES_MAX:
            del self._unpurged[next(iter(self._unpurged))]
        if not await self._forget(photo) and self._purging is None:
            self._purging = self._in_background(self._purge_until_done())

    def is_unpurged(self, photo: PhotoId) -> bool:
        """Whether a cache may still have a photo that it was to forget."""
        return photo in self._unpurged

    async def close(self) -> None:
        """Let fills arrive; stop trying purges again."""
        if self._purging is not None:
            self._purging.cancel()
        if self._unpurged:
            _log.warning("photos not purged from the cache", photos=len(self._unpurged))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _admits(self, photo: PhotoId) -> bool:
        if self._admission is Admission.WRITABLE:
            return self._placements.takes_writes(volume_of(photo))
        return self._admission is Admission.ALL

    async def _ask(self, photo: PhotoId, key: AlternateKey) -> StoredNeedle | CacheMiss:
        try:
            return await self._cache.get(photo, key)
        except Exception as error:
            _log.warning("cache failed", error=repr(error))
            return _NO_FILL

    async def _put(self, needle: NewNeedle, lease: str) -> None:
        try:
            # A replica that a deletion has not reached yet still gives the photo. The directory is asked
            # after the lease was given: what is deleted later makes the lease void.
            if await self._is_active(needle.photo):
                await self._cache.put(needle, lease=lease)
        except Exception as error:
            _log.info("cache not filled", photo_id=needle.photo, error=repr(error))
        finally:
            self._fill_bytes -= len(needle.data)

    async def _forget(self, photo: PhotoId) -> bool:
        try:
            await self._cache.delete(photo)
        except HayloftError as error:
            _log.warning("photo not purged yet", photo_id=photo, error=error.message)
            return False
        self._unpurged.pop(photo, None)
        return True

    async def _purge_until_done(self) -> None:
        pause = self._pause_seconds_min
        while self._unpurged:
            await asyncio.sleep(pause)
            now = self._clock.monotonic_seconds()
            for photo in [photo for photo, until in self._unpurged.items() if until < now]:
                del self._unpurged[photo]
            some = list(self._unpurged)[:_PURGED_AT_ONCE]
            done = await asyncio.gather(*(self._forget(photo) for photo in some))
            # One that could be purged says that all can.
            pause = 0.0 if all(done) else min(2 * max(pause, self._pause_seconds_min), PAUSE_SECONDS_MAX)
        self._purging = None

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
