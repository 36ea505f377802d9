"""Damage on one replica, and how the other makes it whole: needles, deletions, indexes, volumes."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hayloft import limits
from hayloft.disk import SystemFile
from hayloft.errors import PhotoDeleted, VolumeCorrupt, VolumeNotFound, VolumeReadOnly
from hayloft.store.local import LocalStore
from hayloft.types import Scrutiny
from replica_samples import VOLUME, all_keys, copy, damage, fill, key, needle

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


async def test_a_damaged_needle_is_found_told_and_replaced(
    stores: tuple[LocalStore, LocalStore], tmp_path: Path
) -> None:
    one, other = stores
    await fill(one, 1, 2, 3)
    await copy(one, other)
    offset = (await other.stat(key(2).photo)).offset
    damage(tmp_path / "b" / "lv-5.log", offset + 100)

    found = await other.digest(VOLUME)
    assert (found.needles, found.damaged) == (3, 1)
    listed = await other.needles(VOLUME, limit=9)
    assert [(entry.damaged, entry.checksum is None) for entry in listed] == [
        (False, False),
        (True, True),
        (False, False),
    ]
    assert await copy(other, one, key(2)) == (0, 0, 0)
    assert await copy(one, other) == (1, 0, 2)
    assert await one.digest(VOLUME) == await other.digest(VOLUME)
    assert (await other.read(key(2).photo)).data == needle(2).data


async def test_a_sealed_and_a_full_volume_are_repaired(stores: tuple[LocalStore, LocalStore]) -> None:
    one, other = stores
    big = bytes(600_000)
    await one.append(VOLUME, needle(1, big))
    await fill(one, 2)
    await other.append(VOLUME, needle(3, big))
    await other.seal(VOLUME)
    with pytest.raises(VolumeReadOnly):
        await other.append(VOLUME, needle(4))
    assert await copy(one, other) == (2, 0, 0)
    assert (await other.read(key(1).photo)).data == big
    assert (await other.health()).volumes[0].sealed


async def test_a_lost_deletion_comes_back_from_the_other_replica(
    stores: tuple[LocalStore, LocalStore], tmp_path: Path
) -> None:
    one, other = stores
    await fill(one, 1, 2)
    await copy(one, other)
    for store in stores:
        await store.delete(key(2).photo)
    generation = (await other._opened(VOLUME)).current.generation
    generation.index.store(2 * limits.SLOTS_PER_PHOTO, 0)
    assert (await one.digest(VOLUME)).digest != (await other.digest(VOLUME)).digest
    assert await copy(one, other) == (0, 1, 1)
    assert await one.digest(VOLUME) == await other.digest(VOLUME)


async def test_a_false_deletion_is_undone_by_the_log(stores: tuple[LocalStore, LocalStore]) -> None:
    one, _other = stores
    await fill(one, 1, 2)
    generation = (await one._opened(VOLUME)).current.generation
    generation.index.store(2 * limits.SLOTS_PER_PHOTO, 1)
    with pytest.raises(PhotoDeleted):
        await one.read(key(2).photo)
    await one.rebuild_index(VOLUME)
    assert (await one.read(key(2).photo)).data == needle(2).data


async def test_a_volume_that_cannot_be_opened_is_set_aside_and_filled_anew(
    stores: tuple[LocalStore, LocalStore], tmp_path: Path
) -> None:
    one, other = stores
    await fill(one, 1, 2)
    await copy(one, other)
    damage(tmp_path / "b" / "lv-5.log", 20)
    with pytest.raises(VolumeCorrupt):
        await other.needles(VOLUME, limit=1, scrutiny=Scrutiny.MEDIUM)
    await other.set_aside(VOLUME)
    with pytest.raises(VolumeNotFound):
        await other.digest(VOLUME)
    assert await copy(one, other) == (2, 0, 0)
    assert await one.digest(VOLUME) == await other.digest(VOLUME)
    assert (tmp_path / "b" / "lv-5.log.damaged-1").exists()
    assert [state.volume for state in (await other.health()).volumes] == [VOLUME]


async def test_a_volume_whose_files_vanish_under_it_is_made_anew(
    stores: tuple[LocalStore, LocalStore], tmp_path: Path
) -> None:
    one, other = stores
    await fill(one, 1, 2)
    await copy(one, other)
    for path in (tmp_path / "b").iterdir():
        path.unlink()
    assert await copy(one, other) == (2, 0, 0)
    assert await one.digest(VOLUME) == await other.digest(VOLUME)


class BadSectors(SystemFile):
    """A file of which a stretch cannot be read."""

    bad: tuple[int, int] = (0, 0)

    def read_into(self, buffer: WriteableBuffer, offset: int) -> int:
        if offset < self.bad[1] and offset + memoryview(buffer).nbytes > self.bad[0]:
            raise OSError(errno.EIO, "bad sector")
        return super().read_into(buffer, offset)


async def test_a_bad_sector_takes_only_its_needle(stores: tuple[LocalStore, LocalStore]) -> None:
    one, other = stores
    await fill(one, *range(1, 6))
    volume = await one._opened(VOLUME)
    found = await one.stat(key(3).photo)
    file = BadSectors(volume.current.files.log, create=False)
    file.bad = (found.offset + 50, found.offset + 51)
    volume.current.generation.log.file = file
    assert await copy(one, other) == (4, 0, 0)
    assert await all_keys(other) == [key(sequence) for sequence in (1, 2, 4, 5)]


async def test_an_index_that_asks_for_gigabytes_is_not_believed(
    stores: tuple[LocalStore, LocalStore],
) -> None:
    one, other = stores
    await fill(one, 1, 2)
    generation = (await one._opened(VOLUME)).current.generation
    generation.index.store(1 * limits.SLOTS_PER_PHOTO, 1 << 32 | 0xFFFF_FFF8)
    assert await copy(one, other, key(1), key(2)) == (1, 0, 0)
