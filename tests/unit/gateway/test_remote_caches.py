"""Caches in front of the stores: what they are filled with, and what they can do no harm with."""

from __future__ import annotations

import asyncio

import pytest

from doubles.proxy import Fault
from doubles.remote import Remote, remote_gateway, until
from hayloft import errors
from hayloft.cache.local import LocalCache
from hayloft.clock import SystemClock
from hayloft.config import CacheSettings
from hayloft.gateway.cached import Admission, Cached
from hayloft.gateway.placements import Placements
from hayloft.gateway.purges import CONSUMER, Purges
from hayloft.testing.memory import MemoryDirectory
from hayloft.types import AlternateKey, CacheMiss, Cookie, EventKind, NewNeedle, PhotoId, volume_of
from served import picture


async def settled(remote: Remote) -> None:
    """Fills arrive in the background."""
    await asyncio.gather(*remote.gateway.cached._tasks, return_exceptions=True)


async def cached(remote: Remote, photo: PhotoId) -> int:
    """How many caches have the photo."""
    return sum([await cache.size(photo) is not None for cache in remote.caches.values()])


@pytest.fixture
async def remote():
    async with remote_gateway(stores=2, caches=2) as remote:
        yield remote


async def test_what_was_read_once_needs_no_store_any_more(remote):
    photo, path = await remote.upload(picture(1))
    assert await remote.read(path) == picture(1)
    await settled(remote)
    assert await cached(remote, photo) == 1
    for proxy in remote.proxies.values():
        proxy.fault = Fault.REFUSE
        proxy.reset()
    answer = await remote.request("GET", path)
    assert answer.body == picture(1)
    assert answer.headers["content-type"] == "image/jpeg"
    with pytest.raises(errors.PhotoNotFound):
        await remote.read(path[:-1] + ("0" if path[-1] != "0" else "1"))


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.DROP, Fault.FLIP, Fault.CUT])
async def test_a_cache_that_fails_hangs_or_lies_breaks_no_read(fault):
    async with remote_gateway(stores=2, caches=2, patient=False) as remote:
        paths = [(await remote.upload(picture(number)))[1] for number in range(8)]
        for _ in range(2):
            for number, path in enumerate(paths):
                assert await remote.read(path) == picture(number)
            await settled(remote)
            for proxy in remote.cache_proxies.values():
                proxy.fault = fault


async def test_a_deleted_photo_leaves_every_cache(remote):
    photo, path = await remote.upload(picture(1))
    await remote.read(path)
    await settled(remote)
    await remote.request("DELETE", f"/photo/{photo}")
    assert await cached(remote, photo) == 0
    with pytest.raises(errors.PhotoDeleted):
        await remote.read(path)


async def test_a_purge_that_a_cache_missed_is_made_up_for_and_until_then_it_is_not_asked(remote):
    photo, path = await remote.upload(picture(1))
    await remote.read(path)
    await settled(remote)
    for proxy in remote.cache_proxies.values():
        proxy.fault = Fault.REFUSE
        proxy.reset()
    await remote.request("DELETE", f"/photo/{photo}")
    assert await cached(remote, photo) == 1
    with pytest.raises(errors.PhotoDeleted):
        await remote.read(path)
    for proxy in remote.cache_proxies.values():
        proxy.fault = Fault.NONE
    with pytest.raises(errors.PhotoDeleted):
        await remote.read(path)
    await until(lambda: photo not in remote.gateway.cached._unpurged)
    assert await cached(remote, photo) == 0


@pytest.mark.parametrize("admission", Admission)
async def test_what_is_admitted(admission):
    async with remote_gateway(stores=1, caches=1, admission=admission) as remote:
        new, path = await remote.upload(picture(1))
        old, old_path = await remote.upload(picture(2))
        await remote.read(path)
        if remote.gateway.cached is not None:
            await settled(remote)
        assert await cached(remote, new) == (admission is not Admission.NONE)
        await remote.directory.set_writable(volume_of(old), False)
        remote.gateway.placements.forget(volume_of(old))
        await remote.read(old_path)
        if remote.gateway.cached is not None:
            await settled(remote)
        assert await cached(remote, old) == (admission is Admission.ALL)


async def test_ingest_does_not_fill_the_cache(remote):
    photo, _ = await remote.upload(picture(1))
    assert bytes((await remote.gateway.reads.needle(photo)).data) == picture(1)
    await settled(remote)
    assert await cached(remote, photo) == 0


