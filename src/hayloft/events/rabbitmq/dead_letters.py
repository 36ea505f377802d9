"""What a queue's consumers could not deal with: kept in a durable queue beside it, listed, and replayed.

A message is on one of the two queues at any moment, or for a moment on both; never on none. Looking takes
nothing away.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from hayloft.errors import InvalidRequest, RoleUnavailable
from hayloft.events.rabbitmq.broker import DEAD_SUFFIX, SIMILARITY_QUEUE, Broker, declare_queue, from_body
from hayloft.types import Event

DELIVERIES: Final = "x-hayloft-deliveries"
_REASON: Final = "x-hayloft-reason"
_TIMES: Final = "x-hayloft-times"
_PARKED: Final = "x-hayloft-parked-at-ms"
_REASON_CHARACTERS_MAX: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that was given up."""

    event: Event | None
    """None if the message is no event."""
    body: bytes
    reason: str
    times: int
    """How often it has been given up."""
    parked_at_ms: int


class DeadLetters:
    """The dead letters of one queue."""

    def __init__(self, url: str, *, queue: str = SIMILARITY_QUEUE) -> None:
        self._url = url
        self._queue = queue

    async def list(self, *, limit: int = 1000) -> tuple[DeadLetter, ...]:
        """The oldest dead letters; they stay where they are.

        Raises:
            RoleUnavailable: the broker does not answer.
        """
        found: list[DeadLetter] = []
        async with self._channel() as channel:
            queue = await declare_queue(channel, self._queue + DEAD_SUFFIX)
            while len(found) < limit and (message := await queue.get(fail=False)) is not None:
                found.append(_letter(message))
        return tuple(found)  # closing the channel has put them back in their places

    async def replay(self, *, limit: int | None = None) -> int:
        """Put the oldest dead letters (None: all that are there now) back on their queue; returns how many.

        Raises:
            RoleUnavailable: the broker does not answer; those not counted are still there.
        """
        replayed = 0
        async with self._channel() as channel:
            await declare_queue(channel, self._queue)
            queue = await declare_queue(channel, self._queue + DEAD_SUFFIX)
            # What is given up again meanwhile comes behind the count, so this ends.
            there = queue.declaration_result.message_count or 0
            for _ in range(there if limit is None else min(limit, there)):
                message = await queue.get(fail=False)
                if message is None:
                    break
                await channel.default_exchange.publish(copy_of(message, {DELIVERIES: 0}), self._queue)
                await message.ack()
                replayed += 1
        return replayed

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractChannel]:
        broker = Broker(self._url)
        try:
            yield await broker.channel()
        except (aio_pika.exceptions.AMQPError, OSError, TimeoutError, RuntimeError) as error:
            raise RoleUnavailable("The message broker does not answer.") from error
        finally:
            with contextlib.suppress(aio_pika.exceptions.AMQPError, OSError, RuntimeError):
                await broker.close()


async def bury(channel: AbstractChannel, queue: str, message: AbstractIncomingMessage, reason: str) -> None:
    """Move a message to its queue's dead letters: there and confirmed before it is taken off the queue."""
    headers: dict[str, str | int] = {
        _REASON: reason[:_REASON_CHARACTERS_MAX],
        _TIMES: number_in(message, _TIMES) + 1,
        _PARKED: time.time_ns() // 1_000_000,
    }
    await channel.default_exchange.publish(copy_of(message, headers), queue + DEAD_SUFFIX)
    await message.ack()


def copy_of(message: AbstractIncomingMessage, headers: Mapping[str, str | int]) -> aio_pika.Message:
    """The same message, persistent, with more headers."""
    return aio_pika.Message(
        message.body,
        headers={**message.headers, **headers},
        content_type=message.content_type,
        message_id=message.message_id,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


def number_in(message: AbstractIncomingMessage, header: str) -> int:
    """The number in a header; 0 if there is none."""
    value = message.headers.get(header)
    return value if isinstance(value, int) else 0


def _letter(message: AbstractIncomingMessage) -> DeadLetter:
    try:
        event = from_body(message.body)
    except InvalidRequest:
        event = None
    return DeadLetter(
        event=event,
        body=message.body,
        reason=str(message.headers.get(_REASON, "")),
        times=number_in(message, _TIMES),
        parked_at_ms=number_in(message, _PARKED),
    )
