"""One kept-alive HTTP/1.1 connection of ``channels``: one request at a time, its answer in a future.

A large body is received into one piece of memory (``incoming``), where that is asked for; everything else
goes through httptools' parser. Whatever is not HTTP, too long, or not asked for closes the connection. It
does not know whom it is connected to, nor what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

import httptools

from hayloft import limits
from hayloft.wire.incoming import Incoming

BODY_BYTES_MAX: Final = limits.UPLOAD_BYTES_MAX + limits.MIB
HEAD_BYTES_MAX: Final = 64 * limits.KIB

IN_PLACE_BYTES_MIN: Final = 256 * limits.KIB
"""From this size on, a body that may be a view is received into memory of its own."""

Answered = tuple[int, dict[str, str], bytes | memoryview]
"""Status, headers and body."""


class Broken(Exception):
    """The connection ended, or what came over it is not HTTP; ``begun``: in the middle of an answer."""

    def __init__(self, begun: bool) -> None:
        super().__init__()
        self.begun = begun


class Channel(asyncio.Protocol):
    """One connection, with at most one request under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.used_at = loop.time()
        self.when_lost: Any = None
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Answered] | None = None
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

    def send(self, request: Sequence[bytes | memoryview], *, in_place: bool) -> asyncio.Future[Answered]:
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
        """It is open."""
        # uvloop's transports do what asyncio's do and are no subclasses of them.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Some of an answer has come."""
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
        """It is closed."""
        self._keeps = False
        self._fail()
        if self.when_lost is not None:
            self.when_lost(self)

    # The parser's callbacks ----------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the answer."""
        self._head_size += len(name) + len(value)
        if self._head_size > HEAD_BYTES_MAX:
            self.abort()
            return
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The answer's head has come: whether its body is worth memory of its own."""
        announced = self._headers.get("content-length", "")
        size = int(announced) if announced.isascii() and announced.isdigit() else 0
        if self._in_place and IN_PLACE_BYTES_MIN <= size <= BODY_BYTES_MAX:
            self._incoming = Incoming(size, arrived=self._arrived, lost=self.connection_lost)

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._size += len(body)
        if self._size > BODY_BYTES_MAX:
            self.abort()
        elif self._incoming is not None:
            self._incoming.take(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """All of the answer has come."""
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
            answer.set_exception(Broken(self._begun))
