"""One suite over every store: in this process, and over HTTP on a real socket.

What is promised in ``roles.Store`` is asked of both; what only the wire promises stands at the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from hayloft import limits
from hayloft.config import VolumeSettings
from hayloft.disk import SystemDisk, SystemFile
from hayloft.errors import (
    Conflict,
    FormatTooNew,
    InvalidRequest,
    NeedleCorrupt,
    PhotoDeleted,
    PhotoNotFound,
    ShuttingDown,
    StorageFull,
    UploadTooLarge,
    VolumeCorrupt,
    VolumeNotFound,
    VolumeReadOnly,
)
from hayloft.roles import Store
from hayloft.store.client import StoreClient
from hayloft.store.local import LocalStore
from hayloft.store.server import store_application
from hayloft.types import (
    AlternateKey,
    Cookie,
    NeedleMetadata,
    NewNeedle,
    PhotoId,
    Sequence,
    StoreId,
    VolumeId,
    photo_id,
)
from hayloft.wire.serving import AppServer

VOLUME = VolumeId(5)
SETTINGS = VolumeSettings(size_bytes_max=1 << 20, free_space_reserve_bytes=0)


def open_local(directory: Path, settings: VolumeSettings = SETTINGS) -> LocalStore:
    return LocalStore(directory, store=StoreId("one"), settings=settings)


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalStore]:
    store = open_local(tmp_path / "store")
    yield store
    await store.close()


@pytest.fixture(params=["local", "http"])
async def store(request: pytest.FixtureRequest, local: LocalStore) -> AsyncIterator[Store]:
    if request.param == "local":
        yield local
        return
    async with AppServer(store_application(local)) as server:
        client = StoreClient(server.url)
        yield client
        await client.close()


def photo(sequence: int, volume: VolumeId = VOLUME) -> PhotoId:
    return photo_id(volume, Sequence(sequence))


def needle(
    sequence: int, data: bytes | None = None, key: AlternateKey = AlternateKey.ORIG, **metadata: object
) -> NewNeedle:
    data = random.Random(sequence).randbytes(1000) if data is None else data
    return NewNeedle(
        photo=photo(sequence),
        cookie=Cookie(0xFEDC_BA98_0000_0000 + sequence),
        data=data,
        alternate_key=key,
        metadata=NeedleMetadata(sha256=hashlib.sha256(data).digest(), **metadata),  # type: ignore[arg-type]
    )


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


async def test_names_that_are_too_long(store: Store) -> None:
    with pytest.raises(InvalidRequest):
        await store.append(VOLUME, needle(1, name="n" * 1025))


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


# In this process only ----------------------------------------------------------------------------


async def test_a_closed_store_refuses(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(1))
    await store.close()
    with pytest.raises(ShuttingDown):
        await store.append(VOLUME, needle(2))
    with pytest.raises(ShuttingDown):
        await store.read(photo(1))


async def test_closing_finishes_what_is_in_flight(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(0))
    waiting = [asyncio.create_task(store.append(VOLUME, needle(each))) for each in range(1, 30)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*waiting)
    reopened = open_local(tmp_path / "store")
    for each in range(30):
        assert (await reopened.read(photo(each))).data == needle(each).data
    await reopened.close()


async def test_a_caller_that_stops_waiting_harms_nobody(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(0))
    tasks = [asyncio.create_task(store.append(VOLUME, needle(each))) for each in range(1, 10)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for each in (2, 4, 6, 8):
        assert (await store.read(photo(each))).data == needle(each).data
    await store.close()


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(1))
    await store.close()
    with (tmp_path / "store" / "lv-5.log").open("r+b") as log:
        log.seek(8)
        # A newer format lays out what follows in its own way.
        log.write((99).to_bytes(4, "little") + bytes(100))
    reopened = open_local(tmp_path / "store")
    with pytest.raises(FormatTooNew):
        await reopened.read(photo(1))
    assert [(state.volume, state.corrupt) for state in (await reopened.health()).volumes] == [(VOLUME, 1)]
    with pytest.raises(FormatTooNew):
        await reopened.set_aside(VOLUME)
    await reopened.close()


@pytest.mark.parametrize("version", [17, 2**31])
async def test_a_damaged_version_is_not_taken_for_a_newer_format(tmp_path: Path, version: int) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(1))
    await store.close()
    with (tmp_path / "store" / "lv-5.log").open("r+b") as log:
        log.seek(8)
        log.write(version.to_bytes(4, "little"))
    reopened = open_local(tmp_path / "store")
    with pytest.raises(VolumeCorrupt):
        await reopened.read(photo(1))
    await reopened.close()


async def test_one_broken_volume_leaves_the_others_alone(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(1))
    (tmp_path / "store" / "lv-9.log").write_bytes(b"nonsense")
    states = (await store.health()).volumes
    assert [(state.volume, state.corrupt) for state in states] == [(5, 0), (9, 1)]
    with pytest.raises(VolumeCorrupt):
        await store.read(photo(1, VolumeId(9)))
    assert (await store.read(photo(1))).data == needle(1).data
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


async def test_cold_reads_do_not_need_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(1))
    monkeypatch.setattr(SystemFile, "read_cached_into", lambda *_given: 0)
    assert (await store.read(photo(1))).data == needle(1).data
    await store.close()


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


# On the wire (DESIGN, section 5) -----------------------------------------------------------------


@pytest.fixture
async def wire(local: LocalStore) -> AsyncIterator[aiohttp.ClientSession]:
    async with AppServer(store_application(local)) as server, aiohttp.ClientSession(server.url) as session:
        yield session


async def put(
    wire: aiohttp.ClientSession, lv: str, photo_id: object, data: bytes, **headers: str
) -> dict[str, object]:
    given = {"X-Photo-ID": str(photo_id), "X-Cookie": "abc", "X-Alt-Key": "orig", **headers}
    async with wire.post(f"/volume/{lv}/append", data=data, headers=given) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()  # type: ignore[no-any-return]


@pytest.mark.parametrize("photo_id", [1, 3, 123_456_789, 2**32, 2**53 - 1])
@pytest.mark.parametrize("lv", ["lv-1", "lv-0", "lv-987654321"])
async def test_the_wire_contract(wire: aiohttp.ClientSession, lv: str, photo_id: int) -> None:
    told = await put(wire, lv, photo_id, b"any bytes")
    assert told["status"] == "stored"
    assert told["lv"] == lv
    assert told["size"] == 9
    assert told["checksum"] == hashlib.sha256(b"any bytes").hexdigest()
    assert isinstance(told["offset"], int)

    async with wire.get(f"/volume/{lv}/read", params={"photo_id": photo_id}) as answer:
        assert answer.status == 200
        assert await answer.read() == b"any bytes"
        cookie = answer.headers["X-Cookie"]
        assert cookie == hashlib.sha256(b"abc").hexdigest()[:16]
    async with wire.get(f"/volume/{lv}/exists", params={"photo_id": photo_id}) as answer:
        told = await answer.json()
        assert told["exists"] is True
        assert told["deleted"] is False
        assert {"offset", "size"} <= told.keys()
    async with wire.get("/health") as answer:
        told = await answer.json()
        assert told["store_id"] == "one"
        assert told["volumes"] == {lv: 1}

    async with wire.post(f"/volume/{lv}/delete", json={"photo_id": photo_id}) as answer:
        assert (await answer.json())["status"] == "deleted"
    async with wire.post(f"/volume/{lv}/delete", json={"photo_id": photo_id}) as answer:
        assert (await answer.json())["status"] == "not_found"
    async with wire.get(f"/volume/{lv}/read", params={"photo_id": photo_id}) as answer:
        assert answer.status == 410
    async with wire.get(f"/volume/{lv}/exists", params={"photo_id": photo_id}) as answer:
        told = await answer.json()
        assert (told["exists"], told["deleted"]) == (False, True)


async def test_appending_over_the_wire_replaces(wire: aiohttp.ClientSession) -> None:
    await put(wire, "lv-3", 7, b"old")
    await put(wire, "lv-3", 7, b"new")
    async with wire.get("/volume/lv-3/read", params={"photo_id": 7}) as answer:
        assert await answer.read() == b"new"


async def test_a_photo_known_by_its_id_alone(wire: aiohttp.ClientSession) -> None:
    """Other services read without an alternate key, whatever they appended with."""
    await put(wire, "lv-3", 7, b"little", **{"X-Alt-Key": "thumb"})
    async with wire.get("/volume/lv-3/read", params={"photo_id": 7}) as answer:
        assert await answer.read() == b"little"
    async with wire.get("/volume/lv-3/exists", params={"photo_id": 7}) as answer:
        assert (await answer.json())["exists"] is True
    async with wire.post("/volume/lv-3/delete", json={"photo_id": 7}) as answer:
        assert (await answer.json())["status"] == "deleted"
    async with wire.get("/volume/lv-3/read", params={"photo_id": 7}) as answer:
        assert answer.status == 410


async def test_cookies_of_16_digits_are_kept(wire: aiohttp.ClientSession) -> None:
    await put(wire, "lv-3", 7, b"x", **{"X-Cookie": "00ff00ff00ff00ff"})
    async with wire.get("/volume/lv-3/read", params={"photo_id": 7}) as answer:
        assert answer.headers["X-Cookie"] == "00ff00ff00ff00ff"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/volume/lv-1/append", {}, 400),
        ("POST", "/volume/lv-1/append", {"X-Photo-ID": "x"}, 400),
        ("POST", "/volume/lv-1/append", {"X-Photo-ID": "-1"}, 400),
        ("POST", "/volume/lv-1/append", {"X-Photo-ID": str(2**53)}, 400),
        ("POST", "/volume/lv-1/append", {"X-Photo-ID": "1", "X-Alt-Key": "huge"}, 400),
        ("POST", "/volume/lv-1/append", {"X-Photo-ID": "1", "X-SHA256": "00" * 32}, 400),
        ("POST", "/volume/other/append", {"X-Photo-ID": "1"}, 400),
        ("GET", "/volume/lv-1/append", {"X-Photo-ID": "1"}, 405),
        ("GET", "/volume/lv-1/read", {}, 400),
        ("GET", "/volume/lv-1/read?photo_id=x", {}, 400),
        ("GET", "/volume/lv-1/read?photo_id=1", {}, 404),
        ("GET", "/volume/lv-1/exists", {}, 400),
        ("GET", "/volume/lv-1/exists?photo_id=1", {}, 200),
        ("POST", "/volume/lv-1/seal", {}, 404),
        ("GET", "/nothing", {}, 404),
    ],
)
async def test_bad_requests(
    wire: aiohttp.ClientSession, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async with wire.request(
        method, path, headers=headers, data=b"x" if method == "POST" else None
    ) as answer:
        assert answer.status == status
        assert answer.headers["X-Request-ID"]
        if status >= 400:
            told = await answer.json()
            assert told["code"]
            assert told["message"]
            assert told["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"photo_id": -1}', b'{"photo_id": "x"}', b"nonsense"])
async def test_bad_deletions(wire: aiohttp.ClientSession, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    async with wire.post("/volume/lv-1/delete", data=body, headers=headers) as answer:
        assert answer.status == 400


async def test_too_much_is_refused_before_it_is_read(wire: aiohttp.ClientSession) -> None:
    headers = {"X-Photo-ID": "1", "Content-Length": str(limits.UPLOAD_BYTES_MAX + 1)}
    try:
        async with wire.post("/volume/lv-1/append", headers=headers, data=_slowly()) as answer:
            assert answer.status == 413
    except aiohttp.ClientError:
        pass  # The connection was closed on us while we were still talking, which is an answer too.


async def _slowly() -> AsyncIterator[bytes]:
    for _each in range(5):
        yield bytes(1000)
        await asyncio.sleep(0.05)


async def test_a_head_has_no_body(wire: aiohttp.ClientSession) -> None:
    await put(wire, "lv-3", 7, b"photo")
    async with wire.head("/volume/lv-3/read", params={"photo_id": 7}) as answer:
        assert answer.status == 200
        assert await answer.read() == b""


async def test_a_foreign_stores_health_is_understood() -> None:
    from hayloft.store.wire import health_from_json

    health = health_from_json({"store_id": "s9", "volumes": {"lv-4": 17}})
    assert health.store == "s9"
    assert [(state.volume, state.needles) for state in health.volumes] == [(4, 17)]
