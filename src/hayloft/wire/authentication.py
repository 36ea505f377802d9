"""A secret that the services of one cluster share: every request between them is signed with it.

One header, ``x-hayloft-signature: v1 <time> <nonce> <digest> <signature>``, carries the sender's clock in
milliseconds, a random number, the body's SHA-256 and an HMAC-SHA256 over method, address with query, and
these three. A server refuses, with 401, a request without it, with another secret's, from a clock too far
from its own, and one that changes something and was seen before; a body is compared with its digest while
it streams in, and one that differs never reaches its end. It does not encrypt, does not sign answers, and a
request may be replayed to another process that shares the secret, as long as its time is good.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import os
import re
import secrets
from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.client_middlewares import ClientMiddlewareType
from aiohttp.payload import Payload

from hayloft.clock import Clock, SystemClock
from hayloft.errors import Overloaded, Unauthorized
from hayloft.wire.asgi import App, Message, Receive, Scope, Send, request_id_of, send_error

HEADER: Final = "x-hayloft-signature"

VERIFIED_DIGEST: Final = "hayloft.verified_digest"
"""Where in a request's scope its body's SHA-256 stands, once all of it has come and was what was signed."""

SKEW_SECONDS_MAX: Final = 30.0
"""How far two services' clocks may be apart, a request's way between them included."""

NONCES_MAX: Final = 1_000_000
"""Changing requests remembered against replay: 16,000 a second for twice the skew, 200 MB at worst."""

SECRET_BYTES_MIN: Final = 16

EMPTY_DIGEST: Final = hashlib.sha256().digest()
"""The digest of no body."""

OPEN_PATHS: Final = frozenset({"/health", "/ready"})
"""What whoever watches a service may ask without the secret."""

REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing: having them repeated tells an eavesdropper what he has seen already."""

_DIGEST_INLINE_BYTES_MAX: Final = 256 << 10
_FORM: Final = re.compile(rb"v1 (\d{1,15}) ([0-9a-f]{32}) ([0-9a-f]{64}) ([0-9a-f]{64})")
_HEADER_BYTES: Final = HEADER.encode()
_BODY_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """What a signature says, once it is known to be right."""

    at_ms: int
    nonce: bytes
    digest: bytes


def sign(
    secret: bytes, method: str, target: str, digest: bytes, *, at_ms: int, nonce: bytes | None = None
) -> str:
    """The header's value for a request to ``target`` (path and query as sent) with this body's SHA-256."""
    number = (nonce or _nonces.next()).hex()
    told = f"{at_ms} {number} {digest.hex()}"
    return f"v1 {told} {_hmac(secret, method.encode(), target.encode(), told.encode())}"


