"""Group commit: batches grow under load, every question gets its own answer."""

from __future__ import annotations

import asyncio

import pytest

from hayloft.directory.batching import Batcher
from hayloft.errors import Conflict, ShuttingDown


class Recorder:
    """Answers each question with its double, one batch at a time, when told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0

    async def __call__(self, batch):
        self.running += 1
        assert self.running == 1, "two batches at once"
        self.batches.append(list(batch))
        await self.gate.wait()
        self.running -= 1
        if any(question == 666 for question in batch):
            raise ValueError("surprise")
        return [Conflict() if question < 0 else 2 * question for question in batch]


async def ask_all(batcher, questions):
    return await asyncio.gather(*map(batcher.ask, questions), return_exceptions=True)


async def test_what_queues_during_a_batch_goes_into_the_next():
    run = Recorder()
    run.gate.clear()
    batcher = Batcher(run, size_max=100)
    first = asyncio.create_task(batcher.ask(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = asyncio.create_task(ask_all(batcher, range(2, 6)))
    await asyncio.sleep(0.01)
    run.gate.set()
    assert (await first, await later) == (2, [4, 6, 8, 10])
    assert run.batches == [[1], [2, 3, 4, 5]]


async def test_a_batch_has_a_size():
    run = Recorder()
    answers = await ask_all(Batcher(run, size_max=4), range(10))
    assert answers == [2 * n for n in range(10)]
    assert [len(batch) for batch in run.batches] == [4, 4, 2]


async def test_an_error_is_one_questions_own():
    answers = await ask_all(Batcher(Recorder(), size_max=10), [1, -1, 2])
    assert (answers[0], answers[2]) == (2, 4)
    assert isinstance(answers[1], Conflict)


async def test_a_batch_that_raises_fails_its_questions_and_no_others():
    batcher = Batcher(Recorder(), size_max=2)
    answers = await ask_all(batcher, [1, 666, 3, 4])
    assert [type(answer) for answer in answers] == [ValueError, ValueError, int, int]
    assert await batcher.ask(5) == 10


async def test_a_caller_who_gives_up_harms_nobody():
    run = Recorder()
    run.gate.clear()
    batcher = Batcher(run, size_max=10)
    impatient = asyncio.create_task(batcher.ask(1))
    patient = asyncio.create_task(batcher.ask(2))
    await asyncio.sleep(0.01)
    impatient.cancel()
    run.gate.set()
    assert await patient == 4
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_closing_answers_what_was_asked_and_takes_no_more():
    run = Recorder()
    run.gate.clear()
    batcher = Batcher(run, size_max=1)
    asked = [asyncio.create_task(batcher.ask(n)) for n in range(3)]
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(ShuttingDown):
        await batcher.ask(9)
    run.gate.set()
    await closing
    assert [await one for one in asked] == [0, 2, 4]
