"""A directory on the other side of HTTP: ``roles.Directory``, spoken to ``server`` or to any peer of
its kind.

Commits that are asked for while a request is under way travel together in the next one, as in the
directory's own transactions, so an upload costs well under one round trip under load. What may safely
reach the directory twice is repeated when it does not answer; which of several directories is asked is
``failover``'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hayloft.directory import wire
from hayloft.directory.batching import Batcher
from hayloft.directory.failover import Directories
from hayloft.errors import HayloftError
from hayloft.limits import COMMIT_BATCH_PHOTOS_MAX
from hayloft.types import (
    AlternateKey,
    Committed,
    DirectoryStatistics,
    Event,
    EventKind,
    KnownStore,
    Lease,
    NewPhoto,
    ParkedEvent,
    PhotoDetails,
    PhotoEntry,
    PhotoId,
    PhotoPage,
    PhotoQuery,
    PhotoRecord,
    Placement,
    ReplicaState,
    StoreHealth,
    StoreId,
    VolumeId,
    volume_name,
)
from hayloft.types import Sequence as SequenceNumber
from hayloft.wire.breaker import Breaker
from hayloft.wire.details import details_to_json
from hayloft.wire.session import Patience


class DirectoryClient:
    """The directory at ``url``, at several of them, or at the Unix socket ``uds`` when given.

    Every method raises RoleUnavailable when no directory answers.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        uds: Path | None = None,
        patience: Patience | None = None,
        secret: bytes | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        urls = [url] if isinstance(url, str) else list(url)
        self._session = Directories(urls, uds=uds, patience=patience, secret=secret, breaker=breaker)
        self._commits: Batcher[NewPhoto, Committed] = Batcher(
            self._commit_all, size_max=COMMIT_BATCH_PHOTOS_MAX
        )

    async def lease(self, *, holder: str, count: int, avoid: Collection[StoreId] = ()) -> Lease:
        """Lease a block of ids; a block whose answer is lost is wasted, which costs nothing."""
        body = {"holder": holder, "count": count, "avoid": list(avoid)}
        return wire.LEASE.validate_python(await self._post("/lease", body, repeatable=True))

    async def allocate(self, *, size: int, alternate_key: AlternateKey = AlternateKey.ORIG) -> PhotoRecord:
        """Allocate one photo in status ``alloc``."""
        body = {"size": size, "alt_key": alternate_key.label}
        return wire.record_from_json({**await self._post("/allocate_write", body), "status": "alloc"})

    async def commit(self, photo: NewPhoto) -> Committed:
        """Record a durable photo as active."""
        return await self._commits.ask(photo)

    async def commit_allocated(self, photo: PhotoId) -> PhotoRecord:
        """Make an allocated photo active."""
        told = await self._post("/commit_write", {"photo_id": photo}, repeatable=True)
        return wire.record_from_json({**told, "status": "active"})

    async def delete(self, photo: PhotoId) -> PhotoRecord:
        """Mark a photo deleted; the record is as it was before this call, or before its repetition."""
        told = await self._post("/delete", {"photo_id": photo}, repeatable=True)
        return wire.record_from_json(told["before"])

    async def photo(self, photo: PhotoId) -> PhotoRecord:
        """A photo's record."""
        return wire.record_from_json(await self._get(f"/photo/{photo}"))

    async def photos(self, query: PhotoQuery) -> PhotoPage:
        """One page of photos."""
        told = await self._get("/photos", _page_query(query))
        return PhotoPage(
            photos=tuple(wire.record_from_json(record) for record in told["photos"]),
            next_cursor=told["next_cursor"],
            total=told["total"],
        )

    async def known(self, digests: Sequence[bytes]) -> Mapping[bytes, PhotoId]:
        """The oldest active photo for each digest that is here."""
        body = {"sha256": [digest.hex() for digest in digests]}
        told = await self._post("/known", body, repeatable=True)
        return {bytes.fromhex(digest): PhotoId(photo) for digest, photo in told["known"].items()}

    async def set_details(self, photo: PhotoId, details: PhotoDetails) -> None:
        """Record what a photo's file says about it."""
        body = {"photo_id": photo, "details": details_to_json(details)}
        await self._session.request("PUT", "/details", body=body)

    async def details(self, photos: Sequence[PhotoId]) -> Mapping[PhotoId, PhotoDetails]:
        """The details of those of the photos that have been recorded."""
        told = await self._post("/details", {"photo_ids": list(photos)}, repeatable=True)
        return {PhotoId(int(photo)): wire.details_from(one) for photo, one in told["details"].items()}

    async def statistics(self) -> DirectoryStatistics:
        """Totals."""
        return wire.STATISTICS.validate_python(await self._get("/statistics"))

    async def placement(self, volume: VolumeId) -> Placement:
        """Where a volume's replicas are."""
        return wire.PLACEMENT.validate_python(await self._get(f"/placement/{volume_name(volume)}"))

    async def placements(self) -> tuple[Placement, ...]:
        """All volumes."""
        return wire.PLACEMENTS.validate_python(await self._get("/placements"))

    async def stores(self) -> tuple[KnownStore, ...]:
        """All stores that ever sent a heartbeat."""
        return wire.STORES.validate_python(await self._get("/stores"))

    async def replicas(self) -> tuple[ReplicaState, ...]:
        """Every replica of every volume."""
        return wire.REPLICAS.validate_python(await self._get("/replicas"))

    async def register(
        self, health: StoreHealth, *, url: str | None = None, zone: str | None = None
    ) -> None:
        """A store's heartbeat."""
        body = {"health": wire.HEALTH.dump_python(health, mode="json"), "url": url, "zone": zone}
        await self._post("/register", body, repeatable=True)

    async def set_writable(self, volume: VolumeId, writable: bool) -> None:
        """Put a volume into, or take it out of, the writable set."""
        body = {"logical_volume": volume_name(volume), "writable": writable}
        await self._post("/writable", body, repeatable=True)

    async def report_failure(self, volume: VolumeId, store: StoreId, reason: str) -> None:
        """A replica failed."""
        body = {"logical_volume": volume_name(volume), "store": store, "reason": reason}
        await self._post("/failure", body, repeatable=True)

    async def mend(self, volume: VolumeId, store: StoreId) -> None:
        """A replica is whole again."""
        body = {"logical_volume": volume_name(volume), "store": store}
        await self._post("/mend", body, repeatable=True)

    async def replace_replica(self, volume: VolumeId, old: StoreId | None, new: StoreId) -> None:
        """Have a replica made on another store; never repeated, because it may have been done."""
        await self._post("/replace", {"logical_volume": volume_name(volume), "old": old, "new": new})

    async def volume_photos(
        self, volume: VolumeId, *, after: SequenceNumber | None = None, limit: int
    ) -> tuple[PhotoEntry, ...]:
        """A volume's photos in order of their ids."""
        query: dict[str, str | int | float] = {"limit": limit}
        if after is not None:
            query["after"] = after
        told = await self._get(f"/placement/{volume_name(volume)}/photos", query)
        return wire.ENTRIES.validate_python(told["photos"])

    async def append_event(self, kind: EventKind, photo: PhotoId, payload: Mapping[str, Any]) -> int:
        """Append to the event log; never repeated, because it would appear twice."""
        body = {"kind": kind.value, "photo_id": photo, "payload": dict(payload)}
        position: int = (await self._post("/events", body))["position"]
        return position

    async def events(
        self,
        *,
        after: int,
        limit: int,
        wait_seconds: float = 0.0,
        kinds: Collection[EventKind] | None = None,
    ) -> tuple[Event, ...]:
        """Events past ``after``, in order; the waiting is done by the directory."""
        waiting = min(wait_seconds, self._session.waiting_seconds_max)
        query: dict[str, str | int | float] = {"after": after, "limit": limit, "wait_seconds": waiting}
        if kinds is not None:
            query["kinds"] = ",".join(sorted(kinds))
        return wire.EVENTS.validate_python((await self._get("/events", query))["events"])

    async def position(self, consumer: str) -> int:
        """How far a consumer has got."""
        position: int = (await self._get(_consumer(consumer)))["position"]
        return position

    async def advance(self, consumer: str, position: int) -> None:
        """Remember how far a consumer has got."""
        await self._session.request("PUT", _consumer(consumer), body={"position": position})

    async def park(self, consumer: str, event: Event, reason: str) -> None:
        """Set an event aside; if the answer is lost, it may be counted twice."""
        body = {"event": wire.EVENT.dump_python(event, mode="json"), "reason": reason}
        await self._post(_consumer(consumer) + "/parked", body, repeatable=True)

    async def parked(self, consumer: str, *, limit: int = 1000) -> tuple[ParkedEvent, ...]:
        """A consumer's parked events."""
        told = await self._get(_consumer(consumer) + "/parked", {"limit": limit})
        return wire.PARKED.validate_python(told["parked"])

    async def retry(self, consumer: str, position: int | None = None) -> int:
        """Have parked events delivered once more."""
        told = await self._post(_consumer(consumer) + "/retry", {"position": position}, repeatable=True)
        due: int = told["due"]
        return due

    async def due(self, consumer: str, *, limit: int) -> tuple[Event, ...]:
        """Parked events that are to be delivered once more."""
        told = await self._get(_consumer(consumer) + "/due", {"limit": limit})
        return wire.EVENTS.validate_python(told["events"])

    async def unpark(self, consumer: str, position: int) -> None:
        """A parked event has been dealt with."""
        await self._session.request("DELETE", f"{_consumer(consumer)}/parked/{position}")

    async def close(self) -> None:
        """Finish what is in flight, close connections."""
        await self._commits.close()
        await self._session.close()

    async def _commit_all(self, batch: Sequence[NewPhoto]) -> Sequence[Committed | HayloftError]:
        # The same photo committed again is no error, so the whole batch may be repeated.
        body = {"photos": [wire.new_photo_to_json(photo) for photo in batch]}
        told = await self._post("/commit", body, repeatable=True)
        return [wire.outcome_from_json(outcome) for outcome in told["results"]]

    async def _get(self, path: str, query: Mapping[str, str | int | float] | None = None) -> Any:
        return (await self._session.request("GET", path, query=query)).json()

    async def _post(self, path: str, body: Any, *, repeatable: bool = False) -> Any:
        return (await self._session.request("POST", path, body=body, repeatable=repeatable)).json()


def _consumer(name: str) -> str:
    return f"/consumers/{quote(name, safe='')}"


def _page_query(query: PhotoQuery) -> dict[str, str | int | float]:
    given: dict[str, str | int | None] = {
        "status": "any" if query.status is None else query.status.value,
        "media_type": query.media_type,
        "from": query.created_from_ms,
        "until": query.created_until_ms,
        "order": "desc" if query.newest_first else "asc",
        "sha256": None if query.sha256 is None else query.sha256.hex(),
        "cursor": query.cursor,
        "offset": query.offset or None,
        "limit": query.limit,
    }
    return {name: value for name, value in given.items() if value is not None}
