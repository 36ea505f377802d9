"""The event log as a consumer sees it, read from a directory (in this process or over HTTP).

Guarantees: events come in the log's order; one that was not acknowledged, or whose acknowledgement was
not yet written when the process died, comes again after a restart. Acknowledgements are written in
batches, because remembering one costs the directory a durable transaction and forgetting a few only
means dealing with them twice. Parked events that somebody wants tried again come between the others, at
most a moment late.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Collection
from typing import Final

from hayloft.clock import Clock, SystemClock
from hayloft.errors import ShuttingDown, Unavailable
from hayloft.roles import Directory
from hayloft.types import Event, EventKind

WAIT_SECONDS: Final = 2.0
"""How long the directory is asked to wait for news; parked events to be tried again are looked for as
often, because nothing announces them."""

ACKNOWLEDGED_MAX: Final = 100
"""Acknowledgements held back at most: after a crash, that many events come twice."""

HELD_SECONDS_MAX: Final = 1.0
"""How long an acknowledgement is held back while events keep coming."""


class LogEventSource:
    """``roles.EventSource`` over a directory's log, for the consumer called ``consumer``.

    Use one object for each consumer: two with the same name would both get every event. Several loops may
    share it; each event goes to one of them. With ``kinds`` few events of others come along.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        consumer: str,
        kinds: Collection[EventKind] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._directory = directory
        self._consumer = consumer
        self._kinds = kinds
        self._clock = clock or SystemClock()
        self._read: int | None = None  # the last position handed out
        self._acknowledged = 0  # the last position written back
        self._outstanding: deque[int] = deque()  # handed out, in order, not yet passed by
        self._done: set[int] = set()  # dealt with, among the outstanding
        self._retried: set[int] = set()  # parked earlier, handed out once more
        self._passed = 0  # everything up to here is dealt with
        self._written_at = self._looked_at = float("-inf")
        self._reading = asyncio.Lock()
        self._closing = asyncio.Event()

    async def next(self, *, limit: int) -> tuple[Event, ...]:
        """The next events, waiting for at least one; empty when the source is closing."""
        async with self._reading:
            while not self._closing.is_set():
                if retried := await self._due(limit):
                    return retried
                if found := await self._unless_closing(limit):
                    self._read = found[-1].position
                    self._outstanding.extend(event.position for event in found)
                    return found
        return ()

    async def acknowledge(self, event: Event) -> None:
        """This event has been dealt with; remembered durably a little later, or when closing."""
        if event.position in self._retried:
            self._retried.discard(event.position)
            await self._directory.unpark(self._consumer, event.position)
        else:
            await self._pass(event)

    async def park(self, event: Event, reason: str) -> None:
        """Set an event aside, durably, and go on behind it."""
        await self._directory.park(self._consumer, event, reason)
        if event.position in self._retried:
            self._retried.discard(event.position)
        else:
            await self._pass(event)

    async def close(self) -> None:
        """Let a waiting ``next`` return empty, and write what was acknowledged, if that is possible."""
        self._closing.set()
        with contextlib.suppress(Unavailable):
            await self._write()

    @property
    def position(self) -> int:
        """Everything up to here has been dealt with or parked by this object."""
        return max(self._passed, self._acknowledged)

    async def _due(self, limit: int) -> tuple[Event, ...]:
        now = self._clock.monotonic_seconds()
        if now - self._looked_at < WAIT_SECONDS:
            return ()
        self._looked_at = now
        found = await self._directory.due(self._consumer, limit=limit)
        fresh = tuple(event for event in found if event.position not in self._retried)
        self._retried.update(event.position for event in fresh)
        return fresh

    async def _unless_closing(self, limit: int) -> tuple[Event, ...]:
        """Wait for the log to grow, or for ``close``, whichever is first."""
        look = asyncio.create_task(self._look(limit))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({look, closing}, return_when=asyncio.FIRST_COMPLETED)
            return look.result() if look.done() and not self._closing.is_set() else ()
        finally:
            for task in (look, closing):
                task.cancel()
            await asyncio.gather(look, closing, return_exceptions=True)

    async def _look(self, limit: int) -> tuple[Event, ...]:
        if self._read is None:
            self._read = self._acknowledged = await self._directory.position(self._consumer)
        if found := await self._after(self._read, limit):
            return found
        await self._write()
        try:
            return await self._after(self._read, limit, wait_seconds=WAIT_SECONDS)
        except ShuttingDown:
            return ()

    async def _after(self, position: int, limit: int, *, wait_seconds: float = 0.0) -> tuple[Event, ...]:
        return await self._directory.events(
            after=position, limit=limit, wait_seconds=wait_seconds, kinds=self._kinds
        )

    async def _pass(self, event: Event) -> None:
        self._done.add(event.position)
        while self._outstanding and self._outstanding[0] in self._done:
            self._passed = self._outstanding.popleft()
            self._done.discard(self._passed)
        held = self._passed - self._acknowledged
        late = self._clock.monotonic_seconds() - self._written_at >= HELD_SECONDS_MAX
        if held >= ACKNOWLEDGED_MAX or (held > 0 and late):
            await self._write()

    async def _write(self) -> None:
        if self._passed > self._acknowledged:
            position = self._passed
            await self._directory.advance(self._consumer, position)
            self._acknowledged = max(self._acknowledged, position)
            self._written_at = self._clock.monotonic_seconds()
