"""The whole gateway as one ASGI application; photo bytes and uploads bypass the framework.

``Front`` answers GET and HEAD for photos and POST for uploads itself, and passes the rest to FastAPI
(``routes``). Photo bytes are read and written with nothing in between; an upload's body is read as it
arrives. Every answer carries a request id, every error is JSON with a code.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from hayloft.errors import HayloftError, InternalError, PhotoNotFound
from hayloft.gateway.access import OPEN_PATHS
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.lingering import discard
from hayloft.gateway.submission import Submission
from hayloft.types import PHOTO_ID_BITS, Cookie, PhotoId, parse_cookie
from hayloft.wire.asgi import (
    App,
    ClientDisconnected,
    Receive,
    Scope,
    Send,
    request_id_variable,
    send_error,
    send_json,
)
from hayloft.wire.asgi import request_id_of as accepted_request_id
from hayloft.wire.protocol import Direct, error_direct

_PHOTO: Final = "/photo/"
_UPLOAD: Final = "/upload"
_COOKIE_DIGITS: Final = 16

_log = structlog.get_logger(__name__)


class Front:
    """The gateway's ASGI application over ``gateway``; ``routes`` answers what is not bytes.

    ``opens`` says which further paths, the pages' own, need no key.
    """

    def __init__(
        self, gateway: Gateway, routes: App, *, opens: Callable[[str], bool] = lambda _path: False
    ) -> None:
        self._gateway = gateway
        self._routes = routes
        self._opens = opens
        # Unique across workers by the random start, cheap by counting on from there.
        self._request_id_start = secrets.token_hex(6)
        self._request_numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._routes(scope, receive, send)
            return
        path: str = scope["path"]
        if path.startswith(_PHOTO) and scope["method"] in ("GET", "HEAD"):
            named = named_photo(path)
            asks = scope["query_string"] and self._gateway.pictures.takes(scope)
            if named is not None and not asks:
                await self._photo(scope, send, *named)
                return
        if self._gateway.pictures.takes(scope):
            await self._gateway.pictures(scope, send)
            return
        if path == _UPLOAD and scope["method"] == "POST":
            await self._upload(scope, receive, send)
            return
        await self._rest(scope, receive, send)

    # Photos --------------------------------------------------------------------------------------

    def hot(self, photo: PhotoId, cookie: Cookie) -> Direct | None:
        """The plain answer to a GET by capability link, if it takes no waiting."""
        answer = self._gateway.reads.hot(photo, cookie)
        if answer is None:
            return None
        head, body = answer
        self._gateway.metrics.read("GET", 200, len(body))
        return Direct(head + b"x-request-id: %b\r\n" % self.next_request_id().encode(), body)

    async def cold(self, photo: PhotoId, cookie: Cookie) -> Direct:
        """The plain answer to a GET by capability link, whatever it takes and whatever it is."""
        request_id = self.next_request_id()
        request_id_variable.set(request_id)
        try:
            head, body = await self._gateway.reads.plain(photo, cookie)
        except HayloftError as error:
            refusal = error
        except Exception:
            _log.exception("read failed", photo_id=photo, request_id=request_id)
            refusal = InternalError()
        else:
            self._gateway.metrics.read("GET", 200, len(body))
            return Direct(head + b"x-request-id: %b\r\n" % request_id.encode(), body)
        self._gateway.metrics.read("GET", refusal.status, 0)
        return error_direct(refusal, request_id)

    def next_request_id(self) -> str:
        """A request id of our own."""
        return f"{self._request_id_start}{next(self._request_numbers):08x}"

    async def _photo(self, scope: Scope, send: Send, photo: PhotoId | None, cookie: Cookie | None) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = self._request_id(scope, headers)
        method: str = scope["method"]
        gateway = self._gateway
        try:
            if cookie is None:
                gateway.access.check(headers)
            if photo is None:
                raise PhotoNotFound
            answer = await gateway.reads.answer(photo, cookie, head=method == "HEAD", asked=headers)
        except HayloftError as error:
            gateway.metrics.read(method, error.status, 0)
            await send_error(send, error, request_id)
            return
        except Exception:
            _log.exception("read failed", photo_id=photo, request_id=request_id)
            gateway.metrics.read(method, InternalError.status, 0)
            await send_error(send, InternalError(), request_id)
            return
        # The server takes bytes as they are, but walks over any other buffer one byte at a time.
        body = answer.body if isinstance(answer.body, bytes) else bytes(answer.body)
        gateway.metrics.read(method, answer.status, len(body))
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [*answer.headers, (b"x-request-id", request_id.encode())],
            }
        )
        await send({"type": "http.response.body", "body": body})

    # Uploads -------------------------------------------------------------------------------------

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = self._request_id(scope, headers)
        started = time.perf_counter()
        status = 499
        try:
            self._gateway.access.check(headers)
            submission = Submission(self._gateway, scope, headers)
            status, body = await submission.carry_out(receive)
            await send_json(send, status, body, request_id)
        except ClientDisconnected:
            _log.info("upload cut off by the client", request_id=request_id)
        except HayloftError as error:
            status = error.status
            if status >= 500:
                _log.warning("upload failed", code=error.code, error=error.message, request_id=request_id)
            await _refuse(receive, send, error, request_id, headers)
        except Exception:
            _log.exception("upload failed", request_id=request_id)
            status = InternalError.status
            await _refuse(receive, send, InternalError(), request_id, headers)
        finally:
            self._gateway.metrics.request("POST", _UPLOAD, status, time.perf_counter() - started)

    # Everything else -----------------------------------------------------------------------------

    async def _rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status = InternalError.status

        async def send_noting_status(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if not self._is_open(scope["path"]):
                self._gateway.access.check(dict(scope["headers"]))
            await self._routes(scope, receive, send_noting_status)
        except HayloftError as error:
            status = error.status
            await send_error(send, error, accepted_request_id(scope))
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "unknown")
            self._gateway.metrics.request(scope["method"], path, status, time.perf_counter() - started)

    def _is_open(self, path: str) -> bool:
        return path in OPEN_PATHS or self._opens(path)

    def _request_id(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """The client's request id if it sent an acceptable one, otherwise the next of our own."""
        sent = b"x-request-id" in headers
        request_id = accepted_request_id(scope) if sent else self.next_request_id()
        request_id_variable.set(request_id)
        return request_id


async def _refuse(
    receive: Receive,
    send: Send,
    error: HayloftError,
    request_id: str,
    headers: Mapping[bytes, bytes],
) -> None:
    """Answer with an error, then read on for a while: a client still sending would else not see it."""
    await send_error(send, error, request_id)
    if b"expect" not in headers:
        await discard(receive)


def named_photo(path: str) -> tuple[PhotoId | None, Cookie | None] | None:
    """The photo and cookie that a path names; photo None if there can be none; None: not a photo's."""
    text, slash, rest = path[len(_PHOTO) :].partition("/")
    cookie: Cookie | None = None
    if slash:
        if len(rest) != _COOKIE_DIGITS:
            return None
        cookie = parse_cookie(rest)
        if cookie is None:
            return None
    if not (text.isascii() and text.isdigit()) or len(text) > _COOKIE_DIGITS:
        return None, cookie
    number = int(text)
    return (PhotoId(number) if number >> PHOTO_ID_BITS == 0 else None), cookie
