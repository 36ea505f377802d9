"""How many messages wait in queues of RabbitMQ, for whoever wants to know how far behind a consumer is."""

from __future__ import annotations

import asyncio

from hayloft.errors import RoleUnavailable
from hayloft.events.rabbitmq.broker import FAILURES, Broker, attempt, declare_queue, raise_if_cancelled

ANSWER_SECONDS_MAX = 2.0


class QueueDepths:
    """Asks the broker at ``url``, over one connection that is kept."""

    def __init__(self, url: str) -> None:
        self._broker = Broker(url)

    async def waiting(self, *queues: str) -> tuple[int, ...]:
        """Messages that no consumer has been given yet, queue by queue; queues are made if need be.

        Raises:
            RoleUnavailable: the broker does not answer.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                channel = await self._broker.channel()
                try:
                    declared = [await declare_queue(channel, queue) for queue in queues]
                finally:
                    await attempt(channel.close())
        except FAILURES as error:
            raise_if_cancelled(error)
            raise RoleUnavailable("The message broker does not answer.") from error
        return tuple(queue.declaration_result.message_count or 0 for queue in declared)

    async def close(self) -> None:
        """Close the connection."""
        await attempt(self._broker.close())
