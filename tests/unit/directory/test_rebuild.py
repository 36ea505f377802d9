"""A directory rebuilt from needles alone answers like the one that was lost."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest

from hayloft.database import open_database
from hayloft.directory import rebuild as module
from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.directory.rebuild import FoundNeedle, rebuild
from hayloft.errors import Conflict
from hayloft.types import (
    AlternateKey,
    EventKind,
    NeedleMetadata,
    NewPhoto,
    PhotoQuery,
    PhotoStatus,
    Sequence,
    StoreHealth,
    StoreId,
    VolumeId,
    new_cookie,
    photo_id,
)

DAY_MS = 86_400_000


@pytest.fixture
async def database(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    database = open_database(url, name="directory")
    yield database
    await database.close()


def needle(number: int, data: bytes, *, volume: int = 1, **changes) -> FoundNeedle:
    fields = {
        "photo": photo_id(VolumeId(volume), Sequence(number)),
        "alternate_key": AlternateKey.ORIG,
        "cookie": new_cookie(),
        "size": len(data),
        "metadata": NeedleMetadata(
            media_type="image/png",
            name=f"{number}.png",
            sha256=sha256(data).digest(),
            created_at_ms=100 * DAY_MS - number,
        ),
    }
    return FoundNeedle(**{**fields, **changes})


async def test_everything_that_needles_know_comes_back(database, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_NEEDLES", 2)
    found = [
        needle(0, b"a"),
        needle(1, b"b", alternate_key=AlternateKey.THUMB, size=1),
        needle(2, b"a"),  # older than photo 0 by a millisecond
        needle(3, b"c", deleted=True),
        needle(1, b"b"),
        needle(7, b"a", volume=5),
        needle(1, b"b", alternate_key=AlternateKey.SMALL, size=2),
    ]
    local = (StoreId("local"),)
    result = await rebuild(database, iter(found), placements={VolumeId(1): local, VolumeId(9): local})
    assert (result.photos, result.deleted, result.volumes) == (4, 1, 3)

    directory = LocalDirectory(database, policy=WritePolicy(writable_max=2))
    page = await directory.photos(PhotoQuery(status=None))
    assert [record.name for record in page.photos] == ["7.png", "3.png", "2.png", "1.png", "0.png"]
    assert page.total == 5
    record = await directory.photo(found[4].photo)
    assert (record.cookie, record.size, record.alternate_key) == (found[4].cookie, 1, AlternateKey.ORIG)
    assert record.replicas == ("local",)
    assert (await directory.photo(found[3].photo)).status is PhotoStatus.DELETED
    statistics = await directory.statistics()
    assert (statistics.photos, statistics.deleted, statistics.bytes) == (4, 1, 4)

    digests = [sha256(data).digest() for data in (b"a", b"b", b"c")]
    assert await directory.known(digests) == {digests[0]: found[5].photo, digests[1]: found[1].photo}
    events = await directory.events(after=0, limit=100)
    duplicates = {
        event.photo: event.payload["duplicate_of"] for event in events if event.kind is EventKind.UPLOADED
    }
    assert duplicates == {
        found[0].photo: found[5].photo,
        found[1].photo: None,
        found[2].photo: found[5].photo,
        found[3].photo: None,
        found[5].photo: None,
    }
    assert [event.photo for event in events if event.kind is EventKind.DELETED] == [found[3].photo]


async def test_a_photo_is_deleted_if_any_of_its_needles_is(database, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_NEEDLES", 1)
    found = [
        needle(0, b"a"),
        needle(0, b"a", alternate_key=AlternateKey.THUMB, deleted=True),
        needle(1, b"b", deleted=True),
        needle(1, b"b", alternate_key=AlternateKey.THUMB),
    ]
    result = await rebuild(database, found, placements={})
    assert (result.photos, result.deleted) == (0, 2)


async def test_ids_that_may_have_been_given_out_are_not_given_out_again(database):
    await rebuild(database, [needle(41, b"a")], placements={VolumeId(1): (StoreId("local"),)})
    directory = LocalDirectory(database)
    await directory.register(
        StoreHealth(store=StoreId("local"), volumes=(), free_bytes=1 << 40, capacity_bytes=1 << 40)
    )
    lease = await directory.lease(holder="a", count=5)
    assert lease.volume == 2
    answer = await directory.commit(
        NewPhoto(
            photo=photo_id(lease.volume, lease.first),
            cookie=new_cookie(),
            size=1,
            sha256=sha256(b"a").digest(),
            media_type="image/png",
            width=1,
            height=1,
        )
    )
    assert answer.duplicate_of == photo_id(VolumeId(1), Sequence(41))


async def test_only_an_empty_directory_is_rebuilt(database):
    await rebuild(database, [needle(0, b"a")], placements={})
    with pytest.raises(Conflict):
        await rebuild(database, [needle(1, b"b")], placements={})
