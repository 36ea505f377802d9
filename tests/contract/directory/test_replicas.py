"""Replicas that fail, are missing, are mended or replaced, and what their volume does meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from directory_places import POLICY, state, store
from hayloft.errors import Conflict, VolumeNotFound
from hayloft.roles import Directory
from hayloft.types import Lease, StoreId, VolumeId


async def failures(directory: Directory, volume: VolumeId) -> dict[str, str | None]:
    return {one.store: one.failure for one in await directory.replicas() if one.volume == volume}


async def is_writable(directory: Directory, volume: VolumeId) -> bool:
    return (await directory.placement(volume)).writable


@pytest.fixture
async def replicated(directory: Directory) -> Lease:
    """A volume on three stores."""
    for name in ("s1", "s2"):
        await directory.register(store(name))
    return await directory.lease(holder="a", count=100)


async def test_a_volume_opens_when_its_last_failing_replica_is_mended(directory, replicated):
    volume = replicated.volume
    for name in ("s1", "s2"):
        await directory.report_failure(volume, StoreId(name), f"{name} is broken")
    assert await failures(directory, volume) == {"local": None, "s1": "s1 is broken", "s2": "s2 is broken"}
    assert (await directory.placement(volume)).replicas == ("local", "s1", "s2")
    await directory.mend(volume, StoreId("s1"))
    assert not await is_writable(directory, volume)
    assert (await directory.placement(volume)).replicas[-1] == "s2"
    await directory.mend(volume, StoreId("s2"))
    assert await is_writable(directory, volume)
    await directory.mend(volume, StoreId("s2"))


async def test_mending_does_not_open_what_was_closed_by_hand(directory, replicated):
    volume = replicated.volume
    await directory.set_writable(volume, False)
    await directory.report_failure(volume, StoreId("s1"), "broken")
    await directory.mend(volume, StoreId("s1"))
    assert not await is_writable(directory, volume)
    await directory.set_writable(volume, True)
    assert await is_writable(directory, volume)


async def test_a_volume_closed_by_hand_after_a_failure_stays_closed(directory, replicated):
    volume = replicated.volume
    await directory.report_failure(volume, StoreId("s1"), "broken")
    await directory.set_writable(volume, False)
    await directory.mend(volume, StoreId("s1"))
    assert not await is_writable(directory, volume)


@pytest.mark.parametrize(
    "done", [{"sealed": True}, {"size_bytes": POLICY.volume_size_bytes_max}], ids=["sealed", "full"]
)
async def test_mending_does_not_open_what_is_done(directory, replicated, done):
    volume = replicated.volume
    await directory.report_failure(volume, StoreId("s1"), "broken")
    await directory.register(store("s2", state(volume, **done)))
    await directory.mend(volume, StoreId("s1"))
    assert not await is_writable(directory, volume)


async def test_opening_by_hand_forgets_failures(directory, replicated):
    await directory.report_failure(replicated.volume, StoreId("s1"), "broken")
    await directory.set_writable(replicated.volume, True)
    assert set((await failures(directory, replicated.volume)).values()) == {None}


async def test_replicas_that_are_not_there_cannot_be_mended_or_replaced(directory, lease):
    await directory.register(store("s1"))
    for call in (
        directory.mend(VolumeId(999), StoreId("local")),
        directory.mend(lease.volume, StoreId("s1")),
        directory.report_failure(lease.volume, StoreId("s1"), "gone"),
        directory.replace_replica(VolumeId(999), StoreId("local"), StoreId("s1")),
        directory.replace_replica(lease.volume, StoreId("s9"), StoreId("s1")),
        directory.volume_photos(VolumeId(999), limit=1),
    ):
        with pytest.raises(VolumeNotFound):
            await call
    for new in ("nobody", "local"):
        with pytest.raises(Conflict):
            await directory.replace_replica(lease.volume, StoreId("local"), StoreId(new))
    assert (await directory.placement(lease.volume)).replicas == ("local",)


async def test_a_replica_on_another_store_counts_once_it_is_mended(directory, lease):
    volume = lease.volume
    await directory.register(store("s1"))
    await directory.replace_replica(volume, None, StoreId("s1"))
    assert (await directory.placement(volume)).replicas == ("local", "s1")
    assert not await is_writable(directory, volume)
    await directory.register(store("s1", state(volume, size_bytes=10)))
    assert not await is_writable(directory, volume)
    await directory.mend(volume, StoreId("s1"))
    assert await is_writable(directory, volume)
    await directory.register(store("s2"))
    await directory.replace_replica(volume, StoreId("local"), StoreId("s2"))
    assert (await directory.placement(volume)).replicas == ("s1", "s2")
    # The old store comes back, with what it had: nobody knows how stale it is.
    await directory.register(store("local", state(volume, size_bytes=900)))
    assert (await directory.placement(volume)).replicas == ("s1", "s2")


async def test_a_volume_that_its_store_speaks_of_no_more_is_missing(directory, replicated):
    volume = replicated.volume
    await directory.register(store("s1", state(volume, size_bytes=10)))
    assert await is_writable(directory, volume)
    await directory.register(store("s1"))
    assert (await failures(directory, volume))["s1"] == "missing"
    assert not await is_writable(directory, volume)
    # An empty disk that appends have reached since holds the volume again, but not what was in it.
    await directory.register(store("s1", state(volume, size_bytes=5)))
    assert not await is_writable(directory, volume)
    await directory.mend(volume, StoreId("s1"))
    assert await is_writable(directory, volume)


async def test_a_volume_that_was_not_written_to_yet_is_not_missing(directory, replicated, clock):
    for _ in range(3):
        clock.ms += 60_000
        await directory.register(store("s1"))
    assert await is_writable(directory, replicated.volume)


async def test_a_volume_that_only_others_speak_of_is_missing_after_a_while(directory, replicated, clock):
    volume = replicated.volume
    await directory.register(store("s2", state(volume, size_bytes=10)))
    # On its way while the volume was being written to for the first time.
    await directory.register(store("s1"))
    assert await is_writable(directory, volume)
    await directory.register(store("s1", state(volume, size_bytes=10)))
    clock.ms += 60_000
    await directory.register(store("local"))
    assert await is_writable(directory, volume)
    clock.ms += 60_000
    await directory.register(store("local"))
    assert await failures(directory, volume) == {"local": "missing", "s1": None, "s2": None}


async def test_a_volume_that_cannot_be_opened_fails_and_comes_back(directory, replicated):
    volume = replicated.volume
    await directory.register(store("s1", state(volume, size_bytes=10)))
    unusable = replace(state(volume, sealed=True), corrupt=1)
    await directory.register(store("s1", unusable))
    assert (await failures(directory, volume))["s1"] is not None
    assert not await is_writable(directory, volume)
    await directory.register(store("s1", state(volume, size_bytes=10)))
    assert await is_writable(directory, volume)


async def test_reads_are_spread_over_replicas(directory, replicated):
    volumes = {replicated.volume} | {(await directory.lease(holder=n, count=1)).volume for n in "xyz"}
    firsts = {placement.replicas[0] for placement in await directory.placements()}
    assert len(firsts) == len(volumes) == POLICY.writable_max
