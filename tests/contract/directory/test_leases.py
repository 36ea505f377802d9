"""Leases: whom the directory gives ids to, how many, and of which volume."""

from __future__ import annotations

import asyncio

import pytest

from directory_places import Place, local, over_http, primary_and_replica, store
from hayloft.errors import InvalidRequest, RoleUnavailable
from hayloft.types import PhotoQuery, Sequence, StoreId, photo_id


async def test_blocks_never_overlap(directory):
    leases = await asyncio.gather(*(directory.lease(holder=f"holder {n % 3}", count=7) for n in range(20)))
    ids = [photo_id(one.volume, Sequence(one.first + n)) for one in leases for n in range(one.count)]
    assert len(set(ids)) == 20 * 7


async def test_holders_get_different_volumes_while_there_are_enough(directory):
    first, second, again = [await directory.lease(holder=name, count=1) for name in ("a", "b", "a")]
    assert first.volume != second.volume
    assert again.volume == first.volume
    assert first.replicas == ("local",)


async def test_more_holders_than_volumes_share_them_evenly(directory):
    volumes = [(await directory.lease(holder=f"h{n}", count=1)).volume for n in range(6)]
    assert sorted(volumes.count(volume) for volume in set(volumes)) == [3, 3]


@pytest.mark.parametrize("count", [0, -1, 1 << 40])
async def test_a_lease_of_an_absurd_size_is_refused(directory, count):
    with pytest.raises(InvalidRequest):
        await directory.lease(holder="a", count=count)


async def test_a_holder_gets_a_volume_without_the_stores_that_it_cannot_reach(directory):
    for name in ("s1", "s2"):
        await directory.register(store(name))
    whole = await directory.lease(holder="a", count=1)
    assert set(whole.replicas) == {"local", "s1", "s2"}
    without = await directory.lease(holder="a", count=1, avoid=[StoreId("s1")])
    assert set(without.replicas) == {"local", "s2"}
    # The volume is as good as before for those who reach all its stores.
    assert (await directory.placement(whole.volume)).writable
    everywhere = [StoreId(name) for name in ("local", "s1", "s2")]
    assert (await directory.lease(holder="a", count=1, avoid=everywhere)).count == 1


@pytest.mark.parametrize("opened", [local, over_http, primary_and_replica])
async def test_without_any_store_there_is_nothing_to_lease(opened, tmp_path, clock, postgres_database):
    async with opened(Place(tmp_path, clock, postgres_database)) as directory:
        with pytest.raises(RoleUnavailable):
            await directory.lease(holder="a", count=1)
        with pytest.raises(RoleUnavailable):
            await directory.allocate(size=1)
        assert (await directory.photos(PhotoQuery())).total == 0
