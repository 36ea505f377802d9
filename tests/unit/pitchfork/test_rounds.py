"""The other rounds: checks, placing replicas elsewhere, sweeping, scrubbing, compacting, pace."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hayloft.clock import SystemClock
from hayloft.config import PitchforkSettings
from hayloft.errors import PhotoDeleted, VolumeCorrupt
from hayloft.pitchfork.throttle import Throttle
from hayloft.types import (
    PhotoStatus,
    StoreHealth,
    StoreId,
    VolumeState,
    volume_of,
)
from pitchfork_world import NAMES, SETTINGS, FailingStore, World, make, some_bytes

S1, S2, S3 = NAMES
S4 = StoreId("s4")


async def filled(count: int = 10, **options: Any) -> World:
    world = await make(**options)
    for number in range(count):
        await world.upload(some_bytes(number))
    await world.heartbeats()
    return world


async def failures(world: World) -> dict[StoreId, str]:
    return {r.store: r.failure for r in await world.directory.replicas() if r.failure is not None}


# Checks ------------------------------------------------------------------------------------------


async def test_a_store_is_reported_after_several_checks_without_an_answer() -> None:
    settings = SETTINGS.model_copy(update={"failures_max": 3})
    world = await filled(settings=settings)
    world.stores[S2].away = True
    for expected in ({}, {}, {S2: "role_unavailable"}):
        await world.pitchfork.check()
        assert await failures(world) == expected


async def test_a_store_that_answers_in_between_is_not_reported() -> None:
    settings = SETTINGS.model_copy(update={"failures_max": 2})
    world = await filled(settings=settings)
    for away in (True, False, True, False):
        world.stores[S2].away = away
        await world.pitchfork.check()
    assert await failures(world) == {}


async def test_when_nobody_answers_nobody_is_reported() -> None:
    world = await filled()
    for store in world.stores.values():
        store.away = True
    await world.pitchfork.check()
    await world.pitchfork.check()
    assert await failures(world) == {}


async def test_a_damaged_needle_is_reported_once_and_not_for_ever() -> None:
    world = await filled(1)
    photo = next(iter(world.photos))
    for store in world.stores.values():
        store.corrupt(photo)
    await world.pitchfork.check()
    assert await failures(world) == dict.fromkeys(NAMES, "needle_corrupt")
    await world.pitchfork.mend()
    assert await failures(world) == {}
    await world.pitchfork.check()
    assert await failures(world) == {}


async def test_a_volume_that_cannot_be_opened_is_reported() -> None:
    world = await filled()
    photo = next(iter(world.photos))
    healthy = world.stores[S2].health

    async def health() -> StoreHealth:
        broken = VolumeState(volume=volume_of(photo), needles=0, size_bytes=0, sealed=True, corrupt=1)
        return replace(await healthy(), volumes=(broken,))

    world.stores[S2].health = health  # type: ignore[method-assign]
    await world.pitchfork.check()
    assert await failures(world) == {S2: VolumeCorrupt.code}


async def test_a_volume_sealed_on_one_store_is_sealed_on_all() -> None:
    world = await filled()
    volume = volume_of(next(iter(world.photos)))
    await world.stores[S1].seal(volume)
    await world.pitchfork.check()
    for store in world.stores.values():
        assert [state.sealed for state in (await store.health()).volumes] == [True]


# Placing replicas elsewhere ----------------------------------------------------------------------


async def with_four_stores(**options: Any) -> World:
    world = await filled(**options)
    world.stores[S4] = FailingStore(S4, peers=world.stores)
    await world.heartbeats()
    return world


async def test_a_store_that_is_gone_for_good_is_replaced_by_another() -> None:
    world = await with_four_stores()
    world.stores[S2].away = True
    await world.pitchfork.check()
    volume = volume_of(next(iter(world.photos)))
    world.clock.seconds += SETTINGS.gone_seconds / 2
    await world.heartbeats()
    await world.pitchfork.check()
    assert S2 in (await world.directory.placement(volume)).replicas
    world.clock.seconds += SETTINGS.gone_seconds
    await world.settle()
    assert set((await world.directory.placement(volume)).replicas) == {S1, S3, S4}
    await world.check()
    assert all(placement.writable for placement in await world.directory.placements())
    # It comes back after all: its replica is not counted any more.
    world.stores[S2].away = False
    await world.settle()
    assert set((await world.directory.placement(volume)).replicas) == {S1, S3, S4}


async def test_nothing_is_placed_where_there_is_nothing_to_copy_from() -> None:
    world = await with_four_stores(replicas=1)
    volume = volume_of(next(iter(world.photos)))
    (holder,) = (await world.directory.placement(volume)).replicas
    world.stores[holder].away = True
    world.clock.seconds += 2 * SETTINGS.gone_seconds
    await world.heartbeats()
    await world.pitchfork.check()
    assert (await world.directory.placement(volume)).replicas == (holder,)


async def test_too_few_replicas_become_as_many_as_wanted() -> None:
    settings = SETTINGS.model_copy(update={"replication": 3})
    world = await filled(replicas=2, settings=settings)
    volume = volume_of(next(iter(world.photos)))
    assert len((await world.directory.placement(volume)).replicas) == 2
    await world.settle()
    assert set((await world.directory.placement(volume)).replicas) == set(NAMES)
    await world.check()


async def test_a_full_store_gets_no_replica() -> None:
    world = await filled()
    world.stores[S4] = FailingStore(S4, capacity_bytes=1000, peers=world.stores)
    world.stores[S2].away = True
    world.clock.seconds += 2 * SETTINGS.gone_seconds
    await world.heartbeats()
    await world.pitchfork.check()
    volume = volume_of(next(iter(world.photos)))
    assert S2 in (await world.directory.placement(volume)).replicas
    assert "replace" in {error["what"] for error in world.pitchfork.journal.to_json()["errors"]}


async def test_another_zone_is_preferred() -> None:
    world = await filled()
    for name, zone in ((S1, "a"), (S2, "b"), (S3, "c"), (S4, "c"), (StoreId("s5"), "d")):
        world.stores.setdefault(name, FailingStore(name, peers=world.stores))
        await world.directory.register(await world.stores[name].health(), zone=zone)
    world.stores[S2].away = True
    world.clock.seconds += 2 * SETTINGS.gone_seconds
    await world.heartbeats()
    await world.pitchfork.check()
    volume = volume_of(next(iter(world.photos)))
    assert set((await world.directory.placement(volume)).replicas) == {S1, S3, "s5"}


# Sweeping ----------------------------------------------------------------------------------------


async def test_what_was_never_committed_goes_after_the_grace_time() -> None:
    world = await filled()
    orphan = await world.upload(b"never committed", commit=False)
    allocated = (await world.directory.allocate(size=5)).photo
    assert await world.pitchfork.sweep() == 0
    assert (await world.stores[S1].read(orphan)).data == b"never committed"
    world.clock.seconds += SETTINGS.grace_seconds + 1
    assert await world.pitchfork.sweep() == 2
    for store in world.stores.values():
        with pytest.raises(PhotoDeleted):
            await store.read(orphan)
    assert (await world.directory.photo(allocated)).status is PhotoStatus.DELETED
    await world.check()
    assert await world.pitchfork.sweep() == 0


async def test_a_photo_committed_at_the_last_moment_stays() -> None:
    world = await filled()
    photo = await world.upload(b"late", commit=False)
    world.clock.seconds += SETTINGS.grace_seconds + 1
    volume_photos = world.directory.volume_photos

    async def commit_right_after(*given: Any, **named: Any) -> Any:
        page = await volume_photos(*given, **named)
        if photo not in world.photos:
            await world.commit(photo, b"late")
        return page

    world.directory.volume_photos = commit_right_after  # type: ignore[method-assign]
    await world.pitchfork.sweep()
    await world.check()


async def test_needles_that_do_not_say_when_they_were_written_are_watched_for_as_long() -> None:
    world = await filled()
    photo = await world.upload(b"undated", commit=False)
    for store in world.stores.values():
        found = store._needles[photo, 0]  # type: ignore[index]
        store._needles[photo, 0] = replace(  # type: ignore[index]
            found, metadata=replace(found.metadata, created_at_ms=0)
        )
    assert await world.pitchfork.sweep() == 0
    world.clock.seconds += SETTINGS.grace_seconds / 2
    assert await world.pitchfork.sweep() == 0
    world.clock.seconds += SETTINGS.grace_seconds
    assert await world.pitchfork.sweep() == 1


async def test_needles_of_deleted_photos_go_at_once() -> None:
    world = await filled()
    photo = next(iter(world.photos))
    await world.delete(photo, on=())
    assert await world.pitchfork.sweep() == 3
    await world.check()


async def test_a_directory_restored_from_an_old_backup_costs_no_photo() -> None:
    world = await filled(300)
    for photo in list(world.photos)[100:]:
        del world.directory._photos[photo]
    world.clock.seconds += 10 * SETTINGS.grace_seconds
    assert await world.pitchfork.sweep() == 0
    for photo, data in world.photos.items():
        assert (await world.stores[S1].read(photo)).data == data
    assert "sweep" in {error["what"] for error in world.pitchfork.journal.to_json()["errors"]}


# Scrubbing and compacting ------------------------------------------------------------------------


async def test_scrubbing_finds_damage_that_nobody_reads() -> None:
    world = await filled()
    photo = list(world.photos)[4]
    world.stores[S3].corrupt(photo)
    assert await world.pitchfork.scrub() == 1
    await world.check()
    assert await world.pitchfork.scrub() == 0


async def test_volumes_with_much_that_is_dead_are_compacted_one_after_the_other() -> None:
    settings = SETTINGS.model_copy(update={"compact_dead_bytes_min": 100})
    world = await filled(settings=settings)
    volume = volume_of(next(iter(world.photos)))
    running: list[StoreId] = []
    done: list[StoreId] = []

    def let(name: StoreId, *, live_bytes: int) -> None:
        store = world.stores[name]
        healthy, compacted = store.health, store.compact

        async def health() -> StoreHealth:
            state = VolumeState(
                volume=volume, needles=1, size_bytes=1000, sealed=False, live_bytes=live_bytes
            )
            return replace(await healthy(), volumes=(state,))

        async def compact(number: Any) -> Any:
            assert not running
            running.append(name)
            report = await compacted(number)
            running.remove(name)
            done.append(name)
            return report

        store.health = health  # type: ignore[method-assign]
        store.compact = compact  # type: ignore[method-assign]

    let(S1, live_bytes=100)
    let(S2, live_bytes=500)
    let(S3, live_bytes=900)
    await world.pitchfork.check()
    assert await world.pitchfork.compact() == 2
    assert done == [S1, S2]
    await world.directory.report_failure(volume, S3, "needle_corrupt")
    assert await world.pitchfork.compact() == 0


# Pace --------------------------------------------------------------------------------------------


async def test_bytes_pass_at_the_pace_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    class Still(SystemClock):
        def monotonic_seconds(self) -> float:
            return 100.0

    async def note(seconds: float) -> None:
        pauses.append(round(seconds, 3))

    monkeypatch.setattr("hayloft.pitchfork.throttle.asyncio.sleep", note)
    throttle = Throttle(1000, Still())
    for size in (500, 1000, 100):
        await throttle.wait(size)
    assert pauses == [0.5, 1.5]
    await Throttle(0, Still()).wait(1 << 40)
    assert pauses == [0.5, 1.5]


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="check_seconds"):
        PitchforkSettings(check_seconds=0)
    with pytest.raises(ValueError, match="compact_dead_share"):
        PitchforkSettings(compact_dead_share=1.5)
