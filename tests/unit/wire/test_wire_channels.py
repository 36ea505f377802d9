"""Channels meet peers that answer, break off, hang, lie about lengths and close what was idle."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from hayloft.errors import PhotoDeleted, RoleUnavailable, Unauthorized, UploadTooLarge
from hayloft.wire.asgi import read_body, request_id_variable, send_response
from hayloft.wire.authentication import VERIFIED_DIGEST, Authenticated
from hayloft.wire.channel import IN_PLACE_BYTES_MIN
from hayloft.wire.channels import CONNECTIONS_MAX, Channels
from hayloft.wire.serving import AppServer, free_port

SECRET = b"a secret between them"
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def channels(url: str, *, total_seconds: float = 20.0, secret: bytes | None = None) -> Channels:
    return Channels(url, connect_seconds=5.0, total_seconds=total_seconds, secret=secret)


@pytest.fixture
async def raw() -> AsyncIterator[Callable[[Peer], Awaitable[str]]]:
    """Serves a peer that speaks for itself; counts its connections."""
    servers = []

    async def serve(peer: Peer) -> str:
        server = await asyncio.start_server(peer, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield serve
    for server in servers:
        server.close()


async def ask(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def echo(scope, _receive, send) -> None:
    headers = dict(scope["headers"])
    told = scope["raw_path"] + b"?" + scope["query_string"] + b" " + headers.get(b"x-request-id", b"")
    await send_response(send, 200, told * 1000, [("X-Told", "yes")])


async def test_answers_come_whole_with_their_headers_over_one_connection():
    async with AppServer(echo) as server:
        peer = channels(server.url)
        request_id_variable.set("abc")
        for number in range(3):
            reply = await peer.get(f"/here?n={number}")
            assert reply.body == f"/here?n={number} abc".encode() * 1000
            assert reply.headers["x-told"] == "yes"
        assert len(peer._open) == 1
        await peer.close()


async def test_requests_are_signed():
    async with AppServer(Authenticated(echo, [SECRET])) as server:
        knowing, strange = channels(server.url, secret=SECRET), channels(server.url)
        assert (await knowing.get("/here?n=1")).body
        with pytest.raises(Unauthorized):
            await strange.get("/here?n=1")
        await knowing.close()
        await strange.close()


async def sizes(scope, receive, send) -> None:
    body = await read_body(receive, bytes_max=1 << 30)
    told = f"{len(body)} {scope.get(VERIFIED_DIGEST, b'').hex()}".encode()
    await send_response(send, 200, told, [])


async def test_bodies_are_sent_and_signed_with_their_digest():
    async with AppServer(Authenticated(sizes, [SECRET])) as server:
        peer = channels(server.url, secret=SECRET)
        for data in (b"", b"x" * 70_000, b"y" * 9_000_000):
            digest = hashlib.sha256(data).digest()
            reply = await peer.post("/here", memoryview(data), digest=digest, headers={"x-name": "a"})
            assert reply.body == f"{len(data)} {digest.hex()}".encode()
        with pytest.raises(Unauthorized):
            await peer.post("/here", b"other", digest=digest, headers={})
        await peer.close()


async def test_a_body_refused_before_it_was_sent_leaves_nothing_on_the_connection(raw):
    async def refuse(reader, writer):
        await ask(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")

    peer = channels(await raw(refuse))
    for _ in range(2):
        with pytest.raises(UploadTooLarge):
            await peer.post("/", b"z" * 20_000_000, digest=b"", headers={})
        assert not peer._idle
    await peer.close()


async def test_errors_keep_their_type(raw):
    async def gone(reader, writer):
        await ask(reader)
        body = b'{"code": "photo_deleted", "message": "Gone."}'
        writer.write(b"HTTP/1.1 410 Gone\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    peer = channels(await raw(gone))
    with pytest.raises(PhotoDeleted):
        await peer.get("/")
    await peer.close()


async def test_a_connection_closed_while_idle_is_replaced(raw):
    connections = []

    async def once(reader, writer):
        connections.append(writer)
        await ask(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await ask(reader)  # the second request finds nobody
        writer.close()

    peer = channels(await raw(once))
    for _ in range(2):
        assert (await peer.get("/")).body == b"ok"
    assert len(connections) == 2
    await peer.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"nothing of HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
        b"",
    ],
    ids=["cut off", "cut off early", "not HTTP", "no length", "endless head", "elsewhere", "nothing"],
)
async def test_what_is_no_answer_is_a_failure(raw, answer):
    async def broken(reader, writer):
        await ask(reader)
        writer.write(answer)
        await writer.drain()
        writer.close()

    peer = channels(await raw(broken))
    with pytest.raises(RoleUnavailable):
        await peer.get("/")
    await peer.close()


async def test_a_peer_that_hangs_is_given_up_once():
    asked = 0
    port = free_port()

    async def hang(reader, _writer):
        nonlocal asked
        await ask(reader)
        asked += 1
        await asyncio.Event().wait()

    server = await asyncio.start_server(hang, "127.0.0.1", port)
    peer = channels(f"http://127.0.0.1:{port}", total_seconds=0.1)
    with pytest.raises(RoleUnavailable):
        await peer.get("/")
    assert asked == 1
    server.close()
    with pytest.raises(RoleUnavailable):
        await channels(f"http://127.0.0.1:{free_port()}").get("/")


async def test_an_answer_nobody_waits_for_is_never_taken_for_another(raw):
    release = asyncio.Event()

    async def slow(reader, writer):
        while True:
            request = await ask(reader)
            if b"/slow" in request:
                await release.wait()
            target = request.split()[1]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(target), target))

    peer = channels(await raw(slow))
    assert (await peer.get("/a")).body == b"/a"
    waiting = asyncio.create_task(peer.get("/slow"))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    release.set()
    for number in range(3):
        assert (await peer.get(f"/{number}")).body == b"/%d" % number
    await peer.close()


async def test_more_requests_than_connections_take_turns():
    async with AppServer(echo) as server:
        peer = channels(server.url)
        count = 2 * CONNECTIONS_MAX
        tasks = [asyncio.create_task(peer.get(f"/{number}")) for number in range(count)]
        await asyncio.sleep(0)
        for task in tasks[CONNECTIONS_MAX : CONNECTIONS_MAX + 10]:
            task.cancel()
        replies = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(not isinstance(reply, BaseException) for reply in replies) == count - 10
        assert len(peer._open) <= CONNECTIONS_MAX
        assert peer._in_use == 0
        await peer.close()


# Large bodies, received in place -------------------------------------------------------------------


async def fetch(peer: Channels, path: str = "/") -> bytes:
    return bytes(await peer.fetch(path, b"", digest=hashlib.sha256().digest(), headers={}))


async def test_bodies_of_any_size_are_received_in_place_over_one_connection():
    async def much(scope, _receive, send) -> None:
        size = int(scope["path"][1:])
        await send_response(send, 200, size.to_bytes(8) * (size // 8), [])

    async with AppServer(Authenticated(much, [SECRET])) as server:
        peer = channels(server.url, secret=SECRET)
        for size in (8, IN_PLACE_BYTES_MIN - 8, IN_PLACE_BYTES_MIN, 9_000_000, 16, 4 << 20, 40_000_000):
            assert await fetch(peer, f"/{size}") == size.to_bytes(8) * (size // 8)
            assert (await peer.get("/80")).body == (80).to_bytes(8) * 10
        assert len(peer._open) == 1
        held = [await peer.fetch(f"/{4 << 20}", b"", digest=hashlib.sha256().digest(), headers={})] * 2
        await fetch(peer, f"/{(4 << 20) - 800}")
        assert bytes(held[0]) == (4 << 20).to_bytes(8) * (1 << 19)
        await peer.close()


async def test_large_errors_keep_their_type(raw):
    async def gone(reader, writer):
        while True:
            await ask(reader)
            body = b'{"code": "photo_deleted", "message": "Gone."}' + b" " * 1_000_000
            writer.write(b"HTTP/1.1 410 Gone\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    peer = channels(await raw(gone))
    for _ in range(2):
        with pytest.raises(PhotoDeleted):
            await fetch(peer)
    await peer.close()


async def test_a_large_body_that_is_cut_off_is_a_failure(raw):
    async def cut_off(reader, writer):
        await ask(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n" + bytes(3_000_000))
        await writer.drain()
        writer.close()

    peer = channels(await raw(cut_off))
    with pytest.raises(RoleUnavailable):
        await fetch(peer)
    assert not peer._idle
    await peer.close()


async def test_a_peer_that_hangs_within_a_large_body_is_given_up(raw):
    async def hang(reader, writer):
        await ask(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n" + bytes(3_000_000))
        await asyncio.Event().wait()

    peer = channels(await raw(hang), total_seconds=0.5)
    with pytest.raises(RoleUnavailable):
        await fetch(peer)
    assert not peer._idle
    assert all(not channel.is_reusable for channel in peer._open)
    await peer.close()


async def test_what_follows_a_large_body_belongs_to_no_request(raw):
    closed = asyncio.Semaphore(0)

    async def talk(reader, writer):
        await ask(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"a" * 1_000_000)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno")
        with suppress(ConnectionError):
            assert await reader.read() == b""
        closed.release()

    peer = channels(await raw(talk))
    for _ in range(3):
        assert await fetch(peer) == b"a" * 1_000_000
        async with asyncio.timeout(20):
            await closed.acquire()
    await peer.close()


async def test_whoever_stops_waiting_for_a_large_body_closes_the_connection(raw):
    begun = asyncio.Event()

    async def slow(reader, writer):
        request = await ask(reader)
        if b"/slow" not in request:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n" + bytes(1_000_000))
        begun.set()
        await asyncio.Event().wait()

    peer = channels(await raw(slow))
    waiting = asyncio.create_task(fetch(peer, "/slow"))
    await begun.wait()
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await fetch(peer, "/ok") == b"ok"
    assert not any(channel._incoming for channel in peer._open)
    await peer.close()
