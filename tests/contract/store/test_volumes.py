"""A store and its volumes: sealed, full, compacted, damaged, without room, not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hayloft.config import VolumeSettings
from hayloft.disk import SystemDisk
from hayloft.errors import (
    Conflict,
    NeedleCorrupt,
    PhotoDeleted,
    StorageFull,
    UploadTooLarge,
    VolumeNotFound,
    VolumeReadOnly,
)
from hayloft.roles import Store
from hayloft.store.client import StoreClient
from hayloft.store.local import LocalStore
from hayloft.store.server import store_application
from hayloft.types import AlternateKey, NewNeedle, VolumeId
from hayloft.wire.serving import AppServer
from store_samples import VOLUME, needle, open_local, photo


async def test_a_sealed_volume_takes_deletions_only(store: Store) -> None:
    await store.append(VOLUME, needle(1))
    await store.append(VOLUME, needle(2))
    await store.seal(VOLUME)
    await store.seal(VOLUME)
    with pytest.raises(VolumeReadOnly):
        await store.append(VOLUME, needle(3))
    assert await store.delete(photo(1))
    assert (await store.read(photo(2))).data == needle(2).data
    assert (await store.health()).volumes[0].sealed


async def test_a_full_volume_seals_itself(store: Store) -> None:
    half = bytes(600_000)
    await store.append(VOLUME, needle(1, half))
    with pytest.raises(VolumeReadOnly):
        await store.append(VOLUME, needle(2, half))
    assert (await store.health()).volumes[0].sealed
    with pytest.raises(VolumeReadOnly):
        await store.append(VOLUME, needle(3, b"small"))
    assert (await store.read(photo(1))).data == half


async def test_a_photo_that_no_volume_could_hold(store: Store) -> None:
    with pytest.raises(UploadTooLarge):
        await store.append(VOLUME, needle(1, bytes(1 << 20)))
    await store.append(VOLUME, needle(1, b"small"))


async def test_volumes_that_are_not_there(store: Store) -> None:
    with pytest.raises(VolumeNotFound):
        await store.seal(VOLUME)
    with pytest.raises(VolumeNotFound):
        await store.verify(VOLUME)
    with pytest.raises(VolumeNotFound):
        await store.compact(VOLUME)


async def test_health(store: Store) -> None:
    for volume in (VolumeId(9), VolumeId(2)):
        given = needle(1)
        await store.append(volume, NewNeedle(photo=photo(1, volume), cookie=given.cookie, data=given.data))
    health = await store.health()
    assert health.store == "one"
    assert [(state.volume, state.needles, state.sealed) for state in health.volumes] == [
        (2, 1, False),
        (9, 1, False),
    ]
    assert 0 < health.free_bytes <= health.capacity_bytes


async def test_compaction(store: Store) -> None:
    for each in range(20):
        await store.append(VOLUME, needle(each))
    for each in range(0, 20, 2):
        await store.delete(photo(each))
    await store.append(VOLUME, needle(1, b"replaced"))
    report = await store.compact(VOLUME)
    assert report.needles == 10
    assert report.size_bytes_after < report.size_bytes_before * 0.6
    for each in range(3, 20, 2):
        assert (await store.read(photo(each))).data == needle(each).data
    assert (await store.read(photo(1))).data == b"replaced"
    with pytest.raises(PhotoDeleted):
        await store.read(photo(4))
    await store.append(VOLUME, needle(50))
    checked = await store.verify(VOLUME)
    assert (checked.checked, checked.damaged) == (11, ())


async def test_two_compactions_at_once(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(1))
    lock = SystemDisk().open(tmp_path / "store" / "lv-5.compaction.lock", create=True)
    lock.lock()
    with pytest.raises(Conflict):
        await store.compact(VOLUME)
    lock.close()
    await store.compact(VOLUME)
    await store.close()


async def test_damage_is_reported(store: Store, local: LocalStore, tmp_path: Path) -> None:
    appended = await store.append(VOLUME, needle(1))
    with (tmp_path / "store" / "lv-5.log").open("r+b") as log:
        log.seek(appended.offset + 500)
        log.write(b"rotten")
    with pytest.raises(NeedleCorrupt):
        await store.read(photo(1))
    assert (await store.health()).volumes[0].corrupt == 1
    report = await store.verify(VOLUME)
    assert [found[:2] for found in report.damaged] == [(photo(1), AlternateKey.ORIG)]


async def test_no_room(tmp_path: Path) -> None:
    greedy = VolumeSettings(free_space_reserve_bytes=SystemDisk().space(tmp_path)[1])
    store = open_local(tmp_path / "store", greedy)
    async with AppServer(store_application(store)) as server:
        client = StoreClient(server.url)
        for each in (store, client):
            with pytest.raises(StorageFull):
                await each.append(VOLUME, needle(1))
        await client.close()
    await store.close()


async def test_an_index_is_made_anew_in_use(tmp_path: Path) -> None:
    one, other = open_local(tmp_path / "store"), open_local(tmp_path / "store")
    await one.append(VOLUME, needle(1))
    assert (await other.read(photo(1))).data == needle(1).data
    await one.rebuild_index(VOLUME)
    await one.append(VOLUME, needle(2))
    assert (await other.read(photo(2))).data == needle(2).data
    await one.close()
    await other.close()


async def test_sparse_ids_cost_no_space(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    for sequence in (0, 1, 2**31, 2**32 - 1):
        await store.append(VOLUME, needle(sequence, b"x"))
    for sequence in (0, 1, 2**31, 2**32 - 1):
        assert (await store.read(photo(sequence))).data == b"x"
    allocated = sum(path.stat().st_blocks * 512 for path in (tmp_path / "store").iterdir())
    assert allocated < 1 << 20
    assert (await store.verify(VOLUME)).checked == 4
    assert (await store.compact(VOLUME)).needles == 4
    await store.close()
