"""Needles copied from one replica to another: what is stored, what is kept, which one wins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence as Sequences
from pathlib import Path

import pytest

from hayloft import limits
from hayloft.config import VolumeSettings
from hayloft.disk import SystemDisk
from hayloft.errors import (
    Conflict,
    InvalidRequest,
    PhotoDeleted,
    PhotoNotFound,
    StorageFull,
    VolumeNotFound,
)
from hayloft.needle import Bytes
from hayloft.store.local import FETCHES_MAX, LocalStore
from hayloft.testing.memory import MemoryStore
from hayloft.types import AlternateKey, NeedleKey, VolumeId
from replica_samples import (
    VOLUME,
    Replicas,
    all_keys,
    copy,
    export,
    fill,
    key,
    local_store,
    needle,
    take_over,
)


async def test_a_copy_is_the_same(replicas: Replicas) -> None:
    await fill(replicas.one, *range(1, 30))
    await replicas.one.append(VOLUME, needle(3, b"thumb", AlternateKey.THUMB))
    await replicas.one.append(VOLUME, needle(4, b""))
    await replicas.one.delete(key(7).photo)
    await replicas.one.append(VOLUME, needle(8, b"replaced", created_at_ms=2000))
    assert await copy(replicas.one, replicas.other) == (29, 1, 0)
    assert await replicas.one.digest(VOLUME) == await replicas.other.digest(VOLUME)
    found = await replicas.other.read(key(5).photo)
    assert (found.data, found.cookie, found.metadata) == (
        needle(5).data,
        needle(5).cookie,
        needle(5).metadata,
    )
    assert (await replicas.other.read(key(8).photo)).data == b"replaced"
    with pytest.raises(PhotoDeleted):
        await replicas.other.read(key(7).photo)
    assert await copy(replicas.one, replicas.other) == (0, 0, 30)
    report = await replicas.other.verify(VOLUME)
    assert (report.checked, report.damaged) == (29, ())


async def test_a_tombstone_wins_wherever_it_is(replicas: Replicas) -> None:
    await fill(replicas.one, 1, 2)
    await fill(replicas.other, 1, 2)
    await replicas.one.delete(key(1).photo)
    await replicas.other.delete(key(2).photo)
    assert await copy(replicas.one, replicas.other) == (0, 1, 1)
    assert await copy(replicas.other, replicas.one) == (0, 1, 1)
    for store in (replicas.one, replicas.other):
        for sequence in (1, 2):
            with pytest.raises(PhotoDeleted):
                await store.read(key(sequence).photo)


async def test_a_deleted_photo_gets_no_renditions_by_import(replicas: Replicas) -> None:
    await fill(replicas.one, 1)
    await replicas.one.append(VOLUME, needle(1, b"thumb", AlternateKey.THUMB))
    await fill(replicas.other, 1)
    await replicas.other.delete(key(1).photo)
    assert await copy(replicas.one, replicas.other) == (0, 0, 2)


async def test_a_deletion_is_taken_over_by_who_never_had_the_needle(replicas: Replicas) -> None:
    await fill(replicas.one, 1)
    await replicas.one.delete(key(1).photo)
    assert await copy(replicas.one, replicas.other) == (0, 1, 0)
    assert await replicas.one.digest(VOLUME) == await replicas.other.digest(VOLUME)
    # The records of one photo in one import: whatever their order, its deletion wins.
    third = MemoryStore()
    await fill(third, 1)
    mixed = await export(replicas.one, key(1)) + await export(third, key(1))
    await take_over(replicas.other, mixed)
    with pytest.raises(PhotoDeleted):
        await replicas.other.read(key(1).photo)


async def test_the_newer_needle_wins_on_every_replica(replicas: Replicas) -> None:
    await replicas.one.append(VOLUME, needle(1, b"old"))
    await replicas.other.append(VOLUME, needle(1, b"new", created_at_ms=2000))
    assert await copy(replicas.one, replicas.other) == (0, 0, 1)
    assert await copy(replicas.other, replicas.one) == (1, 0, 0)
    assert (await replicas.one.read(key(1).photo)).data == b"new"


async def test_needles_of_the_same_time_are_decided_alike(replicas: Replicas) -> None:
    await replicas.one.append(VOLUME, needle(1, b"this"))
    await replicas.other.append(VOLUME, needle(1, b"that"))
    assert await copy(replicas.one, replicas.other) != await copy(replicas.other, replicas.one)
    assert await replicas.one.digest(VOLUME) == await replicas.other.digest(VOLUME)


async def test_what_is_not_there_is_left_out(replicas: Replicas) -> None:
    await fill(replicas.one, 1)
    assert await export(replicas.one, key(2), key(1, AlternateKey.THUMB)) == b""
    assert await copy(replicas.one, replicas.other, key(2), key(1)) == (1, 0, 0)
    assert await take_over(replicas.other, b"") == (0, 0, 0)


async def test_an_export_stops_when_it_is_long_enough(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TRANSFER_BYTES", 1500)
    await replicas.one.append(VOLUME, needle(1, bytes(5000)))
    await fill(replicas.one, 2, 3, 4)
    assert await copy(replicas.one, replicas.other, key(1), key(2)) == (1, 0, 0)
    assert await copy(replicas.one, replicas.other, key(2), key(3), key(4)) == (2, 0, 0)


async def test_damage_on_the_way_is_refused_as_a_whole(replicas: Replicas) -> None:
    await fill(replicas.one, 1, 2, 3)
    await fill(replicas.other, 9)
    records = await export(replicas.one, key(1), key(2), key(3))
    for damaged in (
        records[:-1],
        records[:-600],
        records[:10],
        records[:700] + b"\xff" + records[701:],
        b"\0" + records[1:],
        b"nonsense that is long enough to be a header",
    ):
        with pytest.raises(InvalidRequest):
            await take_over(replicas.other, damaged)
    assert await all_keys(replicas.other) == [key(9)]


async def test_bad_questions(replicas: Replicas) -> None:
    with pytest.raises(VolumeNotFound):
        await replicas.one.digest(VOLUME)
    with pytest.raises(VolumeNotFound):
        await replicas.one.needles(VOLUME, limit=1)
    with pytest.raises(VolumeNotFound):
        await replicas.one.export_needles(VOLUME, [key(1)])
    with pytest.raises(VolumeNotFound):
        await replicas.one.set_aside(VOLUME)
    with pytest.raises(VolumeNotFound):
        await replicas.one.rebuild_index(VOLUME)
    await fill(replicas.one, 1)
    for limit in (0, -1, limits.TRANSFER_NEEDLES_MAX + 1):
        with pytest.raises(InvalidRequest):
            await replicas.one.needles(VOLUME, limit=limit)
    with pytest.raises(InvalidRequest):
        await replicas.one.export_needles(VOLUME, [key(1)] * (limits.TRANSFER_NEEDLES_MAX + 1))
    with pytest.raises(Conflict):
        await replicas.one.set_aside(VOLUME)
    await replicas.one.rebuild_index(VOLUME)
    assert (await replicas.one.read(key(1).photo)).data == needle(1).data


async def test_imports_and_appends_share_a_volume(stores: tuple[LocalStore, LocalStore]) -> None:
    one, other = stores
    await fill(one, *range(1, 200))
    keys = await all_keys(one)
    batches = [keys[first : first + 10] for first in range(0, len(keys), 10)]
    await asyncio.gather(
        *(copy(one, other, *batch) for batch in batches),
        *(other.append(VOLUME, needle(sequence)) for sequence in range(150, 400)),
        *(other.delete(key(sequence).photo) for sequence in range(1, 200, 7)),
    )
    await copy(one, other)
    report = await other.verify(VOLUME)
    assert report.damaged == ()
    assert report.checked == report.state.needles
    for sequence in range(150, 400):
        if sequence % 7 != 1:
            assert (await other.read(key(sequence).photo)).data == needle(sequence).data


async def test_a_full_disk_refuses_an_import_and_serves_on(tmp_path: Path) -> None:
    one = local_store(tmp_path / "a")
    await fill(one, 1)
    greedy = VolumeSettings(free_space_reserve_bytes=SystemDisk().space(tmp_path)[1])
    full = local_store(tmp_path / "b", greedy)
    with pytest.raises(StorageFull):
        await copy(one, full)
    with pytest.raises(PhotoNotFound):
        await full.read(key(1).photo)
    # A deletion makes room, and is taken.
    await one.delete(key(1).photo)
    assert await copy(one, full) == (0, 1, 0)
    await one.close()
    await full.close()


async def test_few_exports_are_in_memory_at_once(stores: tuple[LocalStore, LocalStore]) -> None:
    one, other = stores
    await fill(one, *range(1, 40))
    export, under_way, most = one.export_needles, 0, 0

    async def counted(volume: VolumeId, needles: Sequences[NeedleKey]) -> Bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return await export(volume, needles)

    one.export_needles = counted  # type: ignore[method-assign]
    await asyncio.gather(*(copy(one, other, key(sequence)) for sequence in range(1, 40)))
    assert 1 < most <= FETCHES_MAX
    assert len(await all_keys(other)) == 39
