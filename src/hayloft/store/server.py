"""A store over HTTP: any implementation of ``roles.Store`` behind the store's wire contract.

Appends and reads, which carry photo bytes, are a bare ASGI callable; the rest is FastAPI behind it. The
volume in the address and the low half of the photo id choose the needle, so ids given out by other
directories work, small and sparse ones included. A read that names no alternate key takes the original,
or else whatever rendition there is, because peers may know a photo by its id alone. Upload bytes in
memory are bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs

import structlog
from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from hayloft import limits
from hayloft.errors import (
    HayloftError,
    InternalError,
    MethodNotAllowed,
    Overloaded,
    PhotoNotFound,
    UploadTooLarge,
)
from hayloft.roles import Store, StoredNeedle
from hayloft.store import wire
from hayloft.store.replica_routes import add_replica_routes
from hayloft.types import (
    PHOTO_ID_BITS,
    AlternateKey,
    Existence,
    NewNeedle,
    PhotoId,
    VolumeId,
    photo_id,
    sequence_of,
)
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
from hayloft.wire.authentication import VERIFIED_DIGEST

DIGEST_INLINE_BYTES_MAX: Final = 256 << 10
"""Bodies up to this size are hashed on the event loop: a quarter of a millisecond at most."""


_log = structlog.get_logger(__name__)


class PhotoReference(BaseModel):
    """A photo by its id."""

    photo_id: int = Field(ge=0, lt=1 << PHOTO_ID_BITS)


def store_application(store: Store, *, version: str = "1", lifespan: Lifespan | None = None) -> App:
    """The ASGI application that serves this store."""
    return _PhotoBytes(store, _volume_routes(store, version, lifespan))


class _PhotoBytes:
    """Answers the requests that carry photo bytes, and passes the others on."""

    def __init__(self, store: Store, others: App) -> None:
        self._store = store
        self._others = others
        self._in_flight_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        steps: list[str] = scope["path"].split("/") if scope["type"] == "http" else []
        if len(steps) != 4 or steps[1] != "volume" or steps[3] not in ("append", "read"):
            await self._others(scope, receive, send)
            return
        request_id = request_id_of(scope)
        token = request_id_variable.set(request_id)
        try:
            if steps[3] == "append":
                await self._append(steps[2], scope, receive, send, request_id)
            else:
                await self._read(steps[2], scope, send, request_id)
        except HayloftError as error:
            await send_error(send, error, request_id)
        except ClientDisconnected:
            return
        except Exception:
            _log.exception("request failed", path=scope["path"], request_id=request_id)
            await send_error(send, InternalError(), request_id)
        finally:
            request_id_variable.reset(token)

    async def _append(self, name: str, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        _only(scope, "POST")
        headers = {str(key, "latin-1"): str(value, "latin-1") for key, value in scope["headers"]}
        volume = wire.parse_volume(name)
        photo = needles.parse_photo(headers.get(needles.PHOTO))
        alternate_key = needles.parse_alternate_key(headers.get(needles.ALTERNATE_KEY))
        with self._room_for(headers.get("content-length", ""), limits.UPLOAD_BYTES_MAX):
            data = await read_body(receive, bytes_max=limits.UPLOAD_BYTES_MAX)
            digest = scope.get(VERIFIED_DIGEST) or await _digest(data)
            needle = NewNeedle(
                photo=photo_id(volume, sequence_of(photo)),
                cookie=needles.read_cookie(headers.get(needles.COOKIE)),
                data=data,
                alternate_key=alternate_key,
                metadata=needles.read_metadata(headers, digest),
            )
            appended = await self._store.append(volume, needle)
        answer = {
            "status": "stored",
            "lv": name,
            "photo_id": photo,
            "offset": appended.offset,
            "size": appended.size,
            "checksum": digest.hex(),
        }
        await send_json(send, 200, answer, request_id)

    @contextmanager
    def _room_for(self, announced: str, bytes_max: int) -> Iterator[None]:
        """Hold memory for a body of so many bytes; one of unknown length counts as the largest."""
        size = int(announced) if announced.isascii() and announced.isdigit() else bytes_max
        if size > bytes_max:
            raise UploadTooLarge(limit_bytes=bytes_max)
        if self._in_flight_bytes + size > limits.UPLOAD_MEMORY_BYTES_MAX:
            raise Overloaded(retry_after_seconds=limits.RETRY_AFTER_SECONDS)
        self._in_flight_bytes += size
        try:
            yield
        finally:
            self._in_flight_bytes -= size

    async def _read(self, name: str, scope: Scope, send: Send, request_id: str) -> None:
        _only(scope, "GET", "HEAD")
        query = parse_qs(str(scope["query_string"], "latin-1"))
        photo = _local(wire.parse_volume(name), needles.parse_photo(query.get("photo_id", [None])[-1]))
        label = query.get("alt_key", [None])[-1]
        needle, key = (
            await _read_any(self._store, photo)
            if label is None
            else (
                await self._store.read(photo, needles.parse_alternate_key(label)),
                needles.parse_alternate_key(label),
            )
        )
        headers = needles.write_needle(needle, key)
        headers |= {
            "content-length": str(len(needle.data)),
            needles.CHECKSUM: needles.checksum(needle.data),
            REQUEST_ID: request_id,
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        # The needle's own memory goes out; nothing is copied here.
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else needle.data}
        )


def _volume_routes(store: Store, version: str, lifespan: Lifespan | None) -> FastAPI:
    app = application(title="Hayloft store", version=version, lifespan=lifespan)

    @app.post("/volume/{lv}/delete")
    async def delete(lv: str, photo: PhotoReference) -> dict[str, Any]:
        """Delete all of a photo's needles, durably."""
        deleted = await store.delete(_local(wire.parse_volume(lv), PhotoId(photo.photo_id)))
        return {"status": "deleted" if deleted else "not_found", "lv": lv, "photo_id": photo.photo_id}

    @app.get("/volume/{lv}/exists")
    async def exists(lv: str, photo_id: str = Query(), alt_key: str | None = None) -> dict[str, Any]:
        """What the index says of a photo."""
        photo = _local(wire.parse_volume(lv), needles.parse_photo(photo_id))
        if alt_key is not None:
            found = await store.stat(photo, needles.parse_alternate_key(alt_key))
        else:
            found = (await _stat_any(store, photo))[0]
        return {
            "exists": found.exists,
            "offset": found.offset,
            "size": found.size,
            "deleted": found.deleted,
        }

    @app.post("/volume/{lv}/seal")
    async def seal(lv: str) -> dict[str, Any]:
        """Make a volume read-only for good."""
        await store.seal(wire.parse_volume(lv))
        return {"status": "sealed", "lv": lv}

    @app.post("/volume/{lv}/verify")
    async def verify(lv: str) -> dict[str, Any]:
        """Read a whole volume from disk and compare it with its index."""
        return wire.report_to_json(await store.verify(wire.parse_volume(lv)))

    @app.post("/volume/{lv}/compact")
    async def compact(lv: str) -> dict[str, Any]:
        """Reclaim the space of deleted and replaced needles."""
        return wire.compaction_to_json(await store.compact(wire.parse_volume(lv)))

    add_replica_routes(app, store)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Volumes, free space, capacity."""
        return wire.health_to_json(await store.health())

    return app


async def _read_any(store: Store, photo: PhotoId) -> tuple[StoredNeedle, AlternateKey]:
    """The original, or the largest rendition if that is all there is."""
    try:
        return await store.read(photo), AlternateKey.ORIG
    except PhotoNotFound:
        found, key = await _stat_any(store, photo)
        if not found.exists and not found.deleted:
            raise
        return await store.read(photo, key), key


async def _stat_any(store: Store, photo: PhotoId) -> tuple[Existence, AlternateKey]:
    first = await store.stat(photo)
    if first.exists or first.deleted:
        return first, AlternateKey.ORIG
    for key in tuple(AlternateKey)[1:]:
        found = await store.stat(photo, key)
        if found.exists or found.deleted:
            return found, key
    return first, AlternateKey.ORIG


def _local(volume: VolumeId, photo: PhotoId) -> PhotoId:
    """The id under which this store keeps a photo: the volume is the address's, whatever the id says."""
    return photo_id(volume, sequence_of(photo))


async def _digest(data: bytes) -> bytes:
    if len(data) <= DIGEST_INLINE_BYTES_MAX:
        return hashlib.sha256(data).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(data).digest())


def _only(scope: Scope, *methods: str) -> None:
    if scope["method"] not in methods:
        raise MethodNotAllowed(allow=", ".join(methods))
