"""Replicas that differ become the same again, whatever made them differ."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from hayloft import limits
from hayloft.errors import NeedleCorrupt, PhotoDeleted, RoleUnavailable, StorageFull
from hayloft.types import AlternateKey, Scrutiny, volume_of
from pitchfork_world import NAMES, SETTINGS, World, make, some_bytes

S1, S2, S3 = NAMES


class Killed(Exception):
    """What nobody catches, as if the process had gone."""


async def filled(count: int = 20, **options: object) -> World:
    world = await make(**options)
    for number in range(count):
        await world.upload(some_bytes(number))
    await world.heartbeats()
    return world


async def test_a_healthy_cluster_is_left_alone() -> None:
    world = await filled()
    await world.settle()
    assert world.pitchfork.journal.done("needles copied") == 0
    assert world.pitchfork.journal.to_json()["errors"] == []
    assert all(placement.writable for placement in await world.directory.placements())


async def test_a_store_replaced_by_an_empty_one_is_filled_and_writable_again() -> None:
    world = await filled()
    deleted = next(iter(world.photos))
    await world.delete(deleted)
    world.replace_by_empty(S2)
    await world.heartbeats()
    assert not any(placement.writable for placement in await world.directory.placements())
    await world.settle()
    await world.check()
    assert len(set(await world.digests(volume_of(deleted)))) == 1
    assert all(placement.writable for placement in await world.directory.placements())
    with pytest.raises(PhotoDeleted):
        await world.stores[S2].read(deleted)


async def test_what_fills_an_empty_store_is_not_read_again() -> None:
    world = await filled()
    world.replace_by_empty(S2)
    await world.heartbeats()
    await world.pitchfork.check()
    looked: list[Scrutiny] = []
    for store in world.stores.values():

        async def digest(volume, *, scrutiny, of=store.digest):  # type: ignore[no-untyped-def]
            looked.append(scrutiny)
            return await of(volume, scrutiny=scrutiny)

        store.digest = digest  # type: ignore[method-assign]
    await world.pitchfork.mend()
    assert set(looked) == {Scrutiny.INDEX}
    await world.check()
    assert not any(replica.failure for replica in await world.directory.replicas())


async def test_a_needle_damaged_where_an_empty_store_is_filled_from_comes_from_another() -> None:
    world = await filled()
    photo = list(world.photos)[3]
    world.stores[S1].corrupt(photo)
    world.replace_by_empty(S2)
    await world.settle()
    await world.check()


async def test_two_of_three_stores_replaced_by_empty_ones() -> None:
    world = await filled()
    world.replace_by_empty(S1)
    world.replace_by_empty(S3)
    await world.settle()
    await world.check()


async def test_a_store_that_was_away_learns_what_it_missed() -> None:
    world = await filled()
    kept, gone, small = list(world.photos)[:3]
    world.stores[S3].away = True
    await world.pitchfork.check()
    assert not any(placement.writable for placement in await world.directory.placements())
    await world.delete(gone)
    for name in (S1, S2):
        await world.stores[name].append(volume_of(small), world.needle(small, b"thumb", AlternateKey.THUMB))
    assert await world.pitchfork.mend() == 0
    assert {r.store for r in await world.directory.replicas() if r.failure} == {S3}
    world.stores[S3].away = False
    await world.settle()
    await world.check()
    assert (await world.stores[S3].read(small, AlternateKey.THUMB)).data == b"thumb"
    assert (await world.stores[S3].read(kept)).data == world.photos[kept]
    with pytest.raises(PhotoDeleted):
        await world.stores[S3].read(gone)


async def test_damaged_needles_are_replaced_from_where_they_are_whole() -> None:
    world = await filled()
    one, other = list(world.photos)[:2]
    world.stores[S1].corrupt(one)
    world.stores[S2].corrupt(other)
    await world.settle()
    await world.check()


async def test_a_needle_damaged_everywhere_is_told_and_keeps_nothing_else_from_being_mended() -> None:
    world = await filled()
    lost, other = list(world.photos)[:2]
    for store in world.stores.values():
        store.corrupt(lost)
    world.stores[S2].forget(other)
    await world.settle()
    assert (await world.stores[S2].read(other)).data == world.photos[other]
    with pytest.raises(NeedleCorrupt):
        await world.stores[S2].read(lost)
    assert "lost" in {error["what"] for error in world.pitchfork.journal.to_json()["errors"]}


async def test_a_lost_needle_comes_back() -> None:
    world = await filled()
    photo = list(world.photos)[3]
    world.stores[S2].forget(photo)
    await world.settle()
    await world.check()


async def test_an_upload_under_way_is_neither_copied_nor_deleted() -> None:
    world = await filled()
    world.stores[S3].away = True
    photo = await world.upload(b"half way", commit=False)
    world.stores[S3].away = False
    await world.settle()
    assert (await world.stores[S1].stat(photo)).exists
    assert not (await world.stores[S3].stat(photo)).exists
    assert all(placement.writable for placement in await world.directory.placements())


async def test_a_deletion_that_no_store_carried_out_is_carried_out() -> None:
    world = await filled()
    photo = next(iter(world.photos))
    await world.delete(photo, on=())
    await world.settle()
    await world.check()


async def test_a_deletion_that_one_store_missed_is_carried_out_there() -> None:
    world = await filled()
    photo = next(iter(world.photos))
    await world.delete(photo, on=(S1,))
    await world.pitchfork.compare()
    await world.check()


async def test_a_deletion_while_all_stores_are_away_is_tried_for_ever() -> None:
    world = await filled()
    photo = next(iter(world.photos))
    for store in world.stores.values():
        store.away = True
    await world.delete(photo)
    assert await world.pitchfork.finish_deletions() == 1
    assert await world.pitchfork.finish_deletions() == 1
    for store in world.stores.values():
        store.away = False
    assert await world.pitchfork.finish_deletions() == 0
    await world.check()


async def test_a_photo_deleted_while_it_is_copied_does_not_come_back() -> None:
    world = await filled()
    photo = list(world.photos)[5]

    async def delete_meanwhile(export, volume, needles):  # type: ignore[no-untyped-def]
        records = await export(volume, needles)
        if photo in world.photos:
            await world.delete(photo)
        return records

    world.replace_by_empty(S2)
    target = world.stores[S2]
    for source in (world.stores[S1], world.stores[S3]):
        source.export_needles = partial(delete_meanwhile, source.export_needles)  # type: ignore[method-assign]
    await world.heartbeats()
    await world.pitchfork.check()
    await world.pitchfork.mend()
    assert photo not in world.photos, "nothing was copied"
    with pytest.raises(PhotoDeleted):
        await target.read(photo)
    await world.settle()
    await world.check()


async def test_photos_deleted_all_along_a_copy_do_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await filled(23)
    asked_with: list[int] = []

    async def delete_one(export, volume, needles):  # type: ignore[no-untyped-def]
        records = await export(volume, needles)
        if needles[0].photo in world.photos:
            await world.delete(needles[0].photo)
        return records

    async def noted(find, *arguments, **options):  # type: ignore[no-untyped-def]
        asked_with.append(len(target._needles))
        return await find(*arguments, **options)

    world.replace_by_empty(S2)
    target = world.stores[S2]
    for source in (world.stores[S1], world.stores[S3]):
        source.export_needles = partial(delete_one, source.export_needles)  # type: ignore[method-assign]
    await world.heartbeats()
    await world.pitchfork.check()
    monkeypatch.setattr(limits, "TRANSFER_NEEDLES_MAX", 2)
    monkeypatch.setattr(limits, "PAGE_PHOTOS_MAX", 5)
    monkeypatch.setattr(world.directory, "volume_photos", partial(noted, world.directory.volume_photos))
    await world.pitchfork.mend()
    assert len(world.deleted) >= 12, "nothing was deleted from some batches"
    for photo in world.deleted:
        with pytest.raises(PhotoDeleted):
            await target.read(photo)
    for photo, data in world.photos.items():
        assert (await target.read(photo)).data == data
    assert len(set(asked_with)) > 3, "the directory was asked only before and afterwards"


async def test_a_tombstone_against_the_directory_is_believed_only_after_a_second_look() -> None:
    world = await filled()
    photo = next(iter(world.photos))
    looked: list[str] = []

    async def rebuild_index(volume):  # type: ignore[no-untyped-def]
        looked.append(volume)
        # The log has the needle: the index had been wrong.
        store._deleted.clear()
        store._needles.update(kept)

    store = world.stores[S1]
    kept = {key: value for key, value in store._needles.items() if key[0] == photo}
    await store.delete(photo)
    store.rebuild_index = rebuild_index  # type: ignore[method-assign]
    await world.settle()
    await world.check()
    assert looked


async def test_a_tombstone_that_stands_wins() -> None:
    world = await filled()
    photo = next(iter(world.photos))
    await world.stores[S1].delete(photo)
    world.photos.pop(photo)
    await world.settle()
    for store in world.stores.values():
        with pytest.raises(PhotoDeleted):
            await store.read(photo)


async def test_a_source_that_dies_while_it_is_read() -> None:
    world = await filled()
    world.replace_by_empty(S3)
    await world.heartbeats()
    export = world.stores[S1].export_needles

    async def die(volume, needles):  # type: ignore[no-untyped-def]
        world.stores[S1].away = True
        raise RoleUnavailable("died")

    world.stores[S1].export_needles = die  # type: ignore[method-assign]
    await world.pitchfork.check()
    await world.pitchfork.mend()
    await world.pitchfork.mend()
    for photo, data in world.photos.items():
        assert (await world.stores[S3].read(photo)).data == data
    world.stores[S1].away = False
    world.stores[S1].export_needles = export  # type: ignore[method-assign]
    await world.settle()
    await world.check()


async def test_a_full_target_keeps_the_others_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await filled()
    photo = list(world.photos)[2]
    world.replace_by_empty(S3)
    world.stores[S2].forget(photo)
    world.stores[S3].fail(None)

    async def full(volume, needles, *, source):  # type: ignore[no-untyped-def]
        raise StorageFull

    fetch_needles = world.stores[S3].fetch_needles
    world.stores[S3].fetch_needles = full  # type: ignore[method-assign]
    await world.heartbeats()
    await world.pitchfork.check()
    await world.pitchfork.mend()
    await world.pitchfork.mend()
    assert (await world.stores[S2].read(photo)).data == world.photos[photo]
    assert {r.store for r in await world.directory.replicas() if r.failure} == {S3}
    world.stores[S3].fetch_needles = fetch_needles  # type: ignore[method-assign]
    await world.settle()
    await world.check()


async def test_an_interrupted_copy_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TRANSFER_BYTES", 1000)
    world = await filled()
    world.replace_by_empty(S3)
    await world.heartbeats()
    await world.pitchfork.check()
    fetch_needles, left = world.stores[S3].fetch_needles, [3]

    async def killed_after_a_while(volume, needles, *, source):  # type: ignore[no-untyped-def]
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return await fetch_needles(volume, needles, source=source)

    world.stores[S3].fetch_needles = killed_after_a_while  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await world.pitchfork.mend()
    done = len(world.stores[S3]._needles)
    assert 0 < done < 20
    world.stores[S3].fetch_needles = fetch_needles  # type: ignore[method-assign]
    world.pitchfork = world.new_pitchfork()
    await world.settle()
    await world.check()
    assert world.pitchfork.journal.done("needles copied") == 20 - done


async def test_a_lone_store_that_lost_everything_is_not_declared_whole() -> None:
    world = await filled(replicas=1)
    for name in NAMES:
        world.replace_by_empty(name)
    await world.heartbeats()
    await world.pitchfork.check()
    await world.pitchfork.mend()
    assert [replica.failure for replica in await world.directory.replicas()] == ["missing"]


async def test_a_volume_of_others_is_mended_but_never_swept() -> None:
    """Peers append to stores under ids that the directory did not give out."""
    world = await make()
    photo = (await world.upload(b"x")) + (77 << 32)
    for name in (S1, S2):
        await world.stores[name].append(volume_of(photo), world.needle(photo, b"foreign"))
    world.directory._placed[volume_of(photo)] = list(NAMES)
    await world.heartbeats()
    await world.settle()
    assert (await world.stores[S3].read(photo)).data == b"foreign"
    world.clock.seconds += 1e7
    await world.pitchfork.sweep()
    assert (await world.stores[S3].read(photo)).data == b"foreign"


async def test_a_store_that_hangs_holds_nobody_up() -> None:
    settings = SETTINGS.model_copy(update={"check_seconds": 0.01})
    world = await filled(settings=settings)
    photo = next(iter(world.photos))
    world.stores[S2].forget(photo)
    await world.pitchfork.check()
    asked = asyncio.Event()

    async def hang(*_given: object, **_named: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    world.stores[S3].digest = hang  # type: ignore[assignment, method-assign]
    comparing = asyncio.create_task(world.pitchfork.compare())
    await asked.wait()
    world.stores[S3].away = True
    await world.pitchfork.check()
    assert await comparing == 1
    assert (await world.stores[S2].read(photo)).data == world.photos[photo]
    assert {r.store for r in await world.directory.replicas() if r.failure} == {S3}


async def test_a_long_repair_keeps_no_other_volume_waiting() -> None:
    """As it runs by itself: what only missed something has turns of its own."""
    settings = SETTINGS.model_copy(update={"check_seconds": 0.01, "repairs_at_once": 1})
    world = await filled(settings=settings)
    first = volume_of(next(iter(world.photos)))
    await world.directory.set_writable(first, False)
    await world.upload(b"in another volume")
    await world.heartbeats()
    other = volume_of(next(reversed(world.photos)))
    assert other != first
    digest, began = world.stores[S1].digest, asyncio.Event()

    async def slow(volume, **named):  # type: ignore[no-untyped-def]
        if volume == first:
            began.set()
            await asyncio.Event().wait()
        return await digest(volume, **named)

    world.stores[S1].digest = slow  # type: ignore[method-assign]
    await world.directory.report_failure(first, S1, "needle_corrupt")
    running = asyncio.create_task(world.pitchfork.run())
    await began.wait()
    await world.directory.report_failure(other, S2, "role_unavailable")
    for _wait in range(3000):
        if {r.volume for r in await world.directory.replicas() if r.failure} == {first}:
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("the other volume waited")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
