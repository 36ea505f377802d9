"""A connection to RabbitMQ that is opened when needed, the names on it, and events as messages.

The exchange is the wire contract's: ``photo.events``, topic, durable; a message's routing key is its
event's kind, and messages are persistent. Queues are declared durable and without arguments, so that
peers which declare them by the contract find them as they expect. Whoever uses a channel opens a new one
when it fails.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractQueue
from aio_pika.exceptions import AMQPError

from hayloft.errors import InvalidRequest
from hayloft.types import PHOTO_ID_BITS, Event, EventKind, PhotoId

EXCHANGE: Final = "photo.events"
SIMILARITY_QUEUE: Final = "similarity_queue"
DEAD_SUFFIX: Final = ".dead"
CONNECT_SECONDS_MAX: Final = 5.0
HEARTBEAT_SECONDS: Final = 10

FAILURES: Final = (AMQPError, OSError, TimeoutError, RuntimeError, asyncio.CancelledError)
"""What a broker that is away looks like: the library also uses RuntimeError and cancels futures when a
connection goes, so whoever catches these calls ``raise_if_cancelled``."""


def raise_if_cancelled(error: BaseException) -> None:
    """Raise this error again if it says that the task itself was cancelled."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


async def attempt(call: Awaitable[Any]) -> bool:
    """Await a call to the broker; False if it failed."""
    try:
        await call
    except FAILURES as error:
        raise_if_cancelled(error)
        return False
    return True


class Broker:
    """One connection to the broker at ``url``, opened anew when it is found closed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AbstractConnection | None = None
        self._opening = asyncio.Lock()

    async def channel(self) -> AbstractChannel:
        """A new channel with publisher confirms.

        Raises:
            AMQPError, OSError, TimeoutError: the broker does not answer.
        """
        async with self._opening:
            if self._connection is None or self._connection.is_closed:
                self._connection = await aio_pika.connect(
                    self._url, timeout=CONNECT_SECONDS_MAX, heartbeat=HEARTBEAT_SECONDS
                )
            try:
                return await self._connection.channel(publisher_confirms=True)
            except BaseException:
                # A connection that the other side closed does not call itself closed: it is of no more use.
                broken, self._connection = self._connection, None
                await attempt(broken.close())
                raise

    async def close(self) -> None:
        """Close the connection with all its channels; unacknowledged messages go back to their queues."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


async def declare_exchange(channel: AbstractChannel) -> AbstractExchange:
    """The exchange that all events go through."""
    return await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)


async def declare_queue(
    channel: AbstractChannel, name: str, kinds: tuple[EventKind, ...] = ()
) -> AbstractQueue:
    """A durable queue that gets all events of these kinds from now on, broker restarts included."""
    queue = await channel.declare_queue(name, durable=True)
    for kind in kinds:
        await queue.bind(EXCHANGE, routing_key=kind.value)
    return queue


def to_message(event: Event) -> aio_pika.Message:
    """An event as the contract's persistent JSON message, with what else the log says of it."""
    body = {
        **event.payload,
        "event": event.kind.value,
        "photo_id": event.photo,
        "position": event.position,
        "at_ms": event.at_ms,
    }
    return aio_pika.Message(
        json.dumps(body).encode(),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=str(event.position),
    )


def from_body(body: bytes) -> Event:
    """The event in a message, ours or a peer's; a peer's position is 0.

    Raises:
        InvalidRequest: this is no event.
    """
    try:
        told: dict[str, Any] = json.loads(body)
        photo, kind = told["photo_id"], EventKind(told["event"])
        position, at_ms = int(told.get("position", 0)), int(told.get("at_ms", 0))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequest(f"This is no event: {error!r}") from error
    if isinstance(photo, bool) or not isinstance(photo, int) or not 0 <= photo < 1 << PHOTO_ID_BITS:
        raise InvalidRequest("The event's photo_id is no integer below 2**53.")
    named = ("event", "photo_id", "position", "at_ms")
    payload = {name: value for name, value in told.items() if name not in named}
    return Event(position=position, kind=kind, photo=PhotoId(photo), at_ms=at_ms, payload=payload)
