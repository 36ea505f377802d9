"""The outbox relay: publishes the directory's event log to RabbitMQ, every event at least once, in order.

It is one more consumer of the log: an event counts as dealt with when the broker has confirmed it, so a
broker that is away, or a relay that dies, delays events and loses none. Queues named in ``queues`` are
declared before the first event goes out, because an exchange drops what no queue asks for. Run one relay
for a directory, beside its primary; a second one would only publish everything twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from aio_pika.abc import AbstractExchange

from hayloft.errors import HayloftError
from hayloft.events.local import LogEventSource
from hayloft.events.rabbitmq.broker import (
    FAILURES,
    SIMILARITY_QUEUE,
    Broker,
    attempt,
    declare_exchange,
    declare_queue,
    raise_if_cancelled,
    to_message,
)
from hayloft.roles import Directory
from hayloft.types import Event, EventKind

CONSUMER: Final = "relay"
BATCH_EVENTS: Final = 100
"""Events on their way to the broker at the same time, and published twice at most when a relay dies."""
CONFIRM_SECONDS_MAX: Final = 30.0
PAUSE_SECONDS: Final = 0.1
PAUSE_SECONDS_MAX: Final = 5.0

QUEUES: Final[Mapping[str, tuple[EventKind, ...]]] = {SIMILARITY_QUEUE: (EventKind.UPLOADED,)}

_log = structlog.get_logger(__name__)


async def relay(
    directory: Directory, url: str, *, queues: Mapping[str, tuple[EventKind, ...]] = QUEUES
) -> None:
    """Publish a directory's log to the broker at ``url`` until cancelled; reconnects for ever."""
    publisher = OutboxRelay(directory, url, queues=queues)
    try:
        await publisher.run()
    finally:
        await publisher.close()


class OutboxRelay:
    """Publishes until ``close``."""

    def __init__(
        self,
        directory: Directory,
        url: str,
        *,
        queues: Mapping[str, tuple[EventKind, ...]] = QUEUES,
        pause_seconds_max: float = PAUSE_SECONDS_MAX,
    ) -> None:
        self._source = LogEventSource(directory, consumer=CONSUMER)
        self._broker = Broker(url)
        self._queues = queues
        self._pause_seconds_max = pause_seconds_max
        self._exchange: AbstractExchange | None = None
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Publish until closed; reconnects for ever."""
        while not self._closing.is_set():
            events = await self._next()
            await self._publish_all(events)
            for event in events:
                if self._closing.is_set():
                    return
                await self._until_done(event)

    async def close(self) -> None:
        """Stop; what was confirmed is remembered."""
        self._closing.set()
        await self._source.close()
        await attempt(self._broker.close())

    async def _next(self) -> tuple[Event, ...]:
        failures = 0
        while not self._closing.is_set():
            try:
                return await self._source.next(limit=BATCH_EVENTS)
            except HayloftError as error:
                _log.warning("event log is away", error=error.message)
            await self._pause(failures)
            failures += 1
        return ()

    async def _publish_all(self, events: Sequence[Event]) -> None:
        """Publish events until the broker has confirmed every one, or the relay is closed."""
        failures = 0
        while events and not self._closing.is_set():
            try:
                async with asyncio.timeout(CONFIRM_SECONDS_MAX):
                    exchange = self._exchange = self._exchange or await self._open()
                    # Sent in order; only the confirmations are waited for together.
                    published = (
                        exchange.publish(to_message(event), event.kind.value, mandatory=False)
                        for event in events
                    )
                    await asyncio.gather(*published)
                return
            except FAILURES as error:
                raise_if_cancelled(error)
                self._exchange = None
                _log.warning("broker is away", error=repr(error))
            await self._pause(failures)
            failures += 1

    async def _open(self) -> AbstractExchange:
        channel = await self._broker.channel()
        exchange = await declare_exchange(channel)
        for name, kinds in self._queues.items():
            await declare_queue(channel, name, kinds)
        return exchange

    async def _until_done(self, event: Event) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                await self._source.acknowledge(event)
                return
            except HayloftError as error:
                _log.warning("event log is away", error=error.message)
            await self._pause(failures)
            failures += 1

    async def _pause(self, failures: int) -> None:
        mean = min(PAUSE_SECONDS * 2.0 ** min(failures, 16), self._pause_seconds_max)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(mean * random.uniform(0.5, 1.5)):  # noqa: S311 - jitter
                await self._closing.wait()
