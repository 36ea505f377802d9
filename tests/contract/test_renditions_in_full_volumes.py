"""A volume that became full, or was sealed, before ingest got to its photos still takes their renditions.

Uploads run ahead of ingest by whole volumes when a library is imported; without this most of its photos
would never have had a stored rendition.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hayloft.config import VolumeSettings
from hayloft.errors import PhotoDeleted, VolumeReadOnly
from hayloft.store.local import LocalStore
from hayloft.types import AlternateKey, Cookie, NewNeedle, PhotoId, Sequence, StoreId, VolumeId, photo_id

VOLUME = VolumeId(1)
SETTINGS = VolumeSettings(size_bytes_max=64 << 10, free_space_reserve_bytes=0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    opened = LocalStore(tmp_path, store=StoreId("one"), settings=SETTINGS)
    yield opened
    await opened.close()


def photo(number: int) -> PhotoId:
    return photo_id(VOLUME, Sequence(number))


def needle(number: int, key: AlternateKey, size: int = 10_000) -> NewNeedle:
    return NewNeedle(photo=photo(number), cookie=Cookie(7), data=bytes([key]) * size, alternate_key=key)


async def fill(store: LocalStore) -> int:
    """Append photos until the volume takes no more; how many it took."""
    number = 0
    try:
        while True:
            await store.append(VOLUME, needle(number, AlternateKey.ORIG))
            number += 1
    except VolumeReadOnly:
        return number


async def test_renditions_are_taken_past_the_end(store: LocalStore, tmp_path: Path) -> None:
    count = await fill(store)
    for number in range(count):
        for key in (AlternateKey.LARGE, AlternateKey.THUMB):
            await store.append(VOLUME, needle(number, key))
    report = await store.verify(VOLUME)
    assert (report.damaged, report.checked, report.state.sealed) == ((), 3 * count, True)
    await store.compact(VOLUME)
    await store.close()
    again = LocalStore(tmp_path, store=StoreId("one"), settings=SETTINGS)
    for number in range(count):
        thumb = await again.read(photo(number), AlternateKey.THUMB)
        assert bytes(thumb.data) == bytes([AlternateKey.THUMB]) * 10_000
    with pytest.raises(VolumeReadOnly):
        await again.append(VOLUME, needle(count, AlternateKey.ORIG))
    await again.close()


async def test_only_renditions_of_photos_that_are_there(store: LocalStore) -> None:
    count = await fill(store)
    with pytest.raises(VolumeReadOnly):
        await store.append(VOLUME, needle(count + 5, AlternateKey.THUMB))
    await store.append(VOLUME, needle(0, AlternateKey.THUMB))
    assert await store.delete(photo(0))
    with pytest.raises((VolumeReadOnly, PhotoDeleted)):
        await store.append(VOLUME, needle(0, AlternateKey.THUMB))
    for key in (AlternateKey.ORIG, AlternateKey.THUMB):
        with pytest.raises(PhotoDeleted):
            await store.read(photo(0), key)


async def test_a_volume_that_was_sealed(store: LocalStore) -> None:
    await store.append(VOLUME, needle(0, AlternateKey.ORIG))
    await store.seal(VOLUME)
    await store.append(VOLUME, needle(0, AlternateKey.SMALL))
    assert (await store.read(photo(0), AlternateKey.SMALL)).cookie == 7
    with pytest.raises(VolumeReadOnly):
        await store.append(VOLUME, needle(1, AlternateKey.ORIG))