def signing(secret: bytes, *, clock: Clock | None = None) -> ClientMiddlewareType:
    """A hook for an aiohttp session that signs whatever it sends, repetitions and redirects afresh."""
    _check_length(secret)
    time = clock or SystemClock()

    async def send_signed(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        body = await request.body.as_bytes() if isinstance(request.body, Payload) else b""
        request.headers[HEADER] = sign(
            secret,
            request.method,
            request.url.raw_path_qs,
            await _digest(body),
            at_ms=time.now_ms(),
        )
        return await handler(request)

    return send_signed


class _Nonces:
    """Numbers that no process uses twice, nor two of them; they need not be hard to guess."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._start = secrets.token_bytes(8)
        self._numbers = itertools.count()

    def next(self) -> bytes:
        return self._start + next(self._numbers).to_bytes(8)


_nonces = _Nonces()


class Authenticated:
    """The application ``app``, for those who know one of ``accepted``: two of them while one is replaced.

    Answers 401 ``unauthorized`` to others, and 503 ``overloaded`` when more is going on than replays can be
    told apart from.
    """

    def __init__(
        self,
        app: App,
        accepted: Collection[bytes],
        *,
        open_paths: Collection[str] = OPEN_PATHS,
        clock: Clock | None = None,
        nonces_max: int = NONCES_MAX,
    ) -> None:
        assert accepted
        for secret in accepted:
            _check_length(secret)
        self._app = app
        self._accepted = tuple(accepted)
        self._open_paths = frozenset(open_paths)
        self._clock = clock or SystemClock()
        self._seen = _Seen(nonces_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan" or scope.get("path") in self._open_paths:
            await self._app(scope, receive, send)
            return
        try:
            signed = self._check(scope)
        except (Unauthorized, Overloaded) as refusal:
            await send_error(send, refusal, request_id_of(scope))
            return
        if signed.digest == EMPTY_DIGEST and _is_without_body(scope):
            await self._app(scope, receive, send)
        else:
            await _Body(self._app, signed.digest).serve(scope, receive, send)

    def admits(self, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a GET without a body for this path and query would be served."""
        try:
            return self._verified(b"GET", target, headers).digest == EMPTY_DIGEST
        except Unauthorized:
            return False

    def _check(self, scope: Scope) -> _Signed:
        signed = self._verified(scope["method"].encode(), _target(scope), scope["headers"])
        if scope["method"] not in REPEATABLE:
            self._seen.note(signed.nonce, self._clock.now_ms())
        return signed

    def _verified(self, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> _Signed:
        shown = [value for name, value in headers if name == _HEADER_BYTES]
        parts = _FORM.fullmatch(shown[0]) if len(shown) == 1 else None
        if parts is None:
            raise Unauthorized("This service answers only requests that are signed.")
        at, nonce, digest, signature = parts.groups()
        told = b" ".join((at, nonce, digest))
        # All secrets are tried, so that the time taken does not tell which one it was.
        right = [
            hmac.compare_digest(_hmac(secret, method, target, told).encode(), signature)
            for secret in self._accepted
        ]
        if not any(right):
            raise Unauthorized("The request's signature is wrong.")
        if abs(self._clock.now_ms() - int(at)) > SKEW_SECONDS_MAX * 1000:
            raise Unauthorized("The request was signed too long ago, or one of the clocks is wrong.")
        return _Signed(at_ms=int(at), nonce=nonce, digest=bytes.fromhex(digest.decode()))


class _Seen:
    """The random numbers of requests that may still be replayed."""

    def __init__(self, nonces_max: int) -> None:
        self._nonces_max = nonces_max
        self._ends_ms: OrderedDict[bytes, float] = OrderedDict()

    def note(self, nonce: bytes, now_ms: int) -> None:
        ends = self._ends_ms
        while ends and next(iter(ends.values())) < now_ms:
            ends.popitem(last=False)
        if nonce in ends:
            raise Unauthorized("The request was seen before.")
        if len(ends) >= self._nonces_max:
            raise Overloaded(retry_after_seconds=1)
        # A request from a clock that is ahead stays good for twice the skew.
        ends[nonce] = now_ms + 2000 * SKEW_SECONDS_MAX


class _TamperedBody(Exception):
    """The body is not the signed one."""


class _Body:
    """One request whose body is compared with its digest while the application receives it."""

    def __init__(self, app: App, digest: bytes) -> None:
        self._app = app
        self._digest = digest
        self._hash = hashlib.sha256()
        self._tampered = self._started = False

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it; whatever the application makes of a wrong body, the answer is 401."""

        async def receive_checked() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not self._tampered:
                await self._take(message.get("body", b""), last=not message.get("more_body", False))
                if not message.get("more_body", False) and not self._tampered:
                    scope[VERIFIED_DIGEST] = self._digest
            if self._tampered:
                raise _TamperedBody
            return message

        async def send_unless_tampered(message: Message) -> None:
            if self._tampered and not self._started:
                return
            self._started = True
            await send(message)

        try:
            await self._app(scope, receive_checked, send_unless_tampered)
        except Exception:
            if not self._tampered or self._started:
                raise
        if self._tampered and not self._started:
            refusal = Unauthorized("The body is not the one that was signed.")
            await send_error(send, refusal, request_id_of(scope))

    async def _take(self, chunk: bytes, *, last: bool) -> None:
        if len(chunk) <= _DIGEST_INLINE_BYTES_MAX:
            self._hash.update(chunk)
        else:
            await asyncio.to_thread(self._hash.update, chunk)
        self._tampered = last and not hmac.compare_digest(self._hash.digest(), self._digest)


def _is_without_body(scope: Scope) -> bool:
    """Whether no body can come (RFC 9112, section 6.3: neither length nor encoding is announced)."""
    return not any(name in _BODY_HEADERS for name, _value in scope["headers"])


def _target(scope: Scope) -> bytes:
    """Path and query as they came."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path


def _hmac(secret: bytes, method: bytes, target: bytes, told: bytes) -> str:
    # No part can hold a line feed, so that none can be moved into another.
    return hmac.digest(secret, b"\n".join((b"hayloft", method, target, told)), "sha256").hex()


async def _digest(body: bytes) -> bytes:
    if len(body) <= _DIGEST_INLINE_BYTES_MAX:
        return hashlib.sha256(body).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(body).digest())


def _check_length(secret: bytes) -> None:
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"a secret between services has at least {SECRET_BYTES_MIN} bytes")
