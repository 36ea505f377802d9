"""The cache in one process: two tiers, time, damage, a disk that fails."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hayloft.cache.local import LocalCache
from hayloft.config import CacheSettings
from hayloft.disk import SystemDisk, SystemFile
from hayloft.errors import AlreadyServed, UploadTooLarge
from hayloft.types import AlternateKey, CacheMiss, Cookie, NewNeedle, PhotoId

SETTINGS = CacheSettings(memory_bytes_max=4000, disk_bytes_max=20_000, ttl_seconds=60)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic_seconds(self) -> float:
        return self.seconds


def needle(photo: int, size: int = 1000, key: AlternateKey = AlternateKey.ORIG) -> NewNeedle:
    return NewNeedle(
        photo=PhotoId(photo), cookie=Cookie(photo + 1), data=bytes([photo]) * size, alternate_key=key
    )


async def holds(cache: LocalCache, photo: int) -> bool:
    found = await cache.get(PhotoId(photo))
    if isinstance(found, CacheMiss):
        return False
    assert bytes(found.data[:3]) == bytes([photo]) * 3
    return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cache(tmp_path: Path, clock: Clock) -> AsyncIterator[LocalCache]:
    opened = await LocalCache.open(SETTINGS, folder=tmp_path / "cache", clock=clock)
    yield opened
    await opened.close()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


async def test_what_leaves_memory_is_found_on_disk_until_that_is_full(
    cache: LocalCache, tmp_path: Path
) -> None:
    for photo in range(40):
        await cache.put(needle(photo))
        await cache.settled()
    told = await cache.statistics()
    assert told.memory_items == 3
    assert told.disk_items == len(files_in(tmp_path / "cache"))
    assert sum(path.stat().st_size for path in files_in(tmp_path / "cache")) <= 20_000
    assert told.size_bytes <= told.size_bytes_max == 24_000
    here = [photo for photo in range(40) if await holds(cache, photo)]
    assert here[-1] == 39
    assert len(here) > 20
    assert here == list(range(here[0], 40))


async def test_memory_alone_forgets(clock: Clock) -> None:
    cache = await LocalCache.open(SETTINGS, clock=clock)
    for photo in range(5):
        await cache.put(needle(photo))
    assert [photo for photo in range(5) if await holds(cache, photo)] == [2, 3, 4]
    with pytest.raises(UploadTooLarge):
        await cache.put(needle(1, size=4001))
    await cache.close()


async def test_a_read_makes_a_rendition_last(cache: LocalCache, clock: Clock) -> None:
    await cache.put(needle(1))
    await cache.put(needle(2))
    clock.seconds = 50
    assert await holds(cache, 1)
    assert await cache.size(PhotoId(2)) == 1000
    clock.seconds = 70
    assert not await holds(cache, 2)
    assert await holds(cache, 1)
    clock.seconds = 200
    assert cache.sweep() == 2
    assert (await cache.statistics()).items == 0


async def test_the_disk_forgets_in_time_too(cache: LocalCache, clock: Clock, tmp_path: Path) -> None:
    for photo in range(6):
        await cache.put(needle(photo))
    await cache.settled()
    clock.seconds = 61
    assert not await holds(cache, 0)
    cache.sweep()
    await cache.settled()
    assert files_in(tmp_path / "cache") == []


async def test_deleting_takes_every_rendition_from_both_tiers(cache: LocalCache, tmp_path: Path) -> None:
    await cache.put(needle(1))
    await cache.put(needle(1, key=AlternateKey.THUMB))
    for photo in range(2, 6):
        await cache.put(needle(photo))
    assert await cache.delete(PhotoId(1))  # partly still on its way to the disk
    await cache.settled()
    assert not await cache.delete(PhotoId(1))
    for key in AlternateKey:
        assert isinstance(await cache.get(PhotoId(1), key), CacheMiss)
    assert len(files_in(tmp_path / "cache")) == (await cache.statistics()).disk_items


async def test_a_deletion_during_a_read_from_disk_wins(cache: LocalCache) -> None:
    for photo in range(6):
        await cache.put(needle(photo))
    await cache.settled()
    reading = asyncio.create_task(cache.get(PhotoId(0)))
    await asyncio.sleep(0)
    await cache.delete(PhotoId(0))
    assert isinstance(await reading, CacheMiss)
    assert not await holds(cache, 0)


async def test_damage_on_disk_is_a_miss_and_the_file_goes(cache: LocalCache, tmp_path: Path) -> None:
    for photo in range(6):
        await cache.put(needle(photo))
    await cache.settled()
    paths = files_in(tmp_path / "cache")
    assert len(paths) == 3
    for path in paths:
        damaged = bytearray(path.read_bytes())
        damaged[500] ^= 4
        path.write_bytes(damaged)
    assert [photo for photo in range(6) if await holds(cache, photo)] == [3, 4, 5]
    await cache.settled()
    assert (await cache.statistics()).items == 3


async def test_files_that_were_exchanged_are_not_served_for_each_other(
    cache: LocalCache, tmp_path: Path
) -> None:
    for photo in range(6):
        await cache.put(needle(photo))
    await cache.settled()
    first, second, _third = files_in(tmp_path / "cache")
    bytes_of_first = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(bytes_of_first)
    assert sum([await holds(cache, photo) for photo in range(3)]) == 1


async def test_a_restart_forgets_what_was_on_disk(tmp_path: Path, clock: Clock) -> None:
    first = await LocalCache.open(SETTINGS, folder=tmp_path / "cache", clock=clock)
    for photo in range(6):
        await first.put(needle(photo))
    await first.settled()
    left = tmp_path / "cache" / "left-by-a-killed-process"
    left.mkdir()
    (left / "7").write_bytes(b"old")
    with pytest.raises(AlreadyServed):
        await LocalCache.open(SETTINGS, folder=tmp_path / "cache", clock=clock)
    await first.close()
    second = await LocalCache.open(SETTINGS, folder=tmp_path / "cache", clock=clock)
    await second.settled()
    assert not await holds(second, 0)
    assert files_in(tmp_path / "cache") == []
    await second.close()


class FullFile(SystemFile):
    def write_at(self, buffers: object, offset: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


class FullDisk(SystemDisk):
    def open(self, path: Path, *, create: bool = False) -> SystemFile:
        return FullFile(path, create=create) if path.name != "lock" else SystemFile(path, create=create)


async def test_a_full_disk_costs_hits_alone(tmp_path: Path, clock: Clock) -> None:
    cache = await LocalCache.open(SETTINGS, folder=tmp_path / "cache", disk=FullDisk(), clock=clock)
    for photo in range(6):
        await cache.put(needle(photo))
    await cache.settled()
    assert [photo for photo in range(6) if await holds(cache, photo)] == [3, 4, 5]
    assert files_in(tmp_path / "cache") == []
    await cache.close()


async def test_a_slow_reader_cannot_bring_a_deleted_photo_back(cache: LocalCache) -> None:
    miss = await cache.get(PhotoId(1))
    assert isinstance(miss, CacheMiss)
    await cache.delete(PhotoId(1))
    assert not await cache.put(needle(1), lease=miss.lease)
    assert not await holds(cache, 1)
    assert await cache.put(needle(1))


async def test_what_waits_for_the_disk_is_held_to_the_caps(tmp_path: Path) -> None:
    settings = CacheSettings(memory_items_max=2, disk_items_max=5)
    cache = await LocalCache.open(settings, folder=tmp_path / "cache")
    for photo in range(50):  # the disk has no chance to begin meanwhile
        await cache.put(needle(photo))
    assert (await cache.statistics()).items <= 7
    await cache.settled()
    assert len(files_in(tmp_path / "cache")) <= 5
    await cache.close()
