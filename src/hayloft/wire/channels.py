"""Kept-alive HTTP/1.1 connections for photo bytes: what ``session`` does, for the few hot requests.

What a gateway passes on costs mostly what its client costs; this one has no redirects, cookies,
middlewares or streams: one ``write``, httptools' parser, one future. A connection that breaks before its
answer has begun, as one does that the peer closed while it was idle, is replaced once: only what may reach
a peer twice is sent this way. Whoever stops waiting closes the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from hayloft.clock import Clock, SystemClock
from hayloft.errors import RoleUnavailable
from hayloft.wire.asgi import REQUEST_ID, request_id_variable
from hayloft.wire.authentication import EMPTY_DIGEST, HEADER, sign
from hayloft.wire.breaker import Breaker
from hayloft.wire.channel import Answered, Broken, Channel
from hayloft.wire.errors import from_response

CONNECTIONS_MAX: Final = 128
"""Connections to one peer; past it a request waits for its turn."""

IDLE_SECONDS_MAX: Final = 15.0
"""How long an idle connection is used again: less than servers keep theirs, so that few break."""


class Reply(NamedTuple):
    """A successful answer; names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes


class Channels:
    """Connections to the peer at ``url``, or at the Unix socket ``uds`` when given."""

    def __init__(
        self,
        url: str,
        *,
        uds: Path | None = None,
        connect_seconds: float,
        total_seconds: float,
        secret: bytes | None = None,
        breaker: Breaker | None = None,
        clock: Clock | None = None,
    ) -> None:
        parts = urlsplit(url)
        assert parts.scheme == "http", "peers speak plain HTTP to each other"
        self._peer = url
        self._host, self._port = parts.hostname or "localhost", parts.port or 80
        self._prefix = parts.path.rstrip("/")
        self._authority = parts.netloc
        self._uds = uds
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._secret = secret
        self._breaker = breaker
        self._clock = clock or SystemClock()
        self._idle: deque[Channel] = deque()
        self._open: set[Channel] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._in_use = 0

    async def get(self, path: str) -> Reply:
        """The answer to a GET for ``path``, which is sent as it is, query included.

        Raises:
            HayloftError: what the peer answered, with its type.
            RoleUnavailable: as for ``post``.
        """
        return await self._request((self._head("GET", path, EMPTY_DIGEST) + b"\r\n",))

    async def post(
        self, path: str, data: bytes | memoryview, *, digest: bytes, headers: Mapping[str, str]
    ) -> Reply:
        """The answer to a POST of ``data``, whose SHA-256 is ``digest``; the peer may get it twice.

        Raises:
            HayloftError: what the peer answered, with its type.
            RoleUnavailable: it did not answer, or not in time, or has not lately and so was not asked.
        """
        return await self._request((self._post_head(path, data, digest, headers), data))

    async def fetch(
        self, path: str, data: bytes, *, digest: bytes, headers: Mapping[str, str]
    ) -> bytes | memoryview:
        """The body of the answer to a POST as in ``post``, not copied if it is large.

        Raises:
            HayloftError: as ``post``.
        """
        head = self._post_head(path, data, digest, headers)
        _status, _headers, body = await self._answered((head, data), in_place=True)
        return body

    async def _request(self, request: Sequence[bytes | memoryview]) -> Reply:
        _status, headers, body = await self._answered(request, in_place=False)
        assert isinstance(body, bytes)
        return Reply(headers, body)

    async def _answered(self, request: Sequence[bytes | memoryview], *, in_place: bool) -> Answered:
        if self._breaker is not None and not self._breaker.allows():
            raise RoleUnavailable(f"{self._peer} has not answered lately.")
        await self._take_turn()
        try:
            status, headers, body = await self._exchange(request, in_place)
        except (OSError, TimeoutError, Broken) as failure:
            if self._breaker is not None:
                self._breaker.failed()
            raise RoleUnavailable(f"{self._peer} does not answer.") from failure
        finally:
            self._give_turn()
        if self._breaker is not None:
            self._breaker.succeeded()
        if status >= 400:
            raise from_response(status, bytes(body), headers)
        if status != 200:
            raise RoleUnavailable(f"{self._peer} answered with status {status}.")
        return status, headers, body

    async def close(self) -> None:
        """Close all connections."""
        for channel in list(self._open):
            channel.abort()
        self._idle.clear()

    async def _exchange(self, request: Sequence[bytes | memoryview], in_place: bool) -> Answered:
        channel = self._idle_channel()
        if channel is not None:
            try:
                return await self._ask(channel, request, in_place)
            except Broken as broken:
                if broken.begun:
                    raise
        return await self._ask(await self._connect(), request, in_place)

    async def _ask(
        self, channel: Channel, request: Sequence[bytes | memoryview], in_place: bool
    ) -> Answered:
        answer = channel.send(request, in_place=in_place)
        # A timer is cheaper than a timeout context, and a future that fails than a task that is cancelled.
        timer = channel.loop.call_later(self._total_seconds, channel.expire)
        try:
            return await answer
        finally:
            timer.cancel()
            if channel.is_reusable:
                self._idle.append(channel)
            else:
                channel.abort()

    def _idle_channel(self) -> Channel | None:
        while self._idle:
            channel = self._idle.pop()
            if channel.is_reusable and channel.loop.time() - channel.used_at < IDLE_SECONDS_MAX:
                return channel
            channel.abort()
        return None

    async def _connect(self) -> Channel:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._connect_seconds):
            if self._uds is not None:
                _, channel = await loop.create_unix_connection(lambda: Channel(loop), str(self._uds))
            else:
                _, channel = await loop.create_connection(lambda: Channel(loop), self._host, self._port)
        self._open.add(channel)
        channel.when_lost = self._open.discard
        return channel

    def _head(self, method: str, path: str, digest: bytes) -> bytes:
        """The head's beginning, with what stands in every request."""
        target = self._prefix + path
        lines = [f"{method} {target} HTTP/1.1", f"host: {self._authority}"]
        if request_id := request_id_variable.get():
            lines.append(f"{REQUEST_ID}: {request_id}")
        if self._secret is not None:
            signature = sign(self._secret, method, target, digest, at_ms=self._clock.now_ms())
            lines.append(f"{HEADER}: {signature}")
        return ("\r\n".join(lines) + "\r\n").encode("ascii")

    def _post_head(
        self, path: str, data: bytes | memoryview, digest: bytes, headers: Mapping[str, str]
    ) -> bytes:
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        lines.append(f"content-length: {len(data)}\r\n\r\n")
        return self._head("POST", path, digest) + "".join(lines).encode("latin-1")

    async def _take_turn(self) -> None:
        if self._in_use < CONNECTIONS_MAX:
            self._in_use += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_turn()
            raise

    def _give_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._in_use -= 1
