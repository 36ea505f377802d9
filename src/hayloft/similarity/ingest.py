"""Feeds similarity from the event log: the handler for a consumer's loop, and lanes to run several at once.

Decoding takes most of the time and runs in several processes, so several events are in hand at once; each
lane is a loop of its own over one shared source. Order does not matter to similarity (a photo deleted
before, while or after it is ingested leaves nothing behind), and the source remembers what was
acknowledged out of order. Events that are not about originals are none of its business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from hayloft.roles import EventSource
from hayloft.types import AlternateKey, Event, EventKind, PhotoId

FETCH_EVENTS: Final = 100


class Ingesting(Protocol):
    """What takes photos in and forgets them: ``LocalSimilarity``."""

    async def ingest(self, event: Event) -> None:
        """Fingerprint and link a photo."""
        ...

    async def forget(self, photo: PhotoId) -> None:
        """Erase a photo."""
        ...


def lanes(processes: int) -> int:
    """How many loops keep ``processes`` decoders busy: one more, which reads and records meanwhile."""
    return processes + 1


class Ingest:
    """Deals with one event at a time; its ``handle`` is what a consumer's loop calls."""

    def __init__(self, similarity: Ingesting) -> None:
        self._similarity = similarity

    async def handle(self, event: Event) -> None:
        """Deal with an event, durably when this returns; the same event again changes nothing.

        Raises:
            HayloftError, JobFailed: it could not be dealt with and must come again.
        """
        if event.kind is EventKind.DELETED:
            await self._similarity.forget(event.photo)
        elif event.kind is EventKind.UPLOADED and _is_original(event):
            await self._similarity.ingest(event)


class SharedSource:
    """One event source for several lanes: each gets one event at a time, no event goes to two."""

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self._fetched: deque[Event] = deque()
        self._fetching = asyncio.Lock()

    async def next(self, *, limit: int) -> tuple[Event, ...]:  # noqa: ARG002 - the protocol's
        """The next event; empty when the source is closing."""
        async with self._fetching:
            if not self._fetched:
                self._fetched.extend(await self._source.next(limit=FETCH_EVENTS))
            return (self._fetched.popleft(),) if self._fetched else ()

    async def acknowledge(self, event: Event) -> None:
        """This event has been dealt with."""
        await self._source.acknowledge(event)

    async def park(self, event: Event, reason: str) -> None:
        """This event cannot be dealt with: set it aside."""
        await self._source.park(event, reason)

    async def close(self) -> None:
        """Stop waiting; what was fetched and not handed out comes again after a restart."""
        self._fetched.clear()
        await self._source.close()


def _is_original(event: Event) -> bool:
    told = event.payload.get("alt_key", AlternateKey.ORIG.label)
    return told in (AlternateKey.ORIG.label, "")
