"""Group commit: everything that waits for one volume goes to disk together.

While one commit is being written, what arrives meanwhile queues up and becomes the next one, so the
number of syncs adapts to the disk and never to the number of callers. A thread is used only while there
is work, and results come back to the event loop once per commit, not once per operation.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Executor
from typing import Final

from hayloft.errors import HayloftError, InternalError
from hayloft.volume import Operation, Outcome, Volume

BATCH_OPERATIONS_MAX: Final = 256
"""Operations in one commit: bounds how long the volume's lock is held."""


class Committer:
    """The queue in front of one volume, for one event loop."""

    def __init__(self, volume: Volume, executor: Executor) -> None:
        self._volume = volume
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Operation, asyncio.Future[Outcome]]] = deque()
        self._running: asyncio.Future[None] | None = None

    async def carry_out(self, operation: Operation) -> Outcome:
        """Carry out an operation durably.

        Raises:
            HayloftError: why it was refused.
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting.append((operation, future))
        if self._running is None:
            self._running = self._loop.run_in_executor(self._executor, self._work)
            self._running.add_done_callback(self._finished)
        # The operation is carried out even if its caller stops waiting for it.
        return await future

    async def drain(self) -> None:
        """Wait until nothing is waiting."""
        while self._running is not None:
            await asyncio.wait([self._running])
            await asyncio.sleep(0)

    def _work(self) -> None:
        """In a thread: commit until the queue is empty."""
        waiting = self._waiting
        while waiting:
            batch = [waiting.popleft() for _ in range(min(len(waiting), BATCH_OPERATIONS_MAX))]
            outcomes: list[Outcome]
            try:
                outcomes = self._volume.commit([operation for operation, _future in batch])
            except Exception as failure:
                error = InternalError(f"A commit failed: {failure!r}.")
                error.__cause__ = failure
                outcomes = [error] * len(batch)
            self._loop.call_soon_threadsafe(_resolve, batch, outcomes)

    def _finished(self, _running: asyncio.Future[None]) -> None:
        self._running = None
        # Something may have arrived after the thread had looked for the last time.
        if self._waiting:
            self._running = self._loop.run_in_executor(self._executor, self._work)
            self._running.add_done_callback(self._finished)


def _resolve(batch: list[tuple[Operation, asyncio.Future[Outcome]]], outcomes: list[Outcome]) -> None:
    for (_operation, future), outcome in zip(batch, outcomes, strict=True):
        if future.done():
            continue
        if isinstance(outcome, HayloftError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
