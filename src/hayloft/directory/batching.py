"""Group commit: whatever is asked while one batch is under way is dealt with together in the next.

One batch runs at a time. Nobody waits for company: a lone request is a batch of one, and under load batches
grow by themselves. Each request gets its own answer or its own error. It knows neither databases nor HTTP:
the directory puts transactions behind it, its client round trips.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from hayloft.errors import HayloftError, ShuttingDown

Question = TypeVar("Question")
Answer = TypeVar("Answer")

Run = Callable[[Sequence[Question]], Awaitable[Sequence[Answer | HayloftError]]]
"""Deals with a batch: one answer or error for each question, in order."""


class Batcher(Generic[Question, Answer]):
    """Collects concurrent questions into batches of at most ``size_max``.

    If ``run`` raises, every question of the batch fails with that exception.
    """

    def __init__(self, run: Run[Question, Answer], *, size_max: int) -> None:
        self._run = run
        self._size_max = size_max
        self._waiting: deque[tuple[Question, asyncio.Future[Answer]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def ask(self, question: Question) -> Answer:
        """The answer to one question.

        A caller that is cancelled while waiting does not take its question back: it may be answered.

        Raises:
            HayloftError: what ``run`` says of this question.
            ShuttingDown: the batcher is closing; the question was not asked.
        """
        if self._closing:
            raise ShuttingDown
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run_batches())
        return await future

    async def close(self) -> None:
        """Take no more questions; return when all that were asked are answered."""
        self._closing = True
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run_batches(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), self._size_max)
                await self._run_batch([self._waiting.popleft() for _ in range(size)])
        finally:
            self._task = None

    async def _run_batch(self, batch: list[tuple[Question, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._run([question for question, _ in batch])
        except BaseException as failure:
            for _, future in batch:
                if not future.done():
                    future.set_exception(_for_one_caller(failure))
            if not isinstance(failure, Exception):
                raise
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, HayloftError):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def _for_one_caller(failure: BaseException) -> BaseException:
    # A cancelled batch must not look to its callers as if they themselves had been cancelled.
    return ShuttingDown() if isinstance(failure, asyncio.CancelledError) else failure
