"""The consumer's loop: retries, parking, order, stopping, and a log that goes away for a while."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

import pytest

from hayloft.errors import ReplicasFailed, RoleUnavailable
from hayloft.events.consumer import EventConsumer, Persistence
from hayloft.types import Event, EventKind, PhotoId

FAST = Persistence(pause_seconds=0.001, pause_seconds_max=0.002)


def event(position: int) -> Event:
    return Event(position=position, kind=EventKind.UPLOADED, photo=PhotoId(position), at_ms=0)


class Source:
    """Hands out events from memory; fails as often as told."""

    def __init__(self, count: int) -> None:
        self.waiting = deque(event(n) for n in range(1, count + 1))
        self.acknowledged: list[int] = []
        self.parked: dict[int, str] = {}
        self.failures: Counter[str] = Counter()
        self.closing = asyncio.Event()
        self.end_when_empty = True

    def _fail(self, name: str) -> None:
        if self.failures[name] > 0:
            self.failures[name] -= 1
            raise RoleUnavailable("away")

    async def next(self, *, limit):
        self._fail("next")
        if not self.waiting and not self.end_when_empty:
            await self.closing.wait()
        return tuple(self.waiting.popleft() for _ in range(min(limit, len(self.waiting))))

    async def acknowledge(self, event):
        self._fail("acknowledge")
        self.acknowledged.append(event.position)

    async def park(self, event, reason):
        self._fail("park")
        self.parked[event.position] = reason

    async def close(self):
        self.closing.set()


class Handler:
    """Notes what it gets; fails for some positions, the first so many times."""

    def __init__(self, failures: dict[int, int] | None = None, error: Exception | None = None) -> None:
        self.seen: list[int] = []
        self.failures = failures or {}
        self.error = error or ValueError("bad photo")

    async def __call__(self, event):
        self.seen.append(event.position)
        if self.failures.get(event.position, 0) > 0:
            self.failures[event.position] -= 1
            raise self.error


async def run(source, handler) -> None:
    await EventConsumer(source, handler, name="test", persistence=FAST).run()


async def test_all_events_are_dealt_with_in_order():
    source, handler = Source(250), Handler()
    await run(source, handler)
    assert handler.seen == source.acknowledged == list(range(1, 251))


async def test_a_handler_that_fails_is_tried_again():
    source, handler = Source(3), Handler({2: 2})
    await run(source, handler)
    assert handler.seen == [1, 2, 2, 2, 3]
    assert source.acknowledged == [1, 2, 3]
    assert source.parked == {}


async def test_a_poison_event_is_parked_with_its_reason_and_stops_nothing():
    source, handler = Source(3), Handler({2: 99})
    await run(source, handler)
    assert handler.seen == [1, 2, 2, 2, 3]
    assert source.acknowledged == [1, 3]
    assert source.parked == {2: "ValueError: bad photo"}


async def test_what_is_merely_away_is_given_more_time():
    source = Source(2)
    handler = Handler({1: FAST.attempts + 1}, ReplicasFailed("all stores are down"))
    await run(source, handler)
    assert source.acknowledged == [1, 2]
    handler = Handler({1: 99}, ReplicasFailed("all stores are down"))
    source = Source(2)
    await run(source, handler)
    assert handler.seen.count(1) == FAST.attempts_unavailable
    assert list(source.parked) == [1]


@pytest.mark.parametrize("where", ["next", "acknowledge", "park"])
async def test_a_log_that_is_away_for_a_while_loses_nothing(where):
    source, handler = Source(3), Handler({2: 3})
    source.failures[where] = 5
    await run(source, handler)
    assert source.acknowledged == [1, 3]
    assert list(source.parked) == [2]


async def test_stopping_finishes_the_event_in_hand():
    source, started, may_end = Source(5), asyncio.Event(), asyncio.Event()
    seen = []

    async def handler(event):
        seen.append(event.position)
        started.set()
        await may_end.wait()

    consumer = EventConsumer(source, handler, name="test", persistence=FAST)
    task = asyncio.create_task(consumer.run())
    await started.wait()
    consumer.stop()
    may_end.set()
    await task
    assert seen == source.acknowledged == [1]


async def test_stopping_while_a_handler_keeps_failing_parks_nothing():
    source, failed = Source(5), asyncio.Event()

    async def handler(event):
        failed.set()
        raise ValueError

    consumer = EventConsumer(
        source, handler, name="test", persistence=Persistence(pause_seconds=3600, pause_seconds_max=3600)
    )
    task = asyncio.create_task(consumer.run())
    await failed.wait()
    consumer.stop()
    await task
    assert (source.acknowledged, source.parked) == ([], {})


async def test_closing_the_source_ends_the_loop():
    source = Source(2)
    source.end_when_empty = False
    task = asyncio.create_task(run(source, Handler()))
    await asyncio.sleep(0.01)
    await source.close()
    await task
    assert source.acknowledged == [1, 2]


async def test_cancellation_goes_through_and_acknowledges_nothing_unfinished():
    source, started = Source(3), asyncio.Event()

    async def handler(event):
        started.set()
        await asyncio.sleep(3600)

    task = asyncio.create_task(run(source, handler))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (source.acknowledged, source.parked) == ([], {})
