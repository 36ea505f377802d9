"""The event log as consumers see it: in order, at least once, acknowledged in batches."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.events import local
from hayloft.events.local import LogEventSource
from hayloft.types import EventKind, PhotoId


class Clock:
    """Time that stands still unless moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic_seconds(self) -> float:
        return self.seconds


@pytest.fixture
async def directory(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    directory = LocalDirectory.open(url, policy=WritePolicy())
    yield directory
    await directory.close()


async def tell(directory, *photos: int) -> None:
    for photo in photos:
        await directory.append_event(EventKind.LINKED, PhotoId(photo), {})


def positions(events) -> list[int]:
    return [event.position for event in events]


async def test_events_come_in_order_and_only_once_to_one_reader(directory):
    await tell(directory, *range(5))
    source = LogEventSource(directory, consumer="c")
    assert positions(await source.next(limit=3)) == [1, 2, 3]
    assert positions(await source.next(limit=3)) == [4, 5]
    await source.close()


async def test_what_was_not_acknowledged_comes_again(directory):
    await tell(directory, *range(5))
    source = LogEventSource(directory, consumer="c")
    events = await source.next(limit=5)
    for event in events[:2]:
        await source.acknowledge(event)
    await source.close()
    again = LogEventSource(directory, consumer="c")
    assert positions(await again.next(limit=5)) == [3, 4, 5]
    other = LogEventSource(directory, consumer="other")
    assert positions(await other.next(limit=5)) == [1, 2, 3, 4, 5]


async def test_an_event_is_not_passed_before_earlier_ones(directory):
    await tell(directory, *range(4))
    source = LogEventSource(directory, consumer="c")
    first, second, third, fourth = await source.next(limit=4)
    for event in (fourth, second):
        await source.acknowledge(event)
    assert source.position == 0
    await source.acknowledge(first)
    assert source.position == 2
    await source.acknowledge(third)
    assert source.position == 4
    await source.close()
    assert await directory.position("c") == 4


async def test_acknowledgements_are_written_in_batches(directory):
    await tell(directory, *range(local.ACKNOWLEDGED_MAX + 5))
    clock = Clock()
    source = LogEventSource(directory, consumer="c", clock=clock)
    events = await source.next(limit=1000)
    await source.acknowledge(events[0])
    assert await directory.position("c") == 1  # the first one is not held back: nothing was written yet
    for event in events[1 : local.ACKNOWLEDGED_MAX]:
        await source.acknowledge(event)
    assert await directory.position("c") == 1
    await source.acknowledge(events[local.ACKNOWLEDGED_MAX])
    assert await directory.position("c") == local.ACKNOWLEDGED_MAX + 1
    await source.acknowledge(events[local.ACKNOWLEDGED_MAX + 1])
    clock.seconds += local.HELD_SECONDS_MAX
    await source.acknowledge(events[local.ACKNOWLEDGED_MAX + 2])
    assert await directory.position("c") == local.ACKNOWLEDGED_MAX + 3


async def test_an_idle_reader_writes_what_was_acknowledged_then_waits(directory):
    await tell(directory, 1, 2)
    source = LogEventSource(directory, consumer="c", clock=Clock())
    for event in await source.next(limit=10):
        await source.acknowledge(event)
    waiting = asyncio.create_task(source.next(limit=10))
    while await directory.position("c") < 2:  # noqa: ASYNC110 - only the database tells
        await asyncio.sleep(0.01)
    assert not waiting.done()
    await tell(directory, 3)
    assert positions(await waiting) == [3]


async def test_closing_wakes_a_waiting_reader(directory):
    source = LogEventSource(directory, consumer="c")
    waiting = asyncio.create_task(source.next(limit=10))
    await asyncio.sleep(0.02)
    await source.close()
    assert await waiting == ()
    assert await source.next(limit=10) == ()


async def test_a_cancelled_wait_loses_nothing(directory):
    source = LogEventSource(directory, consumer="c")
    waiting = asyncio.create_task(source.next(limit=10))
    await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await tell(directory, 1)
    assert positions(await source.next(limit=10)) == [1]


async def test_a_parked_event_is_passed_and_comes_back_when_asked_for(directory):
    await tell(directory, 1, 2, 3)
    clock = Clock()
    source = LogEventSource(directory, consumer="c", clock=clock)
    first, second, third = await source.next(limit=10)
    await source.acknowledge(first)
    await source.park(second, "it burns")
    await source.acknowledge(third)
    assert source.position == 3
    await directory.retry("c")
    clock.seconds += local.WAIT_SECONDS
    (again,) = await source.next(limit=10)
    assert again == second
    await source.park(again, "still")
    ((parked),) = await directory.parked("c")
    assert (parked.reason, parked.times, parked.due) == ("still", 2, False)
    await directory.retry("c")
    clock.seconds += local.WAIT_SECONDS
    (again,) = await source.next(limit=10)
    await source.acknowledge(again)
    assert await directory.parked("c") == ()
    await source.close()
    assert await directory.position("c") == 3


async def test_loops_that_share_a_source_get_different_events(directory):
    await tell(directory, *range(10))
    source = LogEventSource(directory, consumer="c")
    batches = await asyncio.gather(*(source.next(limit=4) for _ in range(3)))
    assert sorted(positions(sum(batches, ()))) == list(range(1, 11))
    for batch in batches[::-1]:
        for event in batch:
            await source.acknowledge(event)
    assert source.position == 10
    waiting = [asyncio.create_task(source.next(limit=4)) for _ in range(3)]
    await asyncio.sleep(0.02)
    await source.close()
    assert await asyncio.gather(*waiting) == [(), (), ()]


async def test_a_directory_that_closes_ends_the_wait(directory):
    source = LogEventSource(directory, consumer="c")
    waiting = asyncio.create_task(source.next(limit=10))
    await asyncio.sleep(0.02)
    await source.close()
    await directory.close()
    assert await waiting == ()
