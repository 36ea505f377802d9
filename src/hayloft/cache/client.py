"""A cache on another machine: ``roles.Cache`` spoken over HTTP.

Works with every cache that speaks the wire contract; one that knows no leases is filled without any, and
one that tells no cookies answers with unknown ones. Bytes that are not those of the CRC-32C which came with
them count as a miss. Patience is short, because a miss is never far away: the store has the photo too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from hayloft.errors import InvalidRequest, NotFound
from hayloft.types import (
    AlternateKey,
    CacheMiss,
    CacheStatistics,
    Cookie,
    NeedleMetadata,
    NewNeedle,
    PhotoId,
    format_cookie,
    parse_cookie,
)
from hayloft.wire import needles
from hayloft.wire.breaker import Breaker
from hayloft.wire.channels import Channels
from hayloft.wire.session import Patience, Session

PATIENCE: Final = Patience(connect_seconds=0.25, total_seconds=1.0, attempts=1)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRendition:
    """A rendition as it came over the wire."""

    cookie: Cookie
    data: bytes
    metadata: NeedleMetadata


class CacheClient:
    """The cache at ``url``, or at the Unix socket ``uds`` when given."""

    def __init__(
        self,
        url: str,
        *,
        uds: Path | None = None,
        patience: Patience | None = None,
        secret: bytes | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        patience = patience or PATIENCE
        self._session = Session(url, uds=uds, patience=patience, secret=secret, breaker=breaker)
        self._channels = Channels(
            url,
            uds=uds,
            connect_seconds=patience.connect_seconds,
            total_seconds=patience.total_seconds,
            secret=secret,
            breaker=breaker,
        )

    async def get(
        self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG
    ) -> RemoteRendition | CacheMiss:
        """A rendition whose bytes are those that the cache sent, or a miss."""
        try:
            answer = await self._channels.get(_address("photo", photo, alternate_key))
        except NotFound as miss:
            return CacheMiss(lease=str(miss.details.get("lease", "")))
        try:
            needles.check(answer.body, answer.headers.get(needles.CHECKSUM))
        except InvalidRequest:
            _log.warning("cache sent damaged bytes", cache=self._session.url, photo=photo)
            return CacheMiss(lease=None)
        cookie = parse_cookie(answer.headers.get(needles.COOKIE, ""))
        return RemoteRendition(
            cookie=needles.COOKIE_UNKNOWN if cookie is None else cookie,
            data=answer.body,
            metadata=needles.read_needle_metadata(answer.headers),
        )

    async def put(self, needle: NewNeedle, *, lease: str | None = None) -> bool:
        """Keep a rendition; False if the cache refused it."""
        headers = {
            needles.CHECKSUM: needles.checksum(needle.data),
            **needles.write_metadata(needle.metadata),
        }
        if needle.cookie != needles.COOKIE_UNKNOWN:
            headers[needles.COOKIE] = format_cookie(needle.cookie)
        if lease:
            headers[needles.LEASE] = lease
        answer = await self._session.request(
            "POST",
            _address("photo", needle.photo, needle.alternate_key),
            data=needle.data,
            headers=headers,
        )
        return bool(answer.json()["status"] == "stored")

    async def size(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> int | None:
        """A rendition's bytes, or None."""
        try:
            told = (await self._session.request("GET", _address("exists", photo, alternate_key))).json()
        except NotFound:
            return None
        return int(told["size"]) if told["exists"] else None

    async def delete(self, photo: PhotoId) -> bool:
        """Forget all of a photo's renditions."""
        answer = await self._session.request("DELETE", f"/cache/photo/{photo}")
        return bool(answer.json()["status"] == "deleted")

    async def statistics(self) -> CacheStatistics:
        """How full it is; what only ours tell is 0 with others."""
        told = (await self._session.request("GET", "/cache/stats")).json()
        return CacheStatistics(
            items=int(told["items"]),
            size_bytes=int(told["bytes"]),
            items_max=int(told["max_items"]),
            size_bytes_max=int(told["max_bytes"]),
            ttl_seconds=float(told["ttl"]),
            hits=int(told.get("hits", 0)),
            misses=int(told.get("misses", 0)),
            memory_items=int(told.get("memory_items", 0)),
            disk_items=int(told.get("disk_items", 0)),
        )

    async def close(self) -> None:
        """Close all connections; the peer keeps what it has."""
        await self._channels.close()
        await self._session.close()


def _address(what: str, photo: PhotoId, alternate_key: AlternateKey) -> str:
    original = alternate_key is AlternateKey.ORIG
    return f"/cache/{what}/{photo}" + ("" if original else f"/{alternate_key.label}")
