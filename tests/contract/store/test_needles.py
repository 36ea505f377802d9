"""Needles: appended, replaced, read back as they were, deleted; here and over HTTP alike."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from hayloft.disk import SystemFile
from hayloft.errors import InvalidRequest, PhotoDeleted, PhotoNotFound
from hayloft.roles import Store
from hayloft.types import AlternateKey, NewNeedle, VolumeId
from store_samples import VOLUME, needle, open_local, photo


async def test_what_is_appended_reads_back(store: Store) -> None:
    given = needle(1, media_type="image/jpeg", name="Käse 100%.jpg", created_at_ms=1_700_000_000_123)
    appended = await store.append(VOLUME, given)
    assert appended.size == 1000
    found = await store.read(photo(1))
    assert found.data == given.data
    assert found.cookie == given.cookie
    assert found.metadata == given.metadata


@pytest.mark.parametrize("size", [0, 1, 7, 8, 4096, 700_000])
async def test_photos_of_all_sizes(store: Store, size: int) -> None:
    data = random.Random(size).randbytes(size)
    await store.append(VOLUME, needle(1, data))
    assert (await store.read(photo(1))).data == data


async def test_data_may_be_a_view(store: Store) -> None:
    data = random.Random(1).randbytes(2000)
    given = needle(1, data[500:1500])
    viewed = NewNeedle(
        photo=given.photo, cookie=given.cookie, data=memoryview(data)[500:1500], metadata=given.metadata
    )
    await store.append(VOLUME, viewed)
    assert (await store.read(photo(1))).data == data[500:1500]


async def test_appending_again_replaces(store: Store) -> None:
    await store.append(VOLUME, needle(1, b"old"))
    await store.append(VOLUME, needle(1, b"new"))
    assert (await store.read(photo(1))).data == b"new"
    assert (await store.health()).volumes[0].needles == 1


async def test_renditions_are_needles_of_their_own(store: Store) -> None:
    for key in AlternateKey:
        await store.append(VOLUME, needle(1, key.label.encode(), key))
    for key in AlternateKey:
        assert (await store.read(photo(1), key)).data == key.label.encode()
    assert await store.delete(photo(1))
    for key in AlternateKey:
        with pytest.raises(PhotoDeleted):
            await store.read(photo(1), key)


async def test_concurrent_appends(store: Store) -> None:
    await asyncio.gather(*(store.append(VOLUME, needle(each)) for each in range(100)))
    for each in range(100):
        assert (await store.read(photo(each))).data == needle(each).data
    report = await store.verify(VOLUME)
    assert (report.checked, report.damaged) == (100, ())


async def test_unknown_photos(store: Store) -> None:
    with pytest.raises(PhotoNotFound):
        await store.read(photo(1))
    await store.append(VOLUME, needle(1))
    for unknown in (photo(2), photo(2**32 - 1), photo(1, VolumeId(6))):
        with pytest.raises(PhotoNotFound):
            await store.read(unknown)
        assert not await store.delete(unknown)
        assert not (await store.stat(unknown)).exists
    with pytest.raises(PhotoNotFound):
        await store.read(photo(1), AlternateKey.THUMB)


async def test_deletion(store: Store) -> None:
    await store.append(VOLUME, needle(1))
    assert await store.delete(photo(1))
    assert not await store.delete(photo(1))
    with pytest.raises(PhotoDeleted):
        await store.read(photo(1))
    found = await store.stat(photo(1))
    assert (found.exists, found.deleted) == (False, True)
    assert (await store.health()).volumes[0].needles == 0


async def test_a_deleted_photo_gets_no_renditions(store: Store) -> None:
    await store.append(VOLUME, needle(1))
    await store.delete(photo(1))
    with pytest.raises(PhotoDeleted):
        await store.append(VOLUME, needle(1, b"small", AlternateKey.THUMB))


async def test_the_same_photo_may_be_appended_after_its_deletion(store: Store) -> None:
    await store.append(VOLUME, needle(1, b"old"))
    await store.delete(photo(1))
    await store.append(VOLUME, needle(1, b"new"))
    assert (await store.read(photo(1))).data == b"new"


async def test_stat(store: Store) -> None:
    appended = await store.append(VOLUME, needle(1))
    found = await store.stat(photo(1))
    assert (found.exists, found.deleted, found.offset) == (True, False, appended.offset)
    assert found.size > 1000
    assert store.exists(photo(1)) in (None, found)


async def test_names_that_are_too_long(store: Store) -> None:
    with pytest.raises(InvalidRequest):
        await store.append(VOLUME, needle(1, name="n" * 1025))


async def test_cold_reads_do_not_need_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(1))
    monkeypatch.setattr(SystemFile, "read_cached_into", lambda *_given: 0)
    assert (await store.read(photo(1))).data == needle(1).data
    await store.close()
