"""Requests between services: who is answered, and who is not."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from hayloft.clock import SystemClock
from hayloft.config import VolumeSettings
from hayloft.errors import Unauthorized
from hayloft.store.local import LocalStore
from hayloft.store.server import store_application
from hayloft.types import StoreId
from hayloft.wire.asgi import Message, Receive, Scope, Send, body_chunks, read_body, send_json
from hayloft.wire.authentication import HEADER, SKEW_SECONDS_MAX, Authenticated, sign, signing
from hayloft.wire.serving import AppServer
from hayloft.wire.session import Session

SECRET, OTHER = b"s" * 32, b"o" * 32


class Clock:
    def __init__(self, ms: int = 1_000_000_000_000) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic_seconds(self) -> float:
        return self.ms / 1000


class Echo:
    """Answers with what it received, in full; counts the bodies that it got to the end of."""

    def __init__(self) -> None:
        self.complete: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        body = await read_body(receive, bytes_max=1 << 30)
        self.complete.append(body)
        told = {"method": scope["method"], "path": scope["path"], "size": len(body)}
        await send_json(send, 200, told, "request")


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(echo: Echo, clock: Clock) -> AsyncIterator[AppServer]:
    async with AppServer(Authenticated(echo, (SECRET,), clock=clock)) as running:
        yield running


def signature(
    clock: Clock,
    body: bytes = b"",
    *,
    method: str = "POST",
    target: str = "/things?a=1",
    secret: bytes = SECRET,
    late_ms: int = 0,
    nonce: bytes | None = None,
) -> dict[str, str]:
    digest = hashlib.sha256(body).digest()
    return {HEADER: sign(secret, method, target, digest, at_ms=clock.ms - late_ms, nonce=nonce)}


async def post(server: AppServer, headers: dict[str, str], body: object = b"") -> tuple[int, str]:
    async with aiohttp.ClientSession() as session:
        address = server.url + "/things?a=1"
        async with session.post(address, headers=headers, data=body) as answer:
            told = await answer.json()
            return answer.status, told.get("code", "")


async def test_a_session_with_the_secret_is_answered(echo: Echo) -> None:
    async with (
        AppServer(Authenticated(echo, (OTHER, SECRET))) as running,
        Session(running.url, secret=SECRET) as session,
    ):
        for size in (0, 10, 1 << 20):
            answer = await session.request(
                "POST", "/a b/ü", query={"x": "1 &2", "é": "/"}, data=bytes(size), repeatable=False
            )
            assert answer.json()["size"] == size
        assert (await session.request("POST", "/things", body={"a": [1]})).status == 200
        assert (await session.request("GET", "/things", query={"photo_id": 7})).status == 200
        assert (await session.request("DELETE", "/things/1")).status == 200


@pytest.mark.parametrize("secret", [None, OTHER])
async def test_a_session_without_it_is_not(echo: Echo, secret: bytes | None) -> None:
    async with (
        AppServer(Authenticated(echo, (SECRET,))) as running,
        Session(running.url, secret=secret) as session,
    ):
        for method in ("GET", "POST", "DELETE"):
            with pytest.raises(Unauthorized):
                await session.request(method, "/things")
        assert (await session.request("GET", "/health")).status == 200
    assert echo.complete == [b""]


async def test_what_is_signed_cannot_be_changed(server: AppServer, clock: Clock, echo: Echo) -> None:
    refused = (401, "unauthorized")
    assert await post(server, {}) == refused
    assert await post(server, {HEADER: "v1 1 2 3 4"}) == refused
    assert await post(server, signature(clock, secret=OTHER)) == refused
    assert await post(server, signature(clock, method="GET")) == refused
    assert await post(server, signature(clock, target="/things")) == refused
    assert await post(server, signature(clock, target="/things?a=2")) == refused
    late = signature(clock)
    parts = late[HEADER].split(" ")
    parts[1] = str(clock.ms + 1)
    assert await post(server, {HEADER: " ".join(parts)}) == refused
    assert echo.complete == []
    assert await post(server, late) == (200, "")


@pytest.mark.parametrize("direction", [1, -1])
async def test_a_clock_may_be_off_by_a_little(server: AppServer, clock: Clock, direction: int) -> None:
    skew = int(SKEW_SECONDS_MAX * 1000) * direction
    assert (await post(server, signature(clock, late_ms=skew)))[0] == 200
    assert (await post(server, signature(clock, late_ms=skew + direction)))[0] == 401


async def test_a_change_is_not_made_twice(server: AppServer, clock: Clock, echo: Echo) -> None:
    headers = signature(clock, b"x", late_ms=-20_000)
    assert (await post(server, headers, b"x"))[0] == 200
    clock.ms += 45_000  # its time is still good
    assert (await post(server, headers, b"x"))[0] == 401
    clock.ms += 30_000  # and now it is not
    assert (await post(server, headers, b"x"))[0] == 401
    assert echo.complete == [b"x"]


async def test_more_than_can_be_remembered_is_put_off(echo: Echo, clock: Clock) -> None:
    async with AppServer(Authenticated(echo, (SECRET,), clock=clock, nonces_max=2)) as running:
        assert [(await post(running, signature(clock)))[0] for _ in range(3)] == [200, 200, 503]
        clock.ms += 61_000
        assert (await post(running, signature(clock)))[0] == 200


async def test_a_body_that_was_changed_never_reaches_its_end(
    server: AppServer, clock: Clock, echo: Echo
) -> None:
    body = bytes(3 << 20)
    assert (await post(server, signature(clock, body), body))[0] == 200
    changed = bytearray(body)
    changed[1 << 20] ^= 1
    assert await post(server, signature(clock, body), bytes(changed)) == (401, "unauthorized")
    assert await post(server, signature(clock, body), body[:-1]) == (401, "unauthorized")
    assert await post(server, signature(clock, body), body + b"x") == (401, "unauthorized")
    assert await post(server, signature(clock, b""), b"x") == (401, "unauthorized")
    assert echo.complete == [body]


async def test_a_body_is_handed_on_while_it_comes(clock: Clock) -> None:
    chunks = []

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        async for chunk in body_chunks(receive):
            chunks.append(chunk)  # noqa: PERF401 - ``receive`` looks while it grows
        await send_json(send, 200, {}, "request")

    sent: list[Message] = []
    coming = [
        {"type": "http.request", "body": b"one", "more_body": True},
        {"type": "http.request", "body": b"two", "more_body": False},
    ]
    given = iter(coming)

    async def receive() -> Message:
        if len(chunks) < coming.index(message := next(given)):
            raise AssertionError("read ahead")
        return message

    async def send(message: Message) -> None:
        sent.append(message)

    header = signature(clock, b"onetwo", target="/x")[HEADER]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/x",
        "raw_path": b"/x",
        "query_string": b"",
        "headers": [(HEADER.encode(), header.encode())],
    }
    await Authenticated(reading, (SECRET,), clock=clock)(scope, receive, send)
    assert chunks == [b"one", b"two"]
    assert sent[0]["status"] == 200


async def test_a_store_keeps_nothing_of_a_changed_append(tmp_path: Path) -> None:
    store = LocalStore(
        tmp_path / "store", store=StoreId("one"), settings=VolumeSettings(free_space_reserve_bytes=0)
    )
    async with (
        AppServer(Authenticated(store_application(store), (SECRET,))) as running,
        Session(running.url, secret=SECRET) as session,
        aiohttp.ClientSession() as plain,
    ):
        headers = {"X-Photo-ID": "1", "X-Cookie": "0" * 16}
        path = "/volume/lv-1/append"
        told = Clock(SystemClock().now_ms())
        signed = signature(told, b"photo", target=path)
        async with plain.post(running.url + path, headers={**headers, **signed}, data=b"other") as answer:
            assert (answer.status, (await answer.json())["code"]) == (401, "unauthorized")
        found = await session.request("GET", "/volume/lv-1/exists", query={"photo_id": 1})
        assert not found.json()["exists"]
        await session.request("POST", path, data=b"photo", headers=headers)
        found = await session.request("GET", "/volume/lv-1/read", query={"photo_id": 1})
        assert found.body == b"photo"
        # What FastAPI reads itself is held to its digest too.
        signed = signature(told, b'{"photo_id": 2}', target="/volume/lv-1/delete")
        async with plain.post(
            running.url + "/volume/lv-1/delete",
            headers={"content-type": "application/json", **signed},
            data=b'{"photo_id": 1}',
        ) as answer:
            assert answer.status == 401
        found = await session.request("GET", "/volume/lv-1/exists", query={"photo_id": 1})
        assert found.json()["exists"]
    await store.close()


@pytest.mark.parametrize("secret", [b"", b"short"])
def test_a_secret_that_can_be_guessed_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        signing(secret)
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Authenticated(Echo(), (secret,))
