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
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

import httptools

from hayloft import limits
from hayloft.clock import Clock, SystemClock
from hayloft.errors import RoleUnavailable
from hayloft.wire.asgi import REQUEST_ID, request_id_variable
from hayloft.wire.authentication import EMPTY_DIGEST, HEADER, sign
from hayloft.wire.breaker import Breaker
from hayloft.wire.errors import from_response
from hayloft.wire.incoming import Incoming

CONNECTIONS_MAX: Final = 128
"""Connections to one peer; past it a request waits for its turn."""

BODY_BYTES_MAX: Final = limits.UPLOAD_BYTES_MAX + limits.MIB
HEAD_BYTES_MAX: Final = 64 * limits.KIB

IDLE_SECONDS_MAX: Final = 15.0
"""How long an idle connection is used again: less than servers keep theirs, so that few break."""


_Answered = tuple[int, dict[str, str], bytes | memoryview]
"""Status, headers and body."""


class Reply(NamedTuple):
    """A successful answer; names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes


IN_PLACE_BYTES_MIN: Final = 256 * limits.KIB
"""From this size on, a body that may be a view is received into memory of its own."""


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
        self._idle: deque[_Channel] = deque()
        self._open: set[_Channel] = set()
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

    async def _answered(self, request: Sequence[bytes | memoryview], *, in_place: bool) -> _Answered:
        if self._breaker is not None and not self._breaker.allows():
            raise RoleUnavailable(f"{self._peer} has not answered lately.")
        await self._take_turn()
        try:
            status, headers, body = await self._exchange(request, in_place)
        except (OSError, TimeoutError, _Broken) as failure:
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

    async def _exchange(self, request: Sequence[bytes | memoryview], in_place: bool) -> _Answered:
        channel = self._idle_channel()
        if channel is not None:
            try:
                return await self._ask(channel, request, in_place)
            except _Broken as broken:
                if broken.begun:
                    raise
        return await self._ask(await self._connect(), request, in_place)

    async def _ask(
        self, channel: _Channel, request: Sequence[bytes | memoryview], in_place: bool
    ) -> _Answered:
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

    def _idle_channel(self) -> _Channel | None:
        while self._idle:
            channel = self._idle.pop()
            if channel.is_reusable and channel.loop.time() - channel.used_at < IDLE_SECONDS_MAX:
                return channel
            channel.abort()
        return None

    async def _connect(self) -> _Channel:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._connect_seconds):
            if self._uds is not None:
                _, channel = await loop.create_unix_connection(lambda: _Channel(loop), str(self._uds))
            else:
                _, channel = await loop.create_connection(lambda: _Channel(loop), self._host, self._port)
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


class _Broken(Exception):
    """The connection ended, or what came over it is not HTTP; ``begun``: in the middle of an answer."""

    def __init__(self, begun: bool) -> None:
        super().__init__()
        self.begun = begun


class _Channel(asyncio.Protocol):
    """One connection, with at most one request under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.used_at = loop.time()
        self.when_lost: Any = None
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[_Answered] | None = None
        self._begun = False
        self._keeps = True
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head_size = self._size = 0
        self._in_place = False
        self._incoming: Incoming | None = None

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent."""
        return (
            self._keeps
            and self._answer is None
            and self._transport is not None
            and not self._transport.is_closing()
        )

    def send(self, request: Sequence[bytes | memoryview], *, in_place: bool) -> asyncio.Future[_Answered]:
        """Send a request; its answer's status, headers and body come in the future.

        A large body is received ``in_place``, if that is asked for, and is a view then.
        """
        assert self._transport is not None
        self._begun = False
        self._in_place, self._incoming = in_place, None
        self._headers, self._body, self._head_size, self._size = {}, [], 0, 0
        self._answer = self.loop.create_future()
        self._answer.add_done_callback(self._settled)
        self._transport.writelines(request)
        return self._answer

    def abort(self) -> None:
        """Close at once; a request under way fails."""
        self._keeps = False
        if self._transport is not None:
            self._transport.abort()
        self._fail()

    def expire(self) -> None:
        """Close because the answer takes too long."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(TimeoutError())
        self.abort()

    # asyncio's callbacks -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio's do and are no subclasses of them.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.abort()  # nothing was asked for
            return
        self._begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError):
            self.abort()
        if self._incoming is not None and not self._incoming.is_whole:
            self._change_protocol(self._incoming)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._keeps = False
        self._fail()
        if self.when_lost is not None:
            self.when_lost(self)

    # The parser's callbacks ----------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > HEAD_BYTES_MAX:
            self.abort()
            return
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        announced = self._headers.get("content-length", "")
        size = int(announced) if announced.isascii() and announced.isdigit() else 0
        if self._in_place and IN_PLACE_BYTES_MIN <= size <= BODY_BYTES_MAX:
            self._incoming = Incoming(size, arrived=self._arrived, lost=self.connection_lost)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > BODY_BYTES_MAX:
            self.abort()
        elif self._incoming is not None:
            self._incoming.take(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        body = self._body
        if self._incoming is not None:
            self._complete(self._incoming.memory)
        else:
            self._complete(body[0] if len(body) == 1 else b"".join(body))

    # Within --------------------------------------------------------------------------------------

    def _arrived(self) -> None:
        """All of a body has come past the parser, which is left in the middle of it."""
        self._change_protocol(self)
        assert self._incoming is not None
        self._complete(self._incoming.memory)
        self._parser = httptools.HttpResponseParser(self)

    def _complete(self, body: bytes | memoryview) -> None:
        answer, transport = self._answer, self._transport
        if answer is None or answer.done() or transport is None:
            return
        # A request refused before it was sent whole leaves its rest on the way.
        whole_sent = transport.get_write_buffer_size() == 0
        self._keeps = self._keeps and whole_sent and self._parser.should_keep_alive()
        self.used_at = self.loop.time()
        answer.set_result((self._parser.get_status_code(), self._headers, body))
        self._answer = self._incoming = None

    def _change_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another protocol told of what comes next; uvloop changes over only when reading begins."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._transport.set_protocol(protocol)
            self._transport.resume_reading()

    def _settled(self, answer: asyncio.Future[Any]) -> None:
        """Nobody waits any more: what still comes belongs to no request."""
        if answer.cancelled():
            self._answer = None
            self.abort()

    def _fail(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(_Broken(self._begun))
