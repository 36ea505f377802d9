"""``verify`` finds what is wrong, says what, and mends what can be mended. No server: the roles alone."""

from __future__ import annotations

import hashlib

import pytest

from hayloft.assembly import embedded
from hayloft.assembly.data_directory import DataDirectory
from hayloft.assembly.verify import Fault, verify
from hayloft.config import Settings
from hayloft.errors import AlreadyServed, NotFound
from hayloft.gateway.gateway import Gateway
from hayloft.types import NeedleMetadata, NewNeedle, PhotoId, new_cookie, volume_of
from served import picture


@pytest.fixture
def kept(tmp_path):
    return Settings(data=tmp_path / "data", volume={"free_space_reserve_bytes": 0})


async def keep(settings, count, *, spoil=None):
    """Keep photos as a worker does; ``spoil`` may then do harm through the same roles."""
    data = DataDirectory(settings.data)
    with data.lock():
        data.prepare()
        async with embedded.roles(settings, data) as opened:
            gateway = Gateway(
                directory=opened.directory,
                stores=opened.stores,
                similarity=None,
                settings=settings,
                secret=data.secret(),
                worker="w",
            )
            photos = [
                (await gateway.uploads.keep(picture(number), name=f"{number}")).record.photo
                for number in range(count)
            ]
            await gateway.close()
            if spoil is not None:
                await spoil(opened, photos)
    return photos


async def test_what_is_whole_is_found_whole(kept):
    await keep(kept, 5)
    told = []
    found = await verify(kept, progress=lambda checked, total: told.append((checked, total)))
    assert (found.photos, found.needles, found.findings, found.sound) == (5, 5, [], True)
    assert found.size_bytes == sum(len(picture(number)) for number in range(5))
    assert told[-1] == (5, 5)


async def test_an_orphan_is_found_and_buried_and_nothing_else_with_it(kept):
    async def leave_an_orphan(opened, photos):
        (store,) = opened.stores.values()
        needle = NewNeedle(photo=PhotoId(photos[-1] + 1), cookie=new_cookie(), data=b"never acknowledged")
        await store.append(volume_of(needle.photo), needle)

    photos = await keep(kept, 3, spoil=leave_an_orphan)
    found = await verify(kept)
    assert [(f.fault, f.photo, f.repaired) for f in found.findings] == [
        (Fault.ORPHAN, photos[-1] + 1, False)
    ]
    assert found.sound  # nothing acknowledged is missing
    mended = await verify(kept, repair=True)
    assert [(f.fault, f.repaired) for f in mended.findings] == [(Fault.ORPHAN, True)]
    again = await verify(kept)
    assert (again.photos, again.findings) == (3, [])


async def test_a_deletion_that_was_interrupted_is_found_and_finished(kept):
    async def delete_in_the_directory_alone(opened, photos):
        await opened.directory.delete(photos[0])

    photos = await keep(kept, 2, spoil=delete_in_the_directory_alone)
    found = await verify(kept, repair=True)
    assert [(f.fault, f.photo, f.repaired) for f in found.findings] == [(Fault.UNDELETED, photos[0], True)]
    assert (await verify(kept)).findings == []


async def test_a_photo_that_is_gone_or_changed_is_found(kept):
    async def lose_one_and_change_one(opened, photos):
        (store,) = opened.stores.values()
        await store.delete(photos[0])
        record = await opened.directory.photo(photos[1])
        other = picture(99)
        metadata = NeedleMetadata(sha256=hashlib.sha256(other).digest())
        needle = NewNeedle(photo=photos[1], cookie=record.cookie, data=other, metadata=metadata)
        await store.append(volume_of(photos[1]), needle)
        needle = NewNeedle(photo=photos[2], cookie=new_cookie(), data=picture(2))
        await store.append(volume_of(photos[2]), needle)

    photos = await keep(kept, 4, spoil=lose_one_and_change_one)
    found = await verify(kept, repair=True)
    assert sorted([(f.fault, f.photo, f.repaired) for f in found.findings], key=lambda f: f[1]) == [
        (Fault.MISSING, photos[0], False),
        (Fault.DAMAGED, photos[1], False),
        (Fault.DAMAGED, photos[2], False),
    ]
    assert not found.sound


async def test_damaged_bytes_are_found(kept):
    (photo,) = await keep(kept, 1)
    (log,) = DataDirectory(kept.data).volumes.glob("lv-*.log")
    content = bytearray(log.read_bytes())
    content[content.index(picture(0)[100:150])] ^= 1
    log.write_bytes(content)
    found = await verify(kept)
    assert {(f.fault, f.photo) for f in found.findings} == {(Fault.DAMAGED, photo)}
    assert not found.sound


async def test_repairing_needs_the_data_to_itself(kept):
    await keep(kept, 1)
    with DataDirectory(kept.data).lock():
        assert (await verify(kept)).sound
        with pytest.raises(AlreadyServed):
            await verify(kept, repair=True)


async def test_there_must_be_something_to_verify(tmp_path):
    with pytest.raises(NotFound):
        await verify(Settings(data=tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


async def test_a_volume_that_failed_and_is_found_whole_takes_photos_again(kept):
    async def fail(opened, photos):
        (name,) = opened.stores
        for photo in photos:
            await opened.directory.report_failure(volume_of(photo), name, "needle_lost (photo 5)")

    photos = await keep(kept, 2, spoil=fail)

    async def writable():
        data = DataDirectory(kept.data)
        async with embedded.roles(kept, data) as opened:
            return [(await opened.directory.placement(volume_of(photo))).writable for photo in photos]

    assert (await verify(kept)).sound
    assert not any(await writable())
    assert (await verify(kept, repair=True)).sound
    assert all(await writable())
