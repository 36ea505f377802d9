"""The bare ASGI door of ``pictures``: which addresses are its own, and how its answers are sent.

Bytes bypass the framework here as they do for originals. Every answer carries a request id, every error is
JSON with a code; IIIF answers may be used by pages of any origin.
"""

from __future__ import annotations

import re
import time
from typing import Any, Final
from urllib.parse import parse_qs

import structlog

from hayloft.errors import HayloftError, InternalError, InvalidRequest, MethodNotAllowed, RouteNotFound
from hayloft.gateway.answers import Answer
from hayloft.gateway.metrics import Metrics
from hayloft.gateway.pictures import IIIF, Pictures, Wanted, iiif_address
from hayloft.gateway.presenting import base_url
from hayloft.types import PHOTO_ID_BITS, AlternateKey, PhotoId, parse_cookie
from hayloft.wire.asgi import Message, Scope, Send, request_id_of, request_id_variable, send_error

RENDITION_ROUTE: Final = "/photo/{photo_id}/{rendition}"
IIIF_ROUTE: Final = "/iiif/3/{identifier}"

_RENDITION_PATH: Final = re.compile(
    r"/photo/([0-9]{1,16})(?:/([0-9a-f]{16}))?(?:/(large|medium|small|thumb))?", re.ASCII
)
_IDENTIFIER: Final = re.compile(r"([0-9]{1,16})(?:-([0-9a-f]{16}))?", re.ASCII)
_METHODS: Final = ("GET", "HEAD")
_ANY_ORIGIN: Final = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, x-api-key"),
    (b"access-control-expose-headers", b"link, etag, x-request-id"),
]

_log = structlog.get_logger(__name__)


class PictureFront:
    """Serves what is ``pictures``' own."""

    def __init__(self, pictures: Pictures, metrics: Metrics, public_url: str | None) -> None:
        self._pictures = pictures
        self._metrics = metrics
        self._public_url = public_url

    def takes(self, scope: Scope) -> bool:
        """Whether this request is for a rendition or an IIIF picture. Cheap: originals ask, too."""
        path: str = scope["path"]
        if path.startswith(IIIF):
            return True
        if scope["method"] not in _METHODS or not path.startswith("/photo/"):
            return False
        if path.endswith(("/thumb", "/small", "/medium", "/large")):
            return _RENDITION_PATH.fullmatch(path) is not None
        query: bytes = scope["query_string"]
        asks = b"size=" in query and b"size=orig" not in query
        return asks and _RENDITION_PATH.fullmatch(path) is not None

    async def __call__(self, scope: Scope, send: Send) -> None:
        """Serve one request that ``takes`` has taken."""
        request_id = request_id_of(scope)
        request_id_variable.set(request_id)
        started = time.perf_counter()
        is_iiif = scope["path"].startswith(IIIF)
        send = _with_headers(send, _ANY_ORIGIN if is_iiif else [])
        status = InternalError.status
        try:
            answer = await (self._iiif(scope) if is_iiif else self._rendition(scope))
            status = answer.status
            await _send(send, answer, request_id)
        except HayloftError as error:
            status = error.status
            await send_error(send, error, request_id)
        except Exception:
            _log.exception("picture failed", path=scope["path"], request_id=request_id)
            await send_error(send, InternalError(), request_id)
        finally:
            route = IIIF_ROUTE if is_iiif else RENDITION_ROUTE
            self._metrics.request(scope["method"], route, status, time.perf_counter() - started)

    async def _rendition(self, scope: Scope) -> Answer:
        match = _RENDITION_PATH.fullmatch(scope["path"])
        assert match is not None, "takes() said so"
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        label = match[3] or query["size"][-1]
        key = AlternateKey.parse(label)
        if key is None or key is AlternateKey.ORIG:
            raise InvalidRequest("The size is one of thumb, small, medium, large, orig.", size=label)
        wanted = _wanted(scope, match[1], match[2])
        return await self._pictures.rendition(wanted, key, query.get("format", [None])[-1])

    async def _iiif(self, scope: Scope) -> Answer:
        if scope["method"] == "OPTIONS":
            return Answer(204, [], b"")
        if scope["method"] not in _METHODS:
            raise MethodNotAllowed(allow="GET, HEAD, OPTIONS")
        identifier, *rest = scope["path"].removeprefix(IIIF).split("/")
        match = _IDENTIFIER.fullmatch(identifier)
        if match is None or len(rest) not in (0, 1, 4) or (len(rest) == 1 and rest[0] != "info.json"):
            raise RouteNotFound(f"There is nothing at {scope['path']}.")
        wanted = _wanted(scope, match[1], match[2])
        base = base_url(self._public_url, scope.get("scheme", "http"), wanted.headers)
        address = iiif_address(base, wanted.photo, wanted.cookie)
        if len(rest) == 4:
            return await self._pictures.picture(wanted, "/".join(rest), address)
        if rest:
            return await self._pictures.information(wanted, address)
        return Answer(303, [(b"location", f"{address}/info.json".encode())], b"")


def _wanted(scope: Scope, number: str, cookie: str | None) -> Wanted:
    photo = int(number)
    if photo >> PHOTO_ID_BITS:
        raise RouteNotFound(f"There is nothing at {scope['path']}.")
    return Wanted(
        photo=PhotoId(photo),
        cookie=None if cookie is None else parse_cookie(cookie),
        headers=dict(scope["headers"]),
        head=scope["method"] == "HEAD",
    )


def _with_headers(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    if not headers:
        return send

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    return wrapped


async def _send(send: Send, answer: Answer, request_id: str) -> None:
    headers: list[Any] = [*answer.headers, (b"x-request-id", request_id.encode())]
    if answer.status in (204, 303):
        headers.append((b"content-length", b"0"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
