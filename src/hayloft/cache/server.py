"""A cache over HTTP: any implementation of ``roles.Cache`` behind the cache's wire contract.

Renditions, which carry photo bytes, are a bare ASGI callable; the rest is FastAPI behind it. A photo's
original is at the contract's address, its other renditions one step further
(``/cache/photo/{photo_id}/thumb``), where a peer that knows only the contract finds nothing: it can neither
take a thumbnail for the original nor be given one as such. Bytes travel with their CRC-32C when the other
side knows it. Upload bytes in memory are bounded.
"""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI

from hayloft import limits
from hayloft.errors import (
    EmptyUpload,
    HayloftError,
    InternalError,
    MethodNotAllowed,
    Overloaded,
    PhotoNotFound,
    UploadTooLarge,
)
from hayloft.roles import Cache
from hayloft.types import AlternateKey, CacheMiss, NewNeedle, PhotoId
from hayloft.wire import needles
from hayloft.wire.asgi import (
    REQUEST_ID,
    App,
    ClientDisconnected,
    Lifespan,
    Receive,
    Scope,
    Send,
    application,
    read_body,
    request_id_of,
    request_id_variable,
    send_error,
    send_json,
)

_log = structlog.get_logger(__name__)


def cache_application(cache: Cache, *, version: str = "1", lifespan: Lifespan | None = None) -> App:
    """The ASGI application that serves this cache."""
    return _Renditions(cache, _other_routes(cache, version, lifespan))


class _Renditions:
    """Answers the requests for photo bytes, and passes the others on."""

    def __init__(self, cache: Cache, others: App) -> None:
        self._cache = cache
        self._others = others
        self._in_flight_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        steps: list[str] = scope["path"].split("/") if scope["type"] == "http" else []
        if len(steps) not in (4, 5) or steps[1:3] != ["cache", "photo"]:
            await self._others(scope, receive, send)
            return
        request_id = request_id_of(scope)
        token = request_id_variable.set(request_id)
        try:
            await self._answer(steps[3:], scope, receive, send, request_id)
        except HayloftError as error:
            await send_error(send, error, request_id)
        except ClientDisconnected:
            return
        except Exception:
            _log.exception("request failed", path=scope["path"], request_id=request_id)
            await send_error(send, InternalError(), request_id)
        finally:
            request_id_variable.reset(token)

    async def _answer(
        self, names: list[str], scope: Scope, receive: Receive, send: Send, request_id: str
    ) -> None:
        photo = needles.parse_photo(names[0])
        whole = len(names) == 1
        key = AlternateKey.ORIG if whole else needles.parse_alternate_key(names[1])
        match scope["method"]:
            case "GET" | "HEAD":
                await self._read(photo, key, scope["method"] == "HEAD", send, request_id)
            case "POST":
                await self._fill(photo, key, scope, receive, send, request_id)
            case "DELETE" if whole:
                deleted = await self._cache.delete(photo)
                status = "deleted" if deleted else "not_found"
                await send_json(send, 200, {"status": status, "photo_id": photo}, request_id)
            case _:
                raise MethodNotAllowed(allow="GET, HEAD, POST, DELETE" if whole else "GET, HEAD, POST")

    async def _read(
        self, photo: PhotoId, key: AlternateKey, head: bool, send: Send, request_id: str
    ) -> None:
        found = await self._cache.get(photo, key)
        if isinstance(found, CacheMiss):
            raise PhotoNotFound("The photo is not in this cache.", lease=found.lease)
        headers = needles.write_needle(found, key)
        if found.cookie == needles.COOKIE_UNKNOWN:
            del headers[needles.COOKIE]
        headers |= {
            "content-length": str(len(found.data)),
            needles.CHECKSUM: needles.checksum(found.data),
            REQUEST_ID: request_id,
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if head else found.data})

    async def _fill(
        self,
        photo: PhotoId,
        key: AlternateKey,
        scope: Scope,
        receive: Receive,
        send: Send,
        request_id: str,
    ) -> None:
        headers = {str(name, "latin-1"): str(value, "latin-1") for name, value in scope["headers"]}
        announced = headers.get("content-length", "")
        # A body of unknown length counts as the largest.
        size = int(announced) if announced.isascii() and announced.isdigit() else limits.UPLOAD_BYTES_MAX
        if size > limits.UPLOAD_BYTES_MAX:
            raise UploadTooLarge(limit_bytes=limits.UPLOAD_BYTES_MAX)
        if self._in_flight_bytes + size > limits.UPLOAD_MEMORY_BYTES_MAX:
            raise Overloaded(retry_after_seconds=limits.RETRY_AFTER_SECONDS)
        self._in_flight_bytes += size
        try:
            data = await read_body(receive, bytes_max=limits.UPLOAD_BYTES_MAX)
            if not data:
                raise EmptyUpload
            needles.check(data, headers.get(needles.CHECKSUM))
            kept = await self._cache.put(
                _needle(photo, key, data, headers), lease=headers.get(needles.LEASE)
            )
        finally:
            self._in_flight_bytes -= size
        answer = {"status": "stored" if kept else "refused", "photo_id": photo, "size": len(data)}
        await send_json(send, 200, answer, request_id)


def _needle(photo: PhotoId, key: AlternateKey, data: bytes, headers: dict[str, str]) -> NewNeedle:
    # Where nobody told the cookie it stays unknown: a made-up one would only look like a wrong one.
    cookie = needles.read_cookie(headers[needles.COOKIE]) if headers.get(needles.COOKIE) else None
    return NewNeedle(
        photo=photo,
        cookie=needles.COOKIE_UNKNOWN if cookie is None else cookie,
        data=data,
        alternate_key=key,
        metadata=needles.read_needle_metadata(headers),
    )


def _other_routes(cache: Cache, version: str, lifespan: Lifespan | None) -> FastAPI:
    app = application(title="Hayloft cache", version=version, lifespan=lifespan)

    async def size_of(photo: str, key: AlternateKey) -> dict[str, Any]:
        size = await cache.size(needles.parse_photo(photo), key)
        return {"exists": size is not None, "size": size or 0}

    @app.get("/cache/exists/{photo_id}")
    async def exists(photo_id: str) -> dict[str, Any]:
        """Whether a photo's original is here."""
        return await size_of(photo_id, AlternateKey.ORIG)

    @app.get("/cache/exists/{photo_id}/{alt_key}")
    async def rendition_exists(photo_id: str, alt_key: str) -> dict[str, Any]:
        """Whether one of a photo's renditions is here."""
        return await size_of(photo_id, needles.parse_alternate_key(alt_key))

    @app.get("/cache/stats")
    async def statistics() -> dict[str, Any]:
        """How full the cache is, how well it does."""
        told = await cache.statistics()
        return {
            "items": told.items,
            "bytes": told.size_bytes,
            "max_bytes": told.size_bytes_max,
            "max_items": told.items_max,
            "ttl": told.ttl_seconds,
            "hits": told.hits,
            "misses": told.misses,
            "memory_items": told.memory_items,
            "disk_items": told.disk_items,
        }

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """The cache is alive."""
        return {"service": "cache", "status": "ok", "items": (await cache.statistics()).items}

    return app
