"""A store on another machine: ``roles.Store`` spoken over HTTP.

Works with every store that speaks the wire contract; what only ours tell (cookies, metadata, sizes of
volumes) is empty with others. Appends and deletions may be repeated when a connection breaks, because the
same needle appended twice is the same needle. It knows nothing of what the store does with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence as Sequences
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hayloft.errors import (
    InvalidRequest,
    PhotoNotFound,
    RoleUnavailable,
    ShuttingDown,
    Unauthorized,
    VolumeNotFound,
)
from hayloft.store import replica_wire, wire
from hayloft.types import (
    SEQUENCE_BITS,
    AlternateKey,
    Appended,
    CompactionReport,
    Cookie,
    Existence,
    Imported,
    NeedleEntry,
    NeedleKey,
    NeedleMetadata,
    NewNeedle,
    PhotoId,
    Scrutiny,
    StoreHealth,
    StoreId,
    VolumeDigest,
    VolumeId,
    VolumeReport,
    format_cookie,
    parse_cookie,
    volume_name,
    volume_of,
)
from hayloft.wire import needles
from hayloft.wire.breaker import Breaker
from hayloft.wire.channels import Channels
from hayloft.wire.session import Patience, Session

DIGEST_BYTES: Final = 32

WHOLE_VOLUME: Final = Patience(total_seconds=3600.0, attempts=1)
"""For what reads or rewrites a whole volume: 32 GiB at the pace of a slow disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteNeedle:
    """A needle as it came over the wire."""

    cookie: Cookie
    data: bytes
    metadata: NeedleMetadata


