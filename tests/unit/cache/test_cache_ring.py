"""The ring: where photos go, and that no node can break a read."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from hayloft.cache.local import LocalCache
from hayloft.cache.ring import CacheRing
from hayloft.config import CacheSettings
from hayloft.errors import RoleUnavailable
from hayloft.roles import StoredNeedle
from hayloft.types import AlternateKey, CacheMiss, Cookie, NewNeedle, PhotoId
from hayloft.wire.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic_seconds(self) -> float:
        return self.seconds


class Node(LocalCache):
    """A cache that can be told to misbehave."""

    trouble: Exception | None = None
    hangs = False
    asked = 0

    async def get(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Any:
        await self._misbehave()
        return await super().get(photo, alternate_key)

    async def put(self, needle: NewNeedle, *, lease: str | None = None) -> bool:
        await self._misbehave()
        return await super().put(needle, lease=lease)

    async def delete(self, photo: PhotoId) -> bool:
        await self._misbehave()
        return await super().delete(photo)

    async def _misbehave(self) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(3600)
        if self.trouble is not None:
            raise self.trouble


def needle(photo: int) -> NewNeedle:
    return NewNeedle(photo=PhotoId(photo), cookie=Cookie(1), data=b"%d" % photo)


def make_ring(count: int, clock: Clock | None = None) -> tuple[CacheRing, dict[str, Node]]:
    nodes = {f"cache-{number}": Node(CacheSettings()) for number in range(count)}
    return CacheRing(nodes, clock=clock, answer_seconds_max=0.05), nodes


async def is_hit(ring: CacheRing, photo: int) -> bool:
    found: StoredNeedle | CacheMiss = await ring.get(PhotoId(photo))
    if isinstance(found, CacheMiss):
        return False
    assert bytes(found.data) == b"%d" % photo
    return True


def test_photos_are_spread_evenly_and_only_a_lost_nodes_photos_move() -> None:
    four, _ = make_ring(4)
    three, _ = make_ring(3)
    homes = Counter(four.order(PhotoId(photo))[0] for photo in range(4000))
    assert all(800 < count < 1200 for count in homes.values())
    for photo in range(2000):
        before, after = four.order(PhotoId(photo)), three.order(PhotoId(photo))
        assert [name for name in before if name != "cache-3"] == after


async def test_every_photo_is_found_again_on_one_node() -> None:
    ring, _nodes = make_ring(3)
    for photo in range(100):
        assert await ring.put(needle(photo))
    assert all([await is_hit(ring, photo) for photo in range(100)])
    assert (await ring.statistics()).items == 100
    assert await ring.delete(PhotoId(5))
    assert not await is_hit(ring, 5)


@pytest.mark.parametrize("trouble", [RoleUnavailable(), ValueError("no JSON"), ConnectionError()])
async def test_a_dead_node_costs_hits_and_is_left_alone(trouble: Exception) -> None:
    clock = Clock()
    ring, nodes = make_ring(2, clock)
    mine = [photo for photo in range(100) if ring.order(PhotoId(photo))[0] == "cache-0"][:20]
    dead = nodes["cache-0"]
    dead.trouble = trouble
    for photo in mine:
        assert not await is_hit(ring, photo)
        await ring.put(needle(photo))
    assert dead.asked == 3  # then the breaker opened, and the other node took over
    assert all([await is_hit(ring, photo) for photo in mine[3:]])
    dead.trouble = None
    clock.seconds = 2
    miss = await ring.get(PhotoId(mine[0]))
    assert isinstance(miss, CacheMiss)
    assert miss.lease is not None
    assert dead.asked == 4


async def test_a_hanging_node_is_not_waited_for_and_must_not_be_filled() -> None:
    ring, nodes = make_ring(1)
    nodes["cache-0"].hangs = True
    assert await ring.get(PhotoId(1)) == CacheMiss(lease=None)
    assert not await ring.put(needle(1))


async def test_a_deletion_that_a_node_missed_is_told() -> None:
    ring, nodes = make_ring(3)
    await ring.put(needle(1))
    nodes["cache-1"].trouble = RoleUnavailable()
    for _ in range(5):
        with pytest.raises(RoleUnavailable) as told:
            await ring.delete(PhotoId(1))
        assert told.value.details["caches"] == ["cache-1"]
    assert nodes["cache-1"].asked == 5  # asked although it is being left out
    nodes["cache-1"].trouble = None
    await ring.delete(PhotoId(1))
    assert all([isinstance(await node.get(PhotoId(1)), CacheMiss) for node in nodes.values()])


async def test_a_node_refuses_another_nodes_lease() -> None:
    _ring, nodes = make_ring(2)
    miss = await nodes["cache-0"].get(PhotoId(1))
    assert isinstance(miss, CacheMiss)
    assert not await nodes["cache-1"].put(needle(1), lease=miss.lease)


def test_a_breaker_pauses_longer_each_time_and_closes_at_once() -> None:
    clock = Clock()
    breaker = Breaker(failures_max=2, pause_seconds=1, pause_seconds_max=3, clock=clock)
    breaker.failed()
    assert breaker.allows()
    breaker.failed()
    for pause in (1, 2, 3, 3):
        assert not breaker.allows()
        clock.seconds += pause - 0.01
        assert not breaker.allows()
        clock.seconds += 0.02
        assert breaker.allows()
        assert not breaker.allows()  # one trial at a time
        breaker.failed()
    clock.seconds += 4
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    assert not breaker.is_open
