"""A queue of RabbitMQ as ``roles.EventSource``: acknowledged by hand, prefetched, at least once.

Several consumers may share a queue; each event goes to one of them. What was not acknowledged when the
connection or the process died comes again. Failing events are retried by the consumer's loop
(``events.consumer``) and then parked: published to the queue's dead letters, confirmed, and only then taken
off the queue. An event that keeps ending its consumer's process is parked after ``deliveries_max``
deliveries, and what is no event at all is parked at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Final

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from hayloft.errors import InvalidRequest
from hayloft.events.rabbitmq.broker import (
    DEAD_SUFFIX,
    FAILURES,
    SIMILARITY_QUEUE,
    Broker,
    attempt,
    declare_exchange,
    declare_queue,
    from_body,
    raise_if_cancelled,
)
from hayloft.events.rabbitmq.dead_letters import DELIVERIES, bury, copy_of, number_in
from hayloft.types import Event, EventKind

PREFETCH: Final = 100
DELIVERIES_MAX: Final = 10
PAUSE_SECONDS: Final = 0.1
PAUSE_SECONDS_MAX: Final = 5.0

_log = structlog.get_logger(__name__)


class RabbitEventSource:
    """``roles.EventSource`` over the durable queue ``queue``, which gets events of ``kinds``."""

    def __init__(
        self,
        url: str,
        *,
        queue: str = SIMILARITY_QUEUE,
        kinds: tuple[EventKind, ...] = (EventKind.UPLOADED,),
        prefetch: int = PREFETCH,
        deliveries_max: int = DELIVERIES_MAX,
        pause_seconds_max: float = PAUSE_SECONDS_MAX,
    ) -> None:
        self._broker = Broker(url)
        self._queue = queue
        self._kinds = kinds
        self._prefetch = prefetch
        self._deliveries_max = deliveries_max
        self._pause_seconds_max = pause_seconds_max
        self._channel: AbstractChannel | None = None
        self._arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()
        self._handed_out: dict[int, tuple[Event, AbstractIncomingMessage]] = {}
        self._closing = asyncio.Event()

    async def next(self, *, limit: int) -> tuple[Event, ...]:
        """The next events, waiting for at least one; empty when the source is closing."""
        failures = 0
        while not self._closing.is_set():
            try:
                if self._channel is None or self._channel.is_closed:
                    self._channel = await self._open()
                    failures = 0
                if events := await self._take(limit):
                    return events
            except FAILURES as error:
                raise_if_cancelled(error)
                _log.warning("broker is away", queue=self._queue, error=repr(error))
                await self._drop()
                await self._pause(failures)
                failures += 1
        return ()

    @property
    def in_hand(self) -> int:
        """Events that came from the broker and have been neither acknowledged nor parked, about."""
        return self._arrived.qsize() + len(self._handed_out)

    async def acknowledge(self, event: Event) -> None:
        """Take an event off the queue; one whose connection is gone comes again instead."""
        message = self._message_of(event)
        if message is not None:
            await attempt(message.ack())

    async def park(self, event: Event, reason: str) -> None:
        """Move an event to the dead letters; one whose connection is gone comes again instead."""
        message = self._message_of(event)
        if message is not None and self._channel is not None:
            await attempt(bury(self._channel, self._queue, message, reason))

    async def close(self) -> None:
        """Let a waiting ``next`` return empty; what was not acknowledged goes back to the queue."""
        self._closing.set()
        self._arrived.put_nowait(None)
        await attempt(self._broker.close())

    async def _open(self) -> AbstractChannel:
        """Consume on a new channel. What came over an earlier one cannot be acknowledged any more."""
        channel = await self._broker.channel()
        await channel.set_qos(prefetch_count=self._prefetch)
        await declare_exchange(channel)
        await declare_queue(channel, self._queue + DEAD_SUFFIX)
        queue = await declare_queue(channel, self._queue, self._kinds)
        arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()
        self._arrived = arrived
        self._handed_out.clear()
        channel.close_callbacks.add(lambda *_args: arrived.put_nowait(None))
        await queue.consume(arrived.put)
        return channel

    async def _drop(self) -> None:
        """Give the channel up: everything on it that was not acknowledged comes again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await attempt(channel.close())

    async def _take(self, limit: int) -> tuple[Event, ...]:
        """Events that have arrived, at least one, unless the channel closes or all were put aside."""
        messages = [await self._arrived.get()]
        while len(messages) < limit and not self._arrived.empty():
            messages.append(self._arrived.get_nowait())
        events = []
        for message in messages:
            event = None if message is None else await self._examine(message)
            if event is not None and message is not None:
                self._handed_out[id(event)] = (event, message)
                events.append(event)
        return tuple(events)

    async def _examine(self, message: AbstractIncomingMessage) -> Event | None:
        """The event in a message, unless the message was put aside."""
        assert self._channel is not None
        try:
            event = from_body(message.body)
        except InvalidRequest as error:
            await bury(self._channel, self._queue, message, error.message)
            return None
        if not message.redelivered:
            return event
        deliveries = number_in(message, DELIVERIES) + 1
        if deliveries >= self._deliveries_max:
            reason = f"It was delivered {deliveries} times and never dealt with."
            await bury(self._channel, self._queue, message, reason)
            return None
        # The broker says only that this is not the first time: how often must be written on the message.
        renewed = copy_of(message, {DELIVERIES: deliveries})
        await self._channel.default_exchange.publish(renewed, self._queue)
        await message.ack()
        return None

    def _message_of(self, event: Event) -> AbstractIncomingMessage | None:
        _event, message = self._handed_out.pop(id(event), (None, None))
        return message

    async def _pause(self, failures: int) -> None:
        mean = min(PAUSE_SECONDS * 2.0 ** min(failures, 16), self._pause_seconds_max)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(mean * random.uniform(0.5, 1.5)):  # noqa: S311 - jitter
                await self._closing.wait()
