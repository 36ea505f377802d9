"""The one HTTP client between roles: pooled connections, timeouts, retries, errors with their types.

A ``Session`` speaks to one peer, over TCP or a Unix socket. Requests that are safe to repeat are repeated
a bounded number of times, with jitter, when the peer did not answer; others never are. A peer that keeps
not answering is left alone for a while, where a breaker is given. The id of the request being answered
travels along. It knows nothing of what the roles say to each other.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from multidict import CIMultiDictProxy

from hayloft.errors import HayloftError, RoleUnavailable
from hayloft.wire.asgi import REQUEST_ID, request_id_variable
from hayloft.wire.authentication import signing
from hayloft.wire.breaker import Breaker
from hayloft.wire.errors import from_response

CONNECTIONS_MAX: Final = 64
"""Pooled connections to one peer: twice the requests that a busy gateway worker has in flight."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})
"""Methods that may be repeated (RFC 9110, section 9.2.2: idempotent)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a peer is waited for."""

    connect_seconds: float = 2.0
    total_seconds: float = 30.0
    attempts: int = 3
    pause_seconds: float = 0.05
    """Mean pause before the second attempt; doubles each time, with jitter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A successful response."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Session:
    """A connection pool to one peer at ``url``, or at the Unix socket ``uds`` when given.

    ``peer`` is what the peer is called in messages, which may reach a client; by default its address.
    With ``secret`` every request is signed (``wire.authentication``). While ``breaker`` is open, requests
    fail at once; only a peer that does not answer opens it, never one that answers with an error.
    """

    def __init__(
        self,
        url: str,
        *,
        uds: Path | None = None,
        patience: Patience | None = None,
        peer: str = "",
        secret: bytes | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._peer = peer or self.url
        self._uds = uds
        self._patience = patience or Patience()
        self._signing = (signing(secret),) if secret is not None else ()
        self._breaker = breaker
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Nothing to do: connections open when first needed."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the pool."""
        await self.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | float] | None = None,
        body: Any = None,
        data: bytes | memoryview | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        follow: bool = True,
    ) -> Answer:
        """Send a request, with ``body`` as JSON or ``data`` as it is, and return the whole answer.

        ``repeatable`` says whether the peer may get it twice; by default the method says so. Unless
        ``follow``, an answer that points elsewhere is returned as it is.

        Raises:
            HayloftError: what the peer answered, with its type.
            RoleUnavailable: the peer did not answer, or not in time, or has not for so long that it was
                not asked.
        """
        if repeatable is None:
            repeatable = method in SAFE_METHODS
        attempts = self._patience.attempts if repeatable else 1
        for attempt in range(attempts):
            if self._breaker is not None and not self._breaker.allows():
                raise RoleUnavailable(f"{self._peer} has not answered lately.")
            try:
                answer = await self._send(method, path, query, body, data, headers, follow)
            except HayloftError:
                self._heard(answered=True)
                raise
            except (aiohttp.ClientError, TimeoutError, OSError) as failure:
                self._heard(answered=False)
                if attempt + 1 == attempts:
                    raise RoleUnavailable(f"{self._peer} does not answer.") from failure
            else:
                self._heard(answered=True)
                return answer
            await asyncio.sleep(self._pause_seconds(attempt))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int | float] | None,
        body: Any,
        data: bytes | memoryview | None,
        headers: Mapping[str, str] | None,
        follow: bool,
    ) -> Answer:
        async with self._open().request(
            method,
            self.url + path,
            params=query,
            json=body,
            data=data,
            headers={**(headers or {}), **_request_id()},
            allow_redirects=follow,
        ) as response:
            received = await response.read()
            if response.status >= 400:
                raise from_response(response.status, received, response.headers)
            return Answer(status=response.status, headers=response.headers, body=received)

    def _heard(self, *, answered: bool) -> None:
        if self._breaker is None:
            return
        if answered:
            self._breaker.succeeded()
        else:
            self._breaker.failed()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector: aiohttp.BaseConnector = (
                aiohttp.UnixConnector(str(self._uds), limit=CONNECTIONS_MAX)
                if self._uds is not None
                else aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
            )
            timeout = aiohttp.ClientTimeout(
                total=self._patience.total_seconds, sock_connect=self._patience.connect_seconds
            )
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, middlewares=self._signing
            )
        return self._session

    def _pause_seconds(self, attempt: int) -> float:
        mean = self._patience.pause_seconds * 2.0**attempt
        return mean * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret


def _request_id() -> dict[str, str]:
    request_id = request_id_variable.get()
    return {REQUEST_ID: request_id} if request_id else {}