class StoreClient:
    """The store at ``url``, or at the Unix socket ``uds`` when given."""

    def __init__(
        self,
        url: str,
        *,
        uds: Path | None = None,
        patience: Patience | None = None,
        secret: bytes | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        patience = patience or Patience()
        self._session = Session(url, uds=uds, patience=patience, secret=secret, breaker=breaker)
        self._channels = Channels(
            url,
            uds=uds,
            connect_seconds=patience.connect_seconds,
            total_seconds=patience.total_seconds,
            secret=secret,
            breaker=breaker,
        )
        self._long_session = Session(url, uds=uds, patience=WHOLE_VOLUME, secret=secret)

    async def append(self, volume: VolumeId, needle: NewNeedle) -> Appended:
        """Append a needle; it is on the peer's stable storage when this returns."""
        digest = needle.metadata.sha256
        if len(digest) != DIGEST_BYTES:
            digest = hashlib.sha256(needle.data).digest()
        try:
            answer = await self._channels.post(
                f"/volume/{volume_name(volume)}/append",
                needle.data,
                digest=digest,
                headers={
                    needles.PHOTO: str(needle.photo),
                    needles.COOKIE: format_cookie(needle.cookie),
                    needles.ALTERNATE_KEY: needle.alternate_key.label,
                    **needles.write_metadata(needle.metadata),
                },
            )
        except (ShuttingDown, Unauthorized) as refusal:
            # The peer is stopping, or does not accept our secret: nothing is wrong with the needle.
            raise RoleUnavailable(f"A store does not take writes: {refusal.message}") from refusal
        told = json.loads(answer.body)
        return Appended(offset=int(told["offset"]), size=int(told["size"]))

    async def read(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> RemoteNeedle:
        """Read a needle that the peer has verified, and that came over the wire as it was sent."""
        answer = await self._channels.get(
            f"/volume/lv-{photo >> SEQUENCE_BITS}/read?photo_id={photo}&alt_key={alternate_key.label}"
        )
        try:
            needles.check(answer.body, answer.headers.get(needles.CHECKSUM))
        except InvalidRequest as damaged:
            raise RoleUnavailable("The store sent other bytes than it announced.") from damaged
        cookie = parse_cookie(answer.headers.get(needles.COOKIE, ""))
        return RemoteNeedle(
            cookie=needles.COOKIE_UNKNOWN if cookie is None else cookie,
            data=answer.body,
            metadata=needles.read_needle_metadata(answer.headers),
        )

    def read_cached(
        self,
        photo: PhotoId,  # noqa: ARG002 - the protocol's signature
        alternate_key: AlternateKey = AlternateKey.ORIG,  # noqa: ARG002
    ) -> RemoteNeedle | None:
        """Nothing: asking the peer takes waiting."""
        return None

    def exists(
        self,
        photo: PhotoId,  # noqa: ARG002 - the protocol's signature
        alternate_key: AlternateKey = AlternateKey.ORIG,  # noqa: ARG002
    ) -> Existence | None:
        """Unknown without asking the peer."""
        return None

    async def stat(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Existence:
        """What the peer's index says of one needle."""
        answer = await self._session.request(
            "GET", _address(photo, "exists"), query=_query(photo, alternate_key)
        )
        told = answer.json()
        return Existence(
            exists=bool(told["exists"]),
            deleted=bool(told.get("deleted", False)),
            offset=int(told.get("offset") or 0),
            size=int(told.get("size") or 0),
        )

    async def delete(self, photo: PhotoId) -> bool:
        """Delete all of a photo's needles on the peer, durably."""
        try:
            answer = await self._session.request(
                "POST", _address(photo, "delete"), body={"photo_id": photo}, repeatable=True
            )
        except (PhotoNotFound, VolumeNotFound):
            return False
        return bool(answer.json()["status"] == "deleted")

    async def seal(self, volume: VolumeId) -> None:
        """Make a volume read-only for good."""
        await self._session.request("POST", f"/volume/{volume_name(volume)}/seal", repeatable=True)

    async def health(self) -> StoreHealth:
        """The peer's account of itself."""
        return wire.health_from_json((await self._session.request("GET", "/health")).json())

    async def verify(self, volume: VolumeId) -> VolumeReport:
        """Let the peer read a whole volume."""
        answer = await self._long_session.request("POST", f"/volume/{volume_name(volume)}/verify")
        return wire.report_from_json(answer.json())

    async def compact(self, volume: VolumeId) -> CompactionReport:
        """Let the peer compact a volume."""
        answer = await self._long_session.request("POST", f"/volume/{volume_name(volume)}/compact")
        return wire.compaction_from_json(answer.json())

    async def digest(self, volume: VolumeId, *, scrutiny: Scrutiny = Scrutiny.KNOWN) -> VolumeDigest:
        """Ask what the peer holds, in short; it may have to read the whole volume."""
        address = f"/volume/{volume_name(volume)}/digest"
        session = self._session if scrutiny is Scrutiny.INDEX else self._long_session
        answer = await session.request("GET", address, query={"scrutiny": scrutiny.value})
        return replica_wire.digest_from_json(volume, answer.json())

    async def needles(
        self,
        volume: VolumeId,
        *,
        after: NeedleKey | None = None,
        limit: int,
        scrutiny: Scrutiny = Scrutiny.KNOWN,
    ) -> tuple[NeedleEntry, ...]:
        """List the peer's needles past ``after``."""
        query: dict[str, str | int | float] = {"limit": limit, "scrutiny": scrutiny.value}
        if after is not None:
            query["after"] = replica_wire.key_to_text(after)
        address = f"/volume/{volume_name(volume)}/needles"
        answer = await self._session.request("GET", address, query=query)
        return replica_wire.entries_from_json(volume, answer.json()["needles"])

    async def export_needles(self, volume: VolumeId, needles: Sequences[NeedleKey]) -> bytes | memoryview:
        """Get records of these needles, as they are; who takes them over verifies them."""
        wanted = {"needles": [replica_wire.key_to_json(key) for key in needles]}
        body = json.dumps(wanted).encode()
        return await self._channels.fetch(
            f"/volume/{volume_name(volume)}/export",
            body,
            digest=hashlib.sha256(body).digest(),
            headers={"content-type": "application/json"},
        )

    async def fetch_needles(
        self, volume: VolumeId, needles: Sequences[NeedleKey], *, source: StoreId
    ) -> Imported:
        """Have the peer take needles over from another store; durable there when this returns."""
        answer = await self._session.request(
            "POST",
            f"/volume/{volume_name(volume)}/fetch",
            body={"source": source, "needles": [replica_wire.key_to_json(key) for key in needles]},
            repeatable=True,
        )
        return replica_wire.imported_from_json(answer.json())

    async def rebuild_index(self, volume: VolumeId) -> None:
        """Let the peer make a volume's index anew."""
        await self._long_session.request("POST", f"/volume/{volume_name(volume)}/rebuild_index")

    async def set_aside(self, volume: VolumeId) -> None:
        """Let the peer rename a volume that it cannot open."""
        await self._session.request("POST", f"/volume/{volume_name(volume)}/set_aside")

    async def close(self) -> None:
        """Close all connections; the peer's store stays open."""
        await self._channels.close()
        await self._session.close()
        await self._long_session.close()


def _address(photo: PhotoId, action: str) -> str:
    return f"/volume/{volume_name(volume_of(photo))}/{action}"


def _query(photo: PhotoId, alternate_key: AlternateKey) -> dict[str, str | int | float]:
    return {"photo_id": photo, "alt_key": alternate_key.label}
