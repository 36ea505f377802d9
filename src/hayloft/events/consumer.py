"""The loop of a consumer: deal with events in order, at least once, and never let one stop the rest.

A handler that fails is tried again, with growing pauses. When it keeps failing, the event is parked
durably with the reason, and the loop goes on; it can be retried later. Failures that say that a part of
the system is away (``Unavailable``) are given more time than others, because they pass by themselves
and would otherwise park everything. The source itself being away never ends the loop. Handlers must be
idempotent.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from hayloft.errors import Unavailable
from hayloft.roles import EventSource
from hayloft.types import Event

Handler = Callable[[Event], Awaitable[None]]
"""Deals with one event, durably when it returns; may get the same event again."""

BATCH_EVENTS: Final = 100
"""Events fetched at once."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """How often an event is tried before it is parked, and how long the pauses are."""

    attempts: int = 3
    attempts_unavailable: int = 8
    """Attempts when what failed was a part of the system that may come back."""
    pause_seconds: float = 0.1
    """Mean pause after the first attempt; doubles each time, with jitter."""
    pause_seconds_max: float = 5.0


class EventConsumer:
    """Feeds a handler from a source until ``stop`` is called or its task is cancelled.

    The source is the caller's to close; closing it ends the loop as well.
    """

    def __init__(
        self,
        source: EventSource,
        handler: Handler,
        *,
        name: str,
        persistence: Persistence | None = None,
        choice: random.Random | None = None,
    ) -> None:
        self._source = source
        self._handler = handler
        self._name = name
        self._persistence = persistence or Persistence()
        self._random = choice or random.Random()  # noqa: S311 - jitter, not a secret
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Deal with events until stopped. An event in hand is finished, or comes again after a restart."""
        failures = 0
        while not self._stopping.is_set():
            try:
                events = await self._source.next(limit=BATCH_EVENTS)
                if not events:
                    return
                await self._deal_with_all(events)
                failures = 0
            except Exception as error:
                # The log is away. Nothing is lost: what was not acknowledged comes again.
                _log.warning("event source failed", consumer=self._name, error=repr(error))
                await self._pause(failures)
                failures += 1

    def stop(self) -> None:
        """Finish the event in hand, then return from ``run`` (once the source is closed, if it waits)."""
        self._stopping.set()

    async def _deal_with_all(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if self._stopping.is_set():
                return
            reason = await self._deal_with(event)
            if reason is None:
                await self._until_done(partial(self._source.acknowledge, event))
            elif not self._stopping.is_set():
                _log.error("event parked", consumer=self._name, position=event.position, reason=reason)
                await self._until_done(partial(self._source.park, event, reason))

    async def _deal_with(self, event: Event) -> str | None:
        """Try the handler as often as it deserves; returns why it is given up, or None."""
        attempt = 0
        while True:
            try:
                await self._handler(event)
                return None
            except Exception as error:
                attempt += 1
                if attempt >= self._attempts_max(error) or self._stopping.is_set():
                    return f"{type(error).__name__}: {error}"
                _log.info("event failed", consumer=self._name, position=event.position, error=repr(error))
            await self._pause(attempt - 1)

    async def _until_done(self, write: Callable[[], Awaitable[None]]) -> None:
        """Repeat bookkeeping until it works: going on without it would lose the event's place."""
        failures = 0
        while True:
            try:
                return await write()
            except Exception as error:
                if self._stopping.is_set():
                    return None
                _log.warning("event log is away", consumer=self._name, error=repr(error))
            await self._pause(failures)
            failures += 1

    def _attempts_max(self, error: Exception) -> int:
        persistence = self._persistence
        return persistence.attempts_unavailable if isinstance(error, Unavailable) else persistence.attempts

    async def _pause(self, failures: int) -> None:
        """Wait, the longer the more failures there were; not at all once stopping."""
        persistence = self._persistence
        mean = min(persistence.pause_seconds * 2.0 ** min(failures, 16), persistence.pause_seconds_max)
        try:
            async with asyncio.timeout(mean * self._random.uniform(0.5, 1.5)):
                await self._stopping.wait()
        except TimeoutError:
            pass
