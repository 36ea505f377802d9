"""The event log: every change in order, to readers who wait, remember their place, and give up on some."""

from __future__ import annotations

import asyncio

import pytest

from directory_places import fill, new
from hayloft.errors import InvalidRequest
from hayloft.events.local import LogEventSource
from hayloft.types import EventKind


async def test_every_change_has_its_event_in_order_without_gaps(directory, lease, clock):
    await fill(directory, lease, 5)
    await directory.delete(new(lease, 2).photo)
    linked = await directory.append_event(EventKind.LINKED, new(lease, 0).photo, {"b": 7, "text": "é"})
    events = await directory.events(after=0, limit=100)
    assert [event.position for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert linked == 7
    uploaded, deleted, last = events[0], events[5], events[6]
    assert uploaded.kind is EventKind.UPLOADED
    assert uploaded.at_ms == clock.ms
    assert uploaded.payload["logical_volume"] == f"lv-{lease.volume}"
    assert uploaded.payload["replicas"] == ["local"]
    assert uploaded.payload["sha256"] == new(lease, 0).sha256.hex()
    assert (deleted.kind, deleted.photo) == (EventKind.DELETED, new(lease, 2).photo)
    assert (last.kind, last.payload) == (EventKind.LINKED, {"b": 7, "text": "é"})
    assert [event.position for event in await directory.events(after=2, limit=2)] == [3, 4]
    assert await directory.events(after=7, limit=10) == ()


async def test_a_reader_may_want_some_kinds_of_events_only(directory, lease):
    await fill(directory, lease, 3)
    photos = [event.photo for event in await directory.events(after=0, limit=10)]
    await directory.append_event(EventKind.LINKED, photos[0], {"links": []})
    await directory.delete(photos[1])
    for _ in range(2):
        await directory.append_event(EventKind.LINKED, photos[0], {"links": []})

    async def read(after: int, *kinds: EventKind, limit: int = 10) -> list[tuple[int, EventKind]]:
        found = await directory.events(after=after, limit=limit, kinds=kinds)
        return [(event.position, event.kind) for event in found]

    uploaded, deleted, linked = EventKind.UPLOADED, EventKind.DELETED, EventKind.LINKED
    # The last event of the log comes along, so that a reader knows how far it has got.
    assert await read(0, deleted) == [(5, deleted), (7, linked)]
    assert await read(0, uploaded, deleted, limit=4) == [
        (1, uploaded),
        (2, uploaded),
        (3, uploaded),
        (5, deleted),
    ]
    assert await read(0, uploaded, limit=2) == [(1, uploaded), (2, uploaded)]
    assert await read(5, deleted) == [(7, linked)]
    assert await read(6, linked) == [(7, linked)]
    assert await read(7, linked) == []


async def test_a_consumer_of_one_kind_gets_past_the_others(directory, lease):
    await fill(directory, lease, 3)
    source = LogEventSource(directory, consumer="c", kinds=[EventKind.DELETED])
    (marker,) = await source.next(limit=10)
    assert (marker.position, marker.kind) == (3, EventKind.UPLOADED)
    await source.acknowledge(marker)
    await source.close()
    assert await directory.position("c") == 3


async def test_a_reader_waits_for_the_next_event(directory, lease):
    waiting = asyncio.create_task(directory.events(after=0, limit=10, wait_seconds=20))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await directory.commit(new(lease, 0))
    (event,) = await waiting
    assert event.photo == new(lease, 0).photo
    assert await directory.events(after=1, limit=10, wait_seconds=0.01) == ()


async def test_consumers_positions_are_their_own_and_never_go_back(directory):
    assert await directory.position("one") == 0
    await directory.advance("one", 5)
    await directory.advance("one", 3)
    await directory.advance("two", 1)
    assert (await directory.position("one"), await directory.position("two")) == (5, 1)


@pytest.mark.parametrize("name", ["a b", "ä", "c" * 256])
async def test_a_consumers_name_is_plain(directory, name):
    with pytest.raises(InvalidRequest):
        await directory.advance(name, 1)


async def test_parked_events(directory, lease):
    await fill(directory, lease, 3)
    first, second, _ = await directory.events(after=0, limit=10)
    await directory.park("c", second, "it burns")
    await directory.park("c", first, "no idea")
    await directory.park("other", first, "not mine")
    parked = await directory.parked("c")
    assert [(one.event, one.reason, one.times) for one in parked] == [
        (first, "no idea", 1),
        (second, "it burns", 1),
    ]
    assert await directory.due("c", limit=10) == ()
    assert await directory.retry("c", second.position) == 1
    assert await directory.due("c", limit=10) == (second,)
    await directory.park("c", second, "still burns")
    assert await directory.due("c", limit=10) == ()
    assert (await directory.parked("c"))[1].times == 2
    assert await directory.retry("c") == 2
    await directory.unpark("c", second.position)
    await directory.unpark("c", second.position)
    assert await directory.due("c", limit=10) == (first,)
    assert len(await directory.parked("other")) == 1


async def test_a_consumer_reads_the_log_through_any_directory(directory, lease):
    await fill(directory, lease, 3)
    source = LogEventSource(directory, consumer="c")
    first, second, third = await source.next(limit=10)
    await source.acknowledge(first)
    await source.park(second, "it burns")
    await source.acknowledge(third)
    waiting = asyncio.create_task(source.next(limit=10))
    await directory.delete(first.photo)
    (deletion,) = await waiting
    assert (deletion.kind, deletion.photo) == (EventKind.DELETED, first.photo)
    await source.close()
    assert await directory.position("c") == third.position
    assert [one.event for one in await directory.parked("c")] == [second]