async def test_what_another_gateway_deleted_leaves_the_caches_too(remote):
    """It may have died before it purged them."""
    photo, path = await remote.upload(picture(1))
    await remote.read(path)
    await settled(remote)
    await remote.directory.delete(photo)
    assert await cached(remote, photo) == 1
    await remote.gateway._purges.follow(wait_seconds=0)
    assert await cached(remote, photo) == 0


class StubbornCache(LocalCache):
    """Forgets nothing until told to."""

    stubborn = True
    asked = 0

    async def delete(self, photo: PhotoId) -> bool:
        self.asked += 1
        if self.stubborn:
            raise errors.RoleUnavailable
        return await super().delete(photo)


class Clock(SystemClock):
    now = 0.0

    def monotonic_seconds(self) -> float:
        return self.now


DELETED = PhotoId(77)


async def is_active(photo: PhotoId) -> bool:
    return photo != DELETED


@pytest.fixture
async def stubborn():
    clock = Clock()
    cache = StubbornCache(CacheSettings())
    front = Cached(
        cache,
        placements=Placements(MemoryDirectory(), clock),
        is_active=is_active,
        clock=clock,
        admission=Admission.ALL,
        entry_seconds_max=60.0,
        pause_seconds=0.01,
    )
    yield cache, front, clock
    await front.close()
    await cache.close()


def needle(photo: PhotoId) -> NewNeedle:
    return NewNeedle(photo=photo, cookie=Cookie(7), data=b"photo")


async def test_purges_are_repeated_until_done(stubborn):
    cache, front, _clock = stubborn
    photos = [PhotoId(number) for number in range(40)]
    for photo in photos:
        await cache.put(needle(photo))
        await front.purge(photo)
    assert isinstance(await front.get(photos[0], AlternateKey.ORIG), CacheMiss)
    asked = cache.asked
    await until(lambda: cache.asked >= asked + 3)
    cache.stubborn = False
    await until(lambda: not front._unpurged)
    assert [await cache.size(photo) for photo in photos] == [None] * 40
    await front.purge(photos[0])


async def test_purges_end_when_what_was_cached_has_expired(stubborn):
    cache, front, clock = stubborn
    await front.purge(PhotoId(1))
    clock.now = 61.0
    await until(lambda: not front._unpurged)
    asked = cache.asked
    await asyncio.sleep(0.1)
    assert cache.asked == asked


async def test_a_fill_that_a_deletion_overtook_is_refused(stubborn):
    cache, front, _clock = stubborn
    cache.stubborn = False
    miss = await front.get(PhotoId(1), AlternateKey.ORIG)
    assert isinstance(miss, CacheMiss)
    await front.purge(PhotoId(1))
    front.fill(PhotoId(1), AlternateKey.ORIG, needle(PhotoId(1)), miss)
    await asyncio.gather(*front._tasks)
    assert await cache.size(PhotoId(1)) is None


async def test_what_only_a_late_replica_still_has_is_not_filled(stubborn):
    cache, front, _clock = stubborn
    for photo in (DELETED, PhotoId(1)):
        miss = await front.get(photo, AlternateKey.ORIG)
        assert isinstance(miss, CacheMiss)
        front.fill(photo, AlternateKey.ORIG, needle(photo), miss)
    await asyncio.gather(*front._tasks)
    assert await cache.size(DELETED) is None
    assert await cache.size(PhotoId(1)) is not None


async def test_how_far_purges_are_done_is_remembered(stubborn):
    cache, front, clock = stubborn
    directory = MemoryDirectory()
    purges = Purges(directory, front, clock)
    positions = [
        await directory.append_event(EventKind.DELETED, PhotoId(number), {}) for number in range(3)
    ]
    await purges.follow(wait_seconds=0)
    assert await directory.position(CONSUMER) < positions[0]
    cache.stubborn = False
    await until(lambda: not front._unpurged)
    await directory.append_event(EventKind.UPLOADED, PhotoId(9), {})
    await purges.follow(wait_seconds=0)
    assert await directory.position(CONSUMER) >= positions[-1]
    asked = cache.asked
    await Purges(directory, front, clock).follow(wait_seconds=0)
    assert cache.asked == asked


async def test_deletions_that_no_cache_can_remember_are_skipped(stubborn):
    cache, front, clock = stubborn
    directory = MemoryDirectory()
    position = await directory.append_event(EventKind.DELETED, PhotoId(1), {})
    await Purges(directory, front, clock, entry_seconds_max=-60.0).follow(wait_seconds=0)
    assert await directory.position(CONSUMER) == position
    assert cache.asked == 0
