"""One suite over every cache: in this process, over HTTP on a real socket, and over plain HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from hayloft.cache.client import CacheClient
from hayloft.cache.local import LocalCache
from hayloft.cache.server import cache_application
from hayloft.config import CacheSettings
from hayloft.errors import EmptyUpload, InvalidRequest, RoleUnavailable, UploadTooLarge
from hayloft.roles import Cache
from hayloft.types import AlternateKey, CacheMiss, Cookie, NeedleMetadata, NewNeedle, PhotoId
from hayloft.wire.needles import COOKIE_UNKNOWN
from hayloft.wire.serving import AppServer

SETTINGS = CacheSettings(memory_bytes_max=100_000, disk_bytes_max=200_000)
PHOTO = PhotoId(5 << 32 | 3)


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalCache]:
    cache = await LocalCache.open(SETTINGS, folder=tmp_path / "cache")
    yield cache
    await cache.close()


@pytest.fixture
async def server(local: LocalCache) -> AsyncIterator[AppServer]:
    async with AppServer(cache_application(local)) as running:
        yield running


@pytest.fixture(params=["local", "http"])
async def cache(request: pytest.FixtureRequest, local: LocalCache) -> AsyncIterator[Cache]:
    if request.param == "local":
        yield local
        return
    async with AppServer(cache_application(local)) as running:
        client = CacheClient(running.url)
        yield client
        await client.close()


@pytest.fixture
async def http(server: AppServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url) as session:
        yield session


def needle(
    data: bytes = b"hay" * 1000, *, photo: PhotoId = PHOTO, key: AlternateKey = AlternateKey.ORIG
) -> NewNeedle:
    metadata = NeedleMetadata(media_type="image/png", name="Heu ☀.png", sha256=b"\7" * 32, created_at_ms=9)
    return NewNeedle(
        photo=photo, cookie=Cookie(0xFEDC << 48), data=data, alternate_key=key, metadata=metadata
    )


async def test_what_was_put_is_got_with_all_that_stands_beside_it(cache: Cache) -> None:
    assert await cache.put(needle())
    found = await cache.get(PHOTO)
    assert not isinstance(found, CacheMiss)
    assert bytes(found.data) == b"hay" * 1000
    assert found.cookie == Cookie(0xFEDC << 48)
    assert found.metadata == needle().metadata


async def test_renditions_are_apart(cache: Cache) -> None:
    await cache.put(needle())
    await cache.put(needle(b"small", key=AlternateKey.THUMB))
    thumb, large = await cache.get(PHOTO, AlternateKey.THUMB), await cache.get(PHOTO, AlternateKey.LARGE)
    assert not isinstance(thumb, CacheMiss)
    assert bytes(thumb.data) == b"small"
    assert isinstance(large, CacheMiss)
    assert await cache.size(PHOTO) == 3000
    assert await cache.size(PHOTO, AlternateKey.THUMB) == 5
    assert await cache.size(PHOTO, AlternateKey.LARGE) is None


async def test_a_new_put_replaces(cache: Cache) -> None:
    await cache.put(needle(b"one"))
    await cache.put(needle(b"another"))
    found = await cache.get(PHOTO)
    assert not isinstance(found, CacheMiss)
    assert bytes(found.data) == b"another"


async def test_deleting_forgets_all_and_voids_leases(cache: Cache) -> None:
    miss = await cache.get(PHOTO)
    assert isinstance(miss, CacheMiss)
    assert miss.lease
    assert await cache.put(needle(), lease=miss.lease)
    await cache.put(needle(b"small", key=AlternateKey.THUMB))
    assert await cache.delete(PHOTO)
    assert not await cache.delete(PHOTO)
    assert isinstance(await cache.get(PHOTO, AlternateKey.THUMB), CacheMiss)
    assert not await cache.put(needle(), lease=miss.lease)
    assert isinstance(await cache.get(PHOTO), CacheMiss)
    assert await cache.put(needle(photo=PhotoId(1)), lease=miss.lease)


async def test_what_cannot_be_kept_is_refused(cache: Cache) -> None:
    with pytest.raises(EmptyUpload):
        await cache.put(needle(b""))
    with pytest.raises(UploadTooLarge):
        await cache.put(needle(bytes(200_001)))
    assert await cache.put(needle(bytes(150_000)))  # too large for memory, not for the disk
    assert await cache.size(PHOTO) == 150_000


async def test_statistics_count(cache: Cache) -> None:
    await cache.put(needle())
    await cache.get(PHOTO)
    await cache.get(PhotoId(9))
    told = await cache.statistics()
    assert (told.items, told.hits, told.misses, told.memory_items) == (1, 1, 1, 1)
    assert 3000 < told.size_bytes < 3300
    assert (told.size_bytes_max, told.ttl_seconds) == (300_000, 3600)


async def test_a_client_of_nothing_says_so() -> None:
    client = CacheClient("http://127.0.0.1:9")
    with pytest.raises(RoleUnavailable):
        await client.get(PHOTO)
    await client.close()


# The wire contract, with plain HTTP ---------------------------------------------------------------


async def test_the_contract_word_for_word(http: aiohttp.ClientSession) -> None:
    async with http.get("/cache/exists/7") as answer:
        assert await answer.json() == {"exists": False, "size": 0}
    async with http.get("/cache/photo/7") as answer:
        assert answer.status == 404
    async with http.post("/cache/photo/7", data=b"any bytes") as answer:
        assert answer.status == 200
        assert await answer.json() == {"status": "stored", "photo_id": 7, "size": 9}
    async with http.get("/cache/exists/7") as answer:
        assert await answer.json() == {"exists": True, "size": 9}
    async with http.get("/cache/photo/7") as answer:
        assert await answer.read() == b"any bytes"
        assert "x-cookie" not in answer.headers
    async with http.head("/cache/photo/7") as answer:
        assert answer.headers["content-length"] == "9"
    async with http.get("/cache/stats") as answer:
        told = await answer.json()
        assert {"items", "bytes", "max_bytes", "max_items", "ttl"} <= set(told)
        assert (told["items"], told["max_bytes"], told["ttl"]) == (1, 300_000, 3600)
    async with http.get("/health") as answer:
        told = await answer.json()
        assert (told["status"], told["items"]) == ("ok", 1)
    for expected in ("deleted", "not_found"):
        async with http.delete("/cache/photo/7") as answer:
            assert answer.status == 200
            assert (await answer.json())["status"] == expected
    async with http.post("/cache/photo/7", data=b"again") as answer:
        assert (await answer.json())["status"] == "stored"
    async with http.get("/cache/photo/7") as answer:
        assert await answer.read() == b"again"


async def test_bad_requests_are_told_apart(http: aiohttp.ClientSession) -> None:
    async with http.post("/cache/photo/7", data=b"") as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, "empty_upload")
    for photo in ("x", "-1", str(1 << 53), "٣"):
        async with http.get(f"/cache/photo/{photo}") as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "invalid_request")
        async with http.get(f"/cache/exists/{photo}") as answer:
            assert answer.status == 400
    async with http.put("/cache/photo/7", data=b"x") as answer:
        assert answer.status == 405
    async with http.post("/cache/photo/7", data=b"x", headers={"x-crc32c": "00000000"}) as answer:
        assert answer.status == 400


async def test_what_a_foreign_peer_put_has_an_unknown_cookie(
    http: aiohttp.ClientSession, server: AppServer
) -> None:
    async with http.post("/cache/photo/7", data=b"any bytes"):
        pass
    client = CacheClient(server.url)
    found = await client.get(PhotoId(7))
    assert not isinstance(found, CacheMiss)
    assert found.cookie == COOKIE_UNKNOWN
    await client.close()


async def test_bytes_damaged_on_the_way_are_a_miss_that_must_not_be_filled(
    local: LocalCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    await local.put(needle())
    async with AppServer(cache_application(local)) as running:
        client = CacheClient(running.url)

        def damaged(data: bytes, told: str | None) -> None:
            assert told is not None
            raise InvalidRequest

        monkeypatch.setattr("hayloft.wire.needles.check", damaged)
        assert await client.get(PHOTO) == CacheMiss(lease=None)
        await client.close()
