"""How requests travel: a pool of connections to one server, patience, and errors with their types.

A request that may be repeated is repeated a bounded number of times, with growing and jittered pauses,
when the server did not answer or said that it may work later (503, whose ``Retry-After`` is honoured).
Whether a request may be repeated is the caller's knowledge. What the requests mean is not known here.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import aiohttp
from yarl import URL

from hayloft import __version__
from hayloft.errors import HayloftError, InternalError, InvalidRequest, RoleUnavailable
from hayloft.wire.errors import from_response

MAYBE_LATER: Final = frozenset({429, 502, 503, 504})
"""Statuses that say "try again": our own 503, and those of a proxy in front of the server."""

EXPECT_BYTES_MIN: Final = 8 << 20
"""Bodies of this size ask first (``Expect: 100-continue``), so that a refusal costs no transfer."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """A body that is read while it is sent."""

    size: int
    chunks: AsyncIterator[bytes]


class Body(Protocol):
    """Bytes to send, read afresh for every attempt."""

    @property
    def failure(self) -> OSError | None:
        """What went wrong with the last reading on this side, so that the server is not blamed for it."""
        ...

    async def open(self) -> bytes | Chunks:
        """The bytes, from the start."""
        ...


class ServerUnreachable(RoleUnavailable):
    """No server answered at the address, after all attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a server is waited for."""

    attempts: int = 6
    """How often a repeatable request is sent at most."""
    pause_seconds: float = 0.1
    """Mean pause before the second attempt; it doubles each time."""
    pause_seconds_max: float = 10.0
    """Longest pause of our own."""
    retry_after_seconds_max: float = 60.0
    """Longest pause that the server may ask for; past it the error is raised at once."""
    connect_seconds: float = 5.0
    """Longest wait for a connection."""
    idle_seconds: float = 60.0
    """Longest silence of the server in the middle of a request."""

    def pause(self, attempt: int, error: HayloftError) -> float | None:
        """Seconds to wait after ``attempt`` (from 0) failed with ``error``; None to give up."""
        if attempt + 1 >= self.attempts:
            return None
        asked = error.retry_after_seconds or 0
        if asked > self.retry_after_seconds_max:
            return None
        own = min(self.pause_seconds * 2.0**attempt, self.pause_seconds_max)
        # Jitter only ever adds to what the server asked for; without one it spreads the mean.
        return (asked if asked else own * 0.5) + own * random.uniform(0, 1)  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A successful response, received in whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def told(self, understand: Callable[[Any], T]) -> T:
        """What ``understand`` makes of the parsed JSON.

        Raises:
            InternalError: it is not what a Hayloft server says, so perhaps something else answered.
        """
        try:
            return understand(json.loads(self.body))
        except (ValueError, LookupError, TypeError, AttributeError) as failure:
            raise InternalError("The answer cannot be understood: is this a Hayloft server?") from failure


class Transport:
    """Requests to the server at ``url``; opens connections when first needed, inside the running loop."""

    def __init__(self, url: str, *, api_key: str | None, connections: int, patience: Patience) -> None:
        self.url = _checked_url(url)
        self.patience = patience
        self._connections = connections
        self._headers = {"User-Agent": f"hayloft/{__version__}"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | float] | None = None,
        document: Any = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """Send a request, ``document`` as JSON or ``body`` as it is, and receive the whole answer.

        Raises:
            HayloftError: what the server answered, with its type.
            ServerUnreachable: there was no answer.
        """

        async def attempt() -> Answer:
            options = await _body_options(body, headers or {})
            try:
                async with self._sent(method, path, params=query, json=document, **options) as response:
                    received = await response.read()
                    return Answer(status=response.status, headers=response.headers, body=received)
            except aiohttp.ClientError:
                if body is not None and body.failure is not None:
                    raise body.failure from None
                raise

        return await self._patiently(attempt, repeatable=repeatable)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a repeatable request and hand over the response while its body is still arriving."""
        async with AsyncExitStack() as opened:

            async def attempt() -> aiohttp.ClientResponse:
                return await opened.enter_async_context(self._sent(method, path, headers=headers))

            yield await self._patiently(attempt, repeatable=True)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _patiently(self, attempt: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        number = 0
        while True:
            try:
                return await attempt()
            except _MaybeLater as later:
                error = later.error
            except (aiohttp.ClientError, TimeoutError) as failure:
                error = self._unreachable(failure)
            pause = self.patience.pause(number, error) if repeatable else None
            if pause is None:
                raise error
            await asyncio.sleep(pause)
            number += 1

    @asynccontextmanager
    async def _sent(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._open().request(method, URL(self.url + path, encoded=True), **options) as response:
            if response.status >= 400:
                error = from_response(response.status, await response.read(), response.headers)
                raise _MaybeLater(error) if response.status in MAYBE_LATER else error
            yield response

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=self.patience.connect_seconds,
                    sock_read=self.patience.idle_seconds,
                ),
            )
        return self._session

    def _unreachable(self, failure: Exception) -> ServerUnreachable:
        error = ServerUnreachable(f"No Hayloft server answers at {self.url}: {_reason(failure)}.")
        error.__cause__ = failure
        return error


def _reason(failure: Exception) -> str:
    if isinstance(failure, aiohttp.ClientConnectorDNSError):
        return "the name is not known"
    if isinstance(failure, aiohttp.ClientConnectorError) and failure.os_error.errno:
        return os.strerror(failure.os_error.errno).lower()
    if isinstance(failure, TimeoutError):
        return "it takes too long"
    return (str(failure) or type(failure).__name__).lower()


async def _body_options(body: Body | None, headers: Mapping[str, str]) -> dict[str, Any]:
    data = await body.open() if body is not None else None
    if not isinstance(data, Chunks):
        return {"data": data, "headers": headers, "expect100": len(data or b"") >= EXPECT_BYTES_MIN}
    sized = {**headers, "Content-Length": str(data.size)}
    return {"data": data.chunks, "headers": sized, "expect100": data.size >= EXPECT_BYTES_MIN}


class _MaybeLater(Exception):
    """Carries an error that may pass from an attempt to the loop that decides about the next one."""

    def __init__(self, error: HayloftError) -> None:
        super().__init__(error)
        self.error = error


def _checked_url(url: str) -> str:
    try:
        parsed = URL(url)
        if parsed.scheme in ("http", "https") and parsed.host:
            return url.rstrip("/")
    except ValueError:
        pass
    raise InvalidRequest(f"“{url}” is no server's address; one looks like http://127.0.0.1:8080.")
