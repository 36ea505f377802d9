"""The short way out of a server: answers given at once or later, beside those that go through ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hayloft.errors import PhotoNotFound
from hayloft.wire.asgi import send_response
from hayloft.wire.protocol import Direct, DirectProtocol, error_direct
from hayloft.wire.serving import AppServer

OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n"


class Protocol(DirectProtocol):
    """Answers ``/direct/now`` at once and ``/direct/later`` when it is let."""

    prefix = b"/direct/"
    release: asyncio.Event
    ended = 0

    def answer(self):
        if self.url == b"/direct/now":
            return Direct(OK % 3, memoryview(b"now"))
        if self.url == b"/direct/later":
            return self._later()
        return None

    async def _later(self):
        try:
            await self.release.wait()
        finally:
            type(self).ended += 1
        return Direct(OK % 5, b"later")


async def app(scope, receive, send):
    if scope["type"] == "http":
        body = (await receive())["body"]
        await send_response(send, 200, b"asgi" + body, [])


@asynccontextmanager
async def served() -> AsyncIterator[tuple[type[Protocol], AppServer]]:
    kind = type("Kind", (Protocol,), {"release": asyncio.Event(), "ended": 0})
    async with AppServer(app, protocol=kind) as server, asyncio.timeout(30):
        yield kind, server


async def connect(server: AppServer):
    return await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: test", *headers, "", ""]).encode()


async def answer(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """An answer's head and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    (length,) = [line for line in head.lower().split("\r\n") if line.startswith("content-length")]
    return head, await reader.readexactly(int(length.split(":")[1]))


async def test_both_ways_take_turns_on_one_connection():
    async with served() as (kind, server):
        reader, writer = await connect(server)
        kind.release.set()
        for path, body in [("/direct/now", b"now"), ("/x", b"asgi"), ("/direct/later", b"later")] * 3:
            writer.write(get(path))
            assert (await answer(reader))[1] == body
        writer.write(get("/direct/now", "range: bytes=0-1"))
        assert (await answer(reader))[1] == b"asgi"
        writer.write(b"POST /direct/now HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi")
        assert (await answer(reader))[1] == b"asgihi"
        writer.close()


async def test_requests_sent_ahead_are_answered_in_their_order():
    async with served() as (kind, server):
        reader, writer = await connect(server)
        writer.write(get("/direct/now") + get("/direct/later") + get("/direct/now") + get("/x") + get("/x"))
        assert (await answer(reader))[1] == b"now"
        kind.release.set()
        # What comes while another answer is under way goes through ASGI.
        assert [(await answer(reader))[1] for _ in range(4)] == [b"later", b"asgi", b"asgi", b"asgi"]
        writer.write(get("/direct/now"))
        assert (await answer(reader))[1] == b"now"
        writer.close()


async def test_a_client_that_leaves_before_its_answer_harms_nobody():
    async with served() as (kind, server):
        _, writer = await connect(server)
        writer.write(get("/direct/later"))
        await writer.drain()
        other, other_writer = await connect(server)
        other_writer.write(get("/direct/later"))
        await asyncio.sleep(0.05)
        writer.transport.abort()
        kind.release.set()
        assert (await answer(other))[1] == b"later"
        other_writer.close()


async def test_a_server_that_stops_finishes_the_answer_and_says_that_it_closes():
    async with served() as (kind, server):
        reader, writer = await connect(server)
        writer.write(get("/direct/later"))
        await writer.drain()
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(server.__aexit__(None, None, None))
        await asyncio.sleep(0.2)
        assert not stopping.done()
        kind.release.set()
        head, body = await answer(reader)
        assert body == b"later"
        assert "connection: close" in head.lower()
        assert await reader.read() == b""
        await stopping
        writer.close()


def test_errors_have_their_status_and_body():
    direct = error_direct(PhotoNotFound(photo_id=7), "abc")
    assert direct.head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"x-request-id: abc\r\n" in direct.head
    assert b"photo_not_found" in direct.body
