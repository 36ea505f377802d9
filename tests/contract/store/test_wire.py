"""The store's wire contract, spoken without our client: what peers written by others rely on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from hayloft import limits
from hayloft.store.local import LocalStore
from hayloft.store.server import store_application
from hayloft.wire.serving import AppServer


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
