"""What replicas need of stores to become the same again: digest, listing, export, fetch.

Over every store: in this process, over HTTP on a real socket, and in memory. What only a store with files
can show (damage, crashes, indexes) stands at the end.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import random
from collections.abc import AsyncIterator
from collections.abc import Sequence as Sequences
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from hayloft import limits
from hayloft.config import VolumeSettings
from hayloft.disk import SystemDisk, SystemFile
from hayloft.errors import (
    Conflict,
    HayloftError,
    InvalidRequest,
    PhotoDeleted,
    PhotoNotFound,
    RoleUnavailable,
    StorageFull,
    Unauthorized,
    VolumeCorrupt,
    VolumeNotFound,
    VolumeReadOnly,
)
from hayloft.needle import Bytes
from hayloft.roles import Store
from hayloft.store.client import StoreClient
from hayloft.store.local import FETCHES_MAX, LocalStore
from hayloft.store.server import store_application
from hayloft.testing.memory import MemoryStore
from hayloft.types import (
    AlternateKey,
    Cookie,
    NeedleKey,
    NeedleMetadata,
    NewNeedle,
    Scrutiny,
    Sequence,
    StoreId,
    VolumeId,
    photo_id,
)
from hayloft.wire.authentication import Authenticated
from hayloft.wire.serving import AppServer

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SOURCE = StoreId("source")
KNOWN: dict[StoreId, Store] = {}
"""Where the stores of these tests find each other: ``copy`` puts there what is copied from."""

VOLUME = VolumeId(5)
SETTINGS = VolumeSettings(size_bytes_max=1 << 20, free_space_reserve_bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    one: Store
    other: Store


def local_store(folder: Path, settings: VolumeSettings = SETTINGS) -> LocalStore:
    return LocalStore(folder, store=StoreId(folder.name), settings=settings, peers=KNOWN)


@pytest.fixture(params=["local", "http", "memory"])
async def replicas(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Replicas]:
    if request.param == "memory":
        yield Replicas(
            one=MemoryStore(StoreId("one"), peers=KNOWN), other=MemoryStore(StoreId("other"), peers=KNOWN)
        )
        return
    stores = [local_store(tmp_path / name) for name in ("a", "b")]
    if request.param == "local":
        yield Replicas(one=stores[0], other=stores[1])
    else:
        async with (
            AppServer(store_application(stores[0])) as one,
            AppServer(store_application(stores[1])) as other,
        ):
            clients = [StoreClient(server.url) for server in (one, other)]
            yield Replicas(one=clients[0], other=clients[1])
            for client in clients:
                await client.close()
    for store in stores:
        await store.close()


def key(sequence: int, alternate_key: AlternateKey = AlternateKey.ORIG) -> NeedleKey:
    return NeedleKey(photo_id(VOLUME, Sequence(sequence)), alternate_key)


def needle(
    sequence: int,
    data: bytes | None = None,
    alternate_key: AlternateKey = AlternateKey.ORIG,
    *,
    created_at_ms: int = 1000,
) -> NewNeedle:
    data = random.Random(sequence).randbytes(500) if data is None else data
    return NewNeedle(
        photo=key(sequence).photo,
        cookie=Cookie(0xFEDC_BA98_0000_0000 + sequence),
        data=data,
        alternate_key=alternate_key,
        metadata=NeedleMetadata(
            name=f"{sequence}.jpg", sha256=hashlib.sha256(data).digest(), created_at_ms=created_at_ms
        ),
    )


async def fill(store: Store, *sequences: int) -> None:
    for sequence in sequences:
        await store.append(VOLUME, needle(sequence))


async def all_keys(store: Store) -> list[NeedleKey]:
    return [entry.key for entry in await store.needles(VOLUME, limit=4096)]


async def copy(source: Store, target: Store, *keys: NeedleKey) -> tuple[int, int, int]:
    KNOWN[SOURCE] = source
    fetched = await target.fetch_needles(VOLUME, keys or await all_keys(source), source=SOURCE)
    return fetched.stored, fetched.deleted, fetched.kept


class Sending(MemoryStore):
    """A source that sends these records, whatever it is asked for."""

    def __init__(self, records: bytes) -> None:
        super().__init__()
        self.records = records

    async def export_needles(self, volume: VolumeId, needles: Sequences[NeedleKey]) -> bytes:
        return self.records


async def take_over(target: Store, records: bytes) -> tuple[int, int, int]:
    return await copy(Sending(records), target, key(1))


async def export(store: Store, *keys: NeedleKey) -> bytes:
    return bytes(await store.export_needles(VOLUME, keys))


async def test_replicas_with_the_same_needles_have_the_same_digest(replicas: Replicas) -> None:
    await fill(replicas.one, 1, 2, 3, 20_000)
    await fill(replicas.other, 3, 20_000, 1, 2)
    assert await replicas.one.digest(VOLUME) == await replicas.other.digest(VOLUME)
    for store in (replicas.one, replicas.other):
        await store.delete(key(2).photo)
    digests = [await store.digest(VOLUME) for store in (replicas.one, replicas.other)]
    assert digests[0] == digests[1]
    assert (digests[0].needles, digests[0].deleted, digests[0].damaged) == (3, 1, 0)
    assert [each.first for each in digests[0].ranges] == [0, 16_384]


@pytest.mark.parametrize(
    "change", ["another byte", "another cookie", "another name", "one more", "one deleted", "one rendition"]
)
async def test_every_difference_shows(replicas: Replicas, change: str) -> None:
    await fill(replicas.one, 1, 2, 20_000)
    await fill(replicas.other, 1, 20_000)
    changed = needle(2)
    match change:
        case "another byte":
            changed = needle(2, bytes([changed.data[0] ^ 1]) + changed.data[1:])
        case "another cookie":
            changed = NewNeedle(
                photo=changed.photo, cookie=Cookie(7), data=changed.data, metadata=changed.metadata
            )
        case "another name":
            changed = NewNeedle(photo=changed.photo, cookie=changed.cookie, data=changed.data)
        case "one more":
            await replicas.other.append(VOLUME, needle(3))
        case "one rendition":
            await replicas.other.append(VOLUME, needle(1, b"thumb", AlternateKey.THUMB))
    await replicas.other.append(VOLUME, changed)
    if change == "one deleted":
        await replicas.other.delete(key(1).photo)
    one, other = await replicas.one.digest(VOLUME), await replicas.other.digest(VOLUME)
    assert one.digest != other.digest
    assert [a.digest == b.digest for a, b in zip(one.ranges, other.ranges, strict=True)] == [False, True]


async def test_by_the_index_alone_sizes_stand_for_contents(replicas: Replicas) -> None:
    await replicas.one.append(VOLUME, needle(1, b"this"))
    await replicas.other.append(VOLUME, needle(1, b"that"))
    for scrutiny, same in ((Scrutiny.INDEX, True), (Scrutiny.KNOWN, False), (Scrutiny.MEDIUM, False)):
        digests = [await each.digest(VOLUME, scrutiny=scrutiny) for each in (replicas.one, replicas.other)]
        assert (digests[0].digest == digests[1].digest) == same
    await replicas.other.delete(key(1).photo)
    digests = [
        await each.digest(VOLUME, scrutiny=Scrutiny.INDEX) for each in (replicas.one, replicas.other)
    ]
    assert digests[0].digest != digests[1].digest


async def test_a_digest_follows_what_happens(replicas: Replicas) -> None:
    await fill(replicas.one, 1)
    before = await replicas.one.digest(VOLUME)
    await fill(replicas.one, 2)
    between = await replicas.one.digest(VOLUME)
    await replicas.one.delete(key(2).photo)
    after = await replicas.one.digest(VOLUME)
    assert len({before.digest, between.digest, after.digest}) == 3


async def test_listing_goes_on_where_it_stopped(replicas: Replicas) -> None:
    await fill(replicas.one, 9, 1, 3, 20_000)
    await replicas.one.append(VOLUME, needle(3, b"thumb", AlternateKey.THUMB))
    await replicas.one.delete(key(9).photo)
    found, after = [], None
    while page := await replicas.one.needles(VOLUME, after=after, limit=2):
        found += page
        after = page[-1].key
    assert [entry.key for entry in found] == [
        key(1),
        key(3),
        key(3, AlternateKey.THUMB),
        key(9),
        key(20_000),
    ]
    assert [entry.deleted for entry in found] == [False, False, False, True, False]
    assert all((entry.checksum is None) == entry.deleted for entry in found)
    assert found[3].size == 0 < found[0].size
    assert not any(entry.damaged for entry in found)


@pytest.mark.parametrize("scrutiny", Scrutiny)
async def test_listing_looks_as_closely_as_asked(replicas: Replicas, scrutiny: Scrutiny) -> None:
    await fill(replicas.one, 1, 2)
    page = await replicas.one.needles(VOLUME, limit=10, scrutiny=scrutiny)
    assert [entry.checksum is None for entry in page] == [scrutiny is Scrutiny.INDEX] * 2


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


# With files --------------------------------------------------------------------------------------


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[tuple[LocalStore, LocalStore]]:
    opened = [local_store(tmp_path / name) for name in ("a", "b")]
    yield opened[0], opened[1]
    for store in opened:
        await store.close()


def damage(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x10]))


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


async def test_what_was_read_once_is_remembered_until_the_medium_is_asked(
    stores: tuple[LocalStore, LocalStore], tmp_path: Path
) -> None:
    one, _other = stores
    await fill(one, 1, 2)
    assert (await one.digest(VOLUME)).damaged == 0
    damage(tmp_path / "a" / "lv-5.log", (await one.stat(key(2).photo)).offset + 100)
    assert (await one.digest(VOLUME)).damaged == 0
    listed = await one.needles(VOLUME, limit=9, scrutiny=Scrutiny.MEDIUM)
    assert [entry.damaged for entry in listed] == [False, True]
    assert (await one.digest(VOLUME)).damaged == 1


async def test_a_digest_outlives_compaction_and_reopening(
    stores: tuple[LocalStore, LocalStore], tmp_path: Path
) -> None:
    one, _other = stores
    await fill(one, *range(1, 20))
    for sequence in range(1, 20, 3):
        await one.delete(key(sequence).photo)
    before = await one.digest(VOLUME)
    await one.compact(VOLUME)
    assert await one.digest(VOLUME) == before
    await one.close()
    reopened = LocalStore(tmp_path / "a", store=StoreId("a"), settings=SETTINGS)
    assert await reopened.digest(VOLUME) == before
    await reopened.rebuild_index(VOLUME)
    assert await reopened.digest(VOLUME) == before
    await reopened.close()


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


async def test_a_lost_deletion_comes_back_from_the_other_replica(
    stores: tuple[LocalStore, LocalStore], tmp_path: Path
) -> None:
    one, other = stores
    await fill(one, 1, 2)
    await copy(one, other)
    for store in stores:
        await store.delete(key(2).photo)
    generation = (await other._opened(VOLUME)).generation
    generation.index.store(2 * limits.SLOTS_PER_PHOTO, 0)
    assert (await one.digest(VOLUME)).digest != (await other.digest(VOLUME)).digest
    assert await copy(one, other) == (0, 1, 1)
    assert await one.digest(VOLUME) == await other.digest(VOLUME)


async def test_a_false_deletion_is_undone_by_the_log(stores: tuple[LocalStore, LocalStore]) -> None:
    one, _other = stores
    await fill(one, 1, 2)
    generation = (await one._opened(VOLUME)).generation
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
    file = BadSectors(volume.files.log, create=False)
    file.bad = (found.offset + 50, found.offset + 51)
    volume.generation.log.file = file
    assert await copy(one, other) == (4, 0, 0)
    assert await all_keys(other) == [key(sequence) for sequence in (1, 2, 4, 5)]


async def test_an_index_that_asks_for_gigabytes_is_not_believed(
    stores: tuple[LocalStore, LocalStore],
) -> None:
    one, other = stores
    await fill(one, 1, 2)
    generation = (await one._opened(VOLUME)).generation
    generation.index.store(1 * limits.SLOTS_PER_PHOTO, 1 << 32 | 0xFFFF_FFF8)
    assert await copy(one, other, key(1), key(2)) == (1, 0, 0)


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


async def test_a_source_that_dies_while_it_sends_leaves_nothing(
    stores: tuple[LocalStore, LocalStore],
) -> None:
    one, other = stores
    await fill(one, 1)
    await one.append(VOLUME, needle(2, random.Random(2).randbytes(700_000)))
    records = await export(one, key(1), key(2))

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(records) + records[:-9])
        await writer.drain()
        writer.close()

    dying = await asyncio.start_server(die, "127.0.0.1", 0)
    source = StoreClient(f"http://127.0.0.1:{dying.sockets[0].getsockname()[1]}")
    with pytest.raises(RoleUnavailable):
        await copy(source, other, key(1), key(2))
    with pytest.raises(VolumeNotFound):
        await other.digest(VOLUME)
    await source.close()
    dying.close()


async def test_needles_are_fetched_and_given_away_only_among_those_who_share_the_secret(
    stores: tuple[LocalStore, LocalStore],
) -> None:
    one, other = stores
    secret, strange = b"the secret of these stores", b"another one, of strangers"
    await fill(one, 1)
    async with (
        AppServer(Authenticated(store_application(one), [secret])) as source,
        AppServer(Authenticated(store_application(other), [secret])) as target,
    ):
        knowing = StoreClient(target.url, secret=secret)
        stranger = StoreClient(target.url, secret=strange)
        sources = [StoreClient(source.url, secret=each) for each in (strange, secret)]
        with pytest.raises(Unauthorized):
            await copy(sources[1], stranger, key(1))
        with pytest.raises(HayloftError):
            await copy(sources[0], knowing, key(1))
        assert await copy(sources[1], knowing, key(1)) == (1, 0, 0)
        for client in (knowing, stranger, *sources):
            await client.close()


async def test_a_source_that_nobody_knows(replicas: Replicas) -> None:
    with pytest.raises(RoleUnavailable):
        await replicas.one.fetch_needles(VOLUME, [key(1)], source=StoreId("nobody"))


# On the wire -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/volume/nonsense/digest", None, 400),
        ("GET", "/volume/lv-5/needles?limit=0", None, 400),
        ("GET", "/volume/lv-5/needles?limit=x", None, 400),
        ("GET", "/volume/lv-5/needles?after=x", None, 400),
        ("GET", "/volume/lv-5/needles?after=1/huge", None, 400),
        ("GET", "/volume/lv-5/needles?after=99999999999/orig", None, 400),
        ("GET", "/volume/lv-5/needles?scrutiny=none", None, 400),
        ("GET", "/volume/lv-5/needles?after=0/orig&limit=4096&scrutiny=medium", None, 200),
        ("POST", "/volume/lv-5/export", b'{"needles": [[1, "huge"]]}', 400),
        ("POST", "/volume/lv-5/export", b'{"needles": [[-1, "orig"]]}', 400),
        ("POST", "/volume/lv-5/export", b'{"needles": [[1]]}', 400),
        ("POST", "/volume/lv-5/export", b"nonsense", 400),
        ("POST", "/volume/lv-5/export", b'{"needles": [[1, "orig"]]}', 200),
        ("POST", "/volume/lv-5/fetch", b'{"needles": [[1, "orig"]]}', 400),
        ("POST", "/volume/lv-5/fetch", b'{"source": "", "needles": [[1, "orig"]]}', 400),
        ("POST", "/volume/lv-5/fetch", b'{"source": "source", "needles": [[1, "huge"]]}', 400),
        ("POST", "/volume/lv-5/fetch", b'{"source": "nobody", "needles": [[1, "orig"]]}', 503),
        ("GET", "/volume/lv-5/fetch", None, 405),
        ("POST", "/volume/lv-7/rebuild_index", b"", 404),
        ("POST", "/volume/lv-5/set_aside", b"", 409),
    ],
)
async def test_requests(
    stores: tuple[LocalStore, LocalStore], method: str, path: str, body: bytes | None, status: int
) -> None:
    await fill(stores[0], 1)
    headers = {"content-type": "application/json"}
    async with (
        AppServer(store_application(stores[0])) as server,
        aiohttp.ClientSession(server.url) as session,
        session.request(method, path, data=body, headers=headers) as answer,
    ):
        assert answer.status == status, await answer.text()
        if status >= 400:
            assert (await answer.json())["code"]
