"""Volumes: when one takes writes, where a new one is placed, and which stores there are."""

from __future__ import annotations

import pytest

from directory_places import POLICY, state, store
from hayloft.errors import Conflict, StorageFull, VolumeNotFound
from hayloft.types import StoreId, VolumeId


async def test_a_sealed_volume_is_replaced_by_a_new_one(directory, lease):
    await directory.register(store("local", state(lease.volume, sealed=True)))
    following = await directory.lease(holder="writer", count=1)
    assert following.volume != lease.volume
    assert not (await directory.placement(lease.volume)).writable
    assert sum(placement.writable for placement in await directory.placements()) == POLICY.writable_max
    with pytest.raises(Conflict):
        await directory.set_writable(lease.volume, True)


async def test_a_full_volume_takes_no_more_writes(directory, lease):
    await directory.register(store("local", state(lease.volume, size_bytes=POLICY.volume_size_bytes_max)))
    assert (await directory.lease(holder="writer", count=1)).volume != lease.volume


async def test_a_volume_can_be_taken_out_and_put_back(directory, lease):
    await directory.set_writable(lease.volume, False)
    assert (await directory.lease(holder="writer", count=1)).volume != lease.volume
    await directory.set_writable(lease.volume, True)
    assert (await directory.placement(lease.volume)).writable


async def test_a_failed_replica_takes_its_volume_out(directory, lease):
    await directory.report_failure(lease.volume, StoreId("local"), "input/output error")
    assert not (await directory.placement(lease.volume)).writable
    assert (await directory.lease(holder="writer", count=1)).volume != lease.volume


async def test_unknown_volumes_are_not_found(directory):
    for call in (
        directory.placement(VolumeId(999)),
        directory.set_writable(VolumeId(999), True),
        directory.report_failure(VolumeId(999), StoreId("local"), "gone"),
    ):
        with pytest.raises(VolumeNotFound):
            await call


async def test_a_full_disk_gets_no_new_volume(directory):
    await directory.register(store("local", free_bytes=5))
    with pytest.raises(StorageFull):
        await directory.lease(holder="a", count=1)
    await directory.register(store("local"))
    assert (await directory.lease(holder="a", count=1)).count == 1


async def test_a_volume_on_a_full_disk_is_left_for_one_with_room(directory, lease):
    await directory.register(store("local", free_bytes=5))
    # With nothing else, the old volume is still the best there is: its store decides.
    assert (await directory.lease(holder="writer", count=1)).volume == lease.volume
    await directory.register(store("roomy"))
    assert (await directory.lease(holder="writer", count=1)).replicas == ("roomy",)


async def test_volumes_of_others_are_adopted_read_only_and_their_numbers_not_reused(directory):
    await directory.register(store("local", state(1), state(2_000_000)))
    assert not (await directory.placement(VolumeId(1))).writable
    with pytest.raises(Conflict):
        await directory.set_writable(VolumeId(1), True)
    volumes = {(await directory.lease(holder=name, count=1)).volume for name in "ab"}
    assert volumes == {2, 3}


async def test_replicas_lie_on_the_emptiest_distinct_stores(directory):
    for name, free in [("s1", 1 << 40), ("s2", 1 << 39), ("s3", 1 << 38), ("s4", 1 << 30)]:
        await directory.register(store(name, free_bytes=free))
    await directory.register(store("local", free_bytes=100))
    lease = await directory.lease(holder="a", count=1)
    assert set(lease.replicas) == {"s1", "s2", "s3"}


async def test_stores_are_known_by_their_heartbeats(directory, clock):
    await directory.register(store("s1"), url="http://s1:8101")
    await directory.register(store("s1", free_bytes=77))
    (known,) = [one for one in await directory.stores() if one.store == "s1"]
    assert (known.url, known.free_bytes, known.seen_at_ms) == ("http://s1:8101", 77, clock.ms)


async def test_replicas_are_spread_over_zones(directory):
    for name, zone, free in [("s1", "a", 40), ("s2", "a", 39), ("s3", "b", 30), ("s4", "b", 29)]:
        await directory.register(store(name, free_bytes=1 << free), zone=zone)
    await directory.register(store("local", free_bytes=1 << 20), zone="c")
    assert set((await directory.lease(holder="x", count=1)).replicas) == {"local", "s1", "s3"}
    await directory.register(store("s1", free_bytes=1 << 38))
    assert {known.store: known.zone for known in await directory.stores()}["s1"] == "a"
