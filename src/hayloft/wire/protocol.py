"""HTTP/1.1 for servers of photo bytes: uvicorn's protocol, with a short way out for plain GETs.

A subclass may answer a plain GET from within the parser's callback: no task, no ASGI messages, no copy of
the body; head and body leave in one ``writev``. Measured against the way through ASGI, that halves what a
hot read costs. It may also answer a little later, from a task of its own. Whatever is not plain
(conditions, ranges, a body, pipelining, a slow receiver), or not to be had that way, goes through ASGI,
which answers it the same.

Connections on which nothing gets on are closed: no request completed, or an answer not taken, for a
while. (Idle connections are closed by uvicorn.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar, Final, NamedTuple

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from hayloft.errors import HayloftError
from hayloft.wire.asgi import REQUEST_ID
from hayloft.wire.errors import to_body, to_headers

LOOK_SECONDS: Final = 45.0
"""How often a connection is looked at; it is closed when two looks in a row find it getting nowhere."""

NOT_PLAIN: Final = frozenset(
    {
        b"content-length",
        b"expect",
        b"if-match",
        b"if-none-match",
        b"range",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Request headers that make a GET something else than plain."""

_log = structlog.get_logger(__name__)


Headers = list[tuple[bytes, bytes]]
"""Names in lower case."""


class Direct(NamedTuple):
    """An answer: its head, which lacks the server's own headers and the empty line, and its body."""

    head: bytes
    body: bytes | memoryview


def error_direct(error: HayloftError, request_id: str) -> Direct:
    """An error as its status, headers and JSON body."""
    body = to_body(error, request_id)
    headers = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        (REQUEST_ID, request_id),
        *to_headers(error),
    ]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return Direct(STATUS_LINE[error.status] + lines.encode("latin-1"), body)


class DirectProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with a short way out; a subclass says what takes it."""

    prefix: ClassVar[bytes]
    """What the addresses begin with that may take it."""
    not_plain: ClassVar[frozenset[bytes]] = NOT_PLAIN

    _answered = False
    """Whether the request being parsed is answered here."""
    _looks = 0
    """Looks since the head of a request was complete."""
    _unsent = -1
    """Bytes that the last look found waiting for the client."""
    _timer: asyncio.TimerHandle | None = None

    def answer(self) -> Direct | Coroutine[Any, Any, Direct] | None:
        """The answer to the plain GET whose ``url`` and ``headers`` are there, or None: leave it to ASGI.

        A coroutine gives it later, in a task; it has to have an answer for errors, too.
        """
        raise NotImplementedError

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Answer here, or leave it to ASGI."""
        self._looks = 0
        self._answered = self._is_plain() and self._answer()
        if not self._answered:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the request's body."""
        if not self._answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has been read."""
        if not self._answered:
            super().on_message_complete()

    def _is_plain(self) -> bool:
        return (
            self.url.startswith(self.prefix)
            and self.parser.get_method() == b"GET"
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and self.parser.should_keep_alive()
            and self.parser.get_http_version() == "1.1"
            and not any(name in self.not_plain for name, _value in self.headers)
        )

    def _answer(self) -> bool:
        answer = self.answer()
        if answer is None:
            return False
        if isinstance(answer, Direct):
            self._send(answer, closing=False)
            self.on_response_complete()
        else:
            cycle = _Pending()
            self.cycle = cycle  # type: ignore[assignment]
            task = self.loop.create_task(self._answer_later(cycle, answer))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        return True

    async def _answer_later(self, cycle: _Pending, coming: Coroutine[Any, Any, Direct]) -> None:
        try:
            answer = await coming
            if self.flow.write_paused and not cycle.disconnected:
                await self.flow.drain()
        except Exception:
            _log.exception("request failed", path=self.url[:64])
            self.transport.abort()
            return
        if cycle.disconnected or self.transport.is_closing():
            return
        cycle.response_complete = True
        self._send(answer, closing=not cycle.keep_alive)
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _send(self, answer: Direct, *, closing: bool) -> None:
        lines = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        end = b"connection: close\r\n\r\n" if closing else b"\r\n"
        self.transport.writelines((b"".join((answer.head, *lines, end)), answer.body))

    def _look(self) -> None:
        """Close the connection if neither side has got on since the last look but one."""
        busy = self.cycle is not None and not self.cycle.response_complete
        self._looks = 0 if busy else self._looks + 1
        unsent = self.transport.get_write_buffer_size()
        if self._looks > 1 or 0 < unsent == self._unsent:
            self.transport.abort()
            return
        self._unsent = unsent
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)


class _Nobody:
    """Uvicorn tells whoever reads the request's body that something happened; here nobody does."""

    def set(self) -> None:
        """Nothing."""


class _Pending:
    """What uvicorn's protocol asks and tells a request that is being answered."""

    message_event: ClassVar[_Nobody] = _Nobody()

    __slots__ = ("disconnected", "keep_alive", "response_complete")

    def __init__(self) -> None:
        self.response_complete = self.disconnected = False
        self.keep_alive = True
