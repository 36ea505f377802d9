"""A directory in memory, with its event log: everything the protocol promises but durability."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hayloft import errors
from hayloft.clock import Clock, SystemClock
from hayloft.testing.memory.paging import cursor_of, parse_cursor
from hayloft.types import (
    MISSING,
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
    PhotoStatus,
    Placement,
    ReplicaState,
    StoreHealth,
    StoreId,
    VolumeId,
    VolumeState,
    new_cookie,
    photo_id,
    volume_of,
)
from hayloft.types import Sequence as SequenceNumber

LEASE_COUNT_MAX = 1 << 16


class MemoryDirectory:
    """A directory in dictionaries: photos by id, placements by volume, events in a list."""

    def __init__(
        self,
        *,
        volumes_writable: int = 2,
        replicas: int = 1,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._volumes_writable = volumes_writable
        self._replicas = replicas
        self._stores: dict[StoreId, KnownStore] = {}
        self._volumes_told: dict[StoreId, dict[VolumeId, VolumeState]] = {}
        self._placed: dict[VolumeId, list[StoreId]] = {}
        self._failures: dict[tuple[VolumeId, StoreId], str] = {}
        self._withdrawn: set[VolumeId] = set()
        self._sealed: set[VolumeId] = set()
        self._next_sequence: dict[VolumeId, int] = defaultdict(lambda: 1)
        self._holders: dict[str, VolumeId] = {}
        self._photos: dict[PhotoId, PhotoRecord] = {}
        self._idempotent: dict[str, PhotoId] = {}
        self._details: dict[PhotoId, PhotoDetails] = {}
        self._events: list[Event] = []
        self._grown = asyncio.Event()
        self._positions: dict[str, int] = {}
        self._parked: dict[tuple[str, int], ParkedEvent] = {}

    async def lease(self, *, holder: str, count: int, avoid: Collection[StoreId] = ()) -> Lease:
        """Lease ids in the holder's volume, making volumes while there are too few."""
        if not 0 < count <= LEASE_COUNT_MAX:
            raise errors.InvalidRequest(f"A lease has 1 to {LEASE_COUNT_MAX} ids.")
        placement = await self._volume_for(holder, avoid)
        first = self._next_sequence[placement.volume]
        self._next_sequence[placement.volume] = first + count
        return Lease(
            volume=placement.volume,
            first=SequenceNumber(first),
            count=count,
            replicas=placement.replicas,
        )

    async def allocate(self, *, size: int, alternate_key: AlternateKey = AlternateKey.ORIG) -> PhotoRecord:
        """Allocate one photo."""
        lease = await self.lease(holder="allocate", count=1)
        record = PhotoRecord(
            photo=photo_id(lease.volume, lease.first),
            cookie=new_cookie(),
            status=PhotoStatus.ALLOC,
            alternate_key=alternate_key,
            replicas=lease.replicas,
            size=size,
            created_at_ms=self._clock.now_ms(),
        )
        self._photos[record.photo] = record
        return record

    async def commit(self, photo: NewPhoto) -> Committed:
        """Record a photo."""
        known = self._idempotent.get(photo.idempotency_key or "")
        if known is not None:
            return Committed(photo=known, cookie=self._photos[known].cookie, repeated=True)
        earlier = self._photos.get(photo.photo)
        if earlier is not None and earlier.status is not PhotoStatus.ALLOC:
            if earlier.sha256 != photo.sha256 or earlier.cookie != photo.cookie:
                raise errors.Conflict(photo_id=photo.photo)
            return Committed(photo=photo.photo, cookie=photo.cookie, repeated=True)
        duplicate_of = (await self.known([photo.sha256])).get(photo.sha256)
        self._photos[photo.photo] = PhotoRecord(
            photo=photo.photo,
            cookie=photo.cookie,
            status=PhotoStatus.ACTIVE,
            alternate_key=photo.alternate_key,
            replicas=await self._record_replicas(photo.photo),
            size=photo.size,
            sha256=photo.sha256,
            media_type=photo.media_type,
            width=photo.width,
            height=photo.height,
            name=photo.name,
            created_at_ms=photo.created_at_ms,
        )
        if photo.idempotency_key:
            self._idempotent[photo.idempotency_key] = photo.photo
        await self.append_event(EventKind.UPLOADED, photo.photo, {})
        return Committed(photo=photo.photo, cookie=photo.cookie, duplicate_of=duplicate_of)

    async def commit_allocated(self, photo: PhotoId) -> PhotoRecord:
        """Make an allocated photo active."""
        record = await self.photo(photo)
        if record.status is PhotoStatus.DELETED:
            raise errors.PhotoDeleted(photo_id=photo)
        if record.status is PhotoStatus.ALLOC:
            record = replace(record, status=PhotoStatus.ACTIVE)
            self._photos[photo] = record
            await self.append_event(EventKind.UPLOADED, photo, {})
        return record

    async def delete(self, photo: PhotoId) -> PhotoRecord:
        """Mark a photo deleted."""
        before = await self.photo(photo)
        if before.status is not PhotoStatus.DELETED:
            self._photos[photo] = replace(before, status=PhotoStatus.DELETED)
            self._details.pop(photo, None)
            await self.append_event(EventKind.DELETED, photo, {})
        return before

    async def photo(self, photo: PhotoId) -> PhotoRecord:
        """One photo's record."""
        record = self._photos.get(photo)
        if record is None:
            raise errors.PhotoNotFound(photo_id=photo)
        return record

    async def photos(self, query: PhotoQuery) -> PhotoPage:
        """One page; the cursor is the last id of the page before."""
        matching = sorted(
            (record for record in self._photos.values() if _matches(record, query)),
            key=lambda record: (record.created_at_ms, record.photo),
            reverse=query.newest_first,
        )
        start = 0
        if query.cursor is not None:
            last = parse_cursor(query.cursor)
            ids: list[int] = [record.photo for record in matching]
            start = ids.index(last) + 1 if last in ids else 0
        start += query.offset
        page = tuple(matching[start : start + query.limit])
        more = start + query.limit < len(matching)
        return PhotoPage(
            photos=page,
            next_cursor=cursor_of(page[-1].photo) if more and page else None,
            total=len(matching),
        )

    async def known(self, digests: Sequence[bytes]) -> Mapping[bytes, PhotoId]:
        """The oldest active photo of each digest."""
        wanted = set(digests)
        found: dict[bytes, PhotoId] = {}
        for record in self._photos.values():
            if record.status is PhotoStatus.ACTIVE and record.sha256 in wanted:
                found.setdefault(record.sha256, record.photo)
        return found

    async def placement(self, volume: VolumeId) -> Placement:
        """One volume, its healthy replicas first."""
        replicas = self._volume(volume)
        failing = {store for store in replicas if (volume, store) in self._failures}
        return Placement(
            volume=volume,
            replicas=tuple(sorted(replicas, key=lambda store: store in failing)),
            writable=not failing and volume not in self._withdrawn,
        )

    async def placements(self) -> tuple[Placement, ...]:
        """All volumes."""
        return tuple([await self.placement(volume) for volume in self._placed])

    async def replicas(self) -> tuple[ReplicaState, ...]:
        """All replicas of all volumes."""
        return tuple(
            ReplicaState(
                volume=volume,
                store=store,
                failure=self._failures.get((volume, store)),
                size_bytes=(told := self._told(store, volume)).size_bytes,
                needles=told.needles,
            )
            for volume in sorted(self._placed)
            for store in sorted(self._placed[volume])
        )

    async def register(
        self, health: StoreHealth, *, url: str | None = None, zone: str | None = None
    ) -> None:
        """A store's heartbeat; a replica that it spoke of before and does not any more is missing."""
        before = self._stores.get(health.store)
        self._stores[health.store] = KnownStore(
            store=health.store,
            url=url or (before.url if before else None),
            free_bytes=health.free_bytes,
            capacity_bytes=health.capacity_bytes,
            seen_at_ms=self._clock.now_ms(),
            zone=zone or (before.zone if before else None),
        )
        told = {state.volume: state for state in health.volumes}
        for volume in set(self._volumes_told.get(health.store, {})) - set(told):
            if health.store in self._placed.get(volume, ()):
                self._failures.setdefault((volume, health.store), MISSING)
        self._volumes_told.setdefault(health.store, {}).update(told)
        for state in health.volumes:
            if state.volume not in self._placed:
                self._placed[state.volume] = [health.store]
                self._withdrawn.add(state.volume)
            if state.sealed:
                self._sealed.add(state.volume)
                self._withdrawn.add(state.volume)

    async def stores(self) -> tuple[KnownStore, ...]:
        """All stores that registered."""
        return tuple(self._stores.values())

    async def set_writable(self, volume: VolumeId, writable: bool) -> None:
        """Take a volume into, or out of, the writable set."""
        for store in self._volume(volume):
            if writable:
                self._failures.pop((volume, store), None)
        if writable and volume in self._sealed:
            raise errors.Conflict(volume=volume)
        (self._withdrawn.discard if writable else self._withdrawn.add)(volume)

    async def report_failure(self, volume: VolumeId, store: StoreId, reason: str) -> None:
        """A replica failed."""
        self._replica(volume, store)
        self._failures[volume, store] = reason

    async def mend(self, volume: VolumeId, store: StoreId) -> None:
        """A replica is whole again."""
        self._replica(volume, store)
        self._failures.pop((volume, store), None)

    async def replace_replica(self, volume: VolumeId, old: StoreId | None, new: StoreId) -> None:
        """Have a replica made on another store."""
        placed = self._volume(volume)
        if new not in self._stores or new in placed:
            raise errors.Conflict(store=new)
        if old is not None:
            self._replica(volume, old)
            placed.remove(old)
            self._failures.pop((volume, old), None)
        placed.append(new)
        self._failures[volume, new] = "not copied yet"

    async def volume_photos(
        self, volume: VolumeId, *, after: SequenceNumber | None = None, limit: int
    ) -> tuple[PhotoEntry, ...]:
        """A volume's photos in order of their ids."""
        self._volume(volume)
        first = photo_id(volume, SequenceNumber(0 if after is None else after + 1))
        wanted = (self._photos[photo] for photo in sorted(self._photos) if photo >= first)
        return tuple(
            PhotoEntry(
                photo=record.photo,
                status=record.status,
                alternate_key=record.alternate_key,
                size=record.size,
                created_at_ms=record.created_at_ms,
            )
            for record in itertools.islice((r for r in wanted if volume_of(r.photo) == volume), limit)
        )

    async def set_details(self, photo: PhotoId, details: PhotoDetails) -> None:
        """Record what a photo's file says about it."""
        record = self._photos.get(photo)
        if record is not None and record.status is PhotoStatus.ACTIVE:
            self._details[photo] = details

    async def details(self, photos: Sequence[PhotoId]) -> Mapping[PhotoId, PhotoDetails]:
        """The details of those of the photos that have been recorded."""
        return {photo: self._details[photo] for photo in photos if photo in self._details}

    async def append_event(self, kind: EventKind, photo: PhotoId, payload: Mapping[str, Any]) -> int:
        """Append to the log."""
        position = len(self._events) + 1
        event = Event(
            position=position, kind=kind, photo=photo, at_ms=self._clock.now_ms(), payload=payload
        )
        self._events.append(event)
        self._grown.set()
        self._grown = asyncio.Event()
        return position

    async def events(
        self,
        *,
        after: int,
        limit: int,
        wait_seconds: float = 0.0,
        kinds: Collection[EventKind] | None = None,
    ) -> tuple[Event, ...]:
        """Events past a position."""
        if wait_seconds and len(self._events) <= after:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._grown.wait()
        past = self._events[after:]
        found = [event for event in past if kinds is None or event.kind in kinds][:limit]
        more = len(found) < limit and past and past[-1] not in found
        return (*found, past[-1]) if more else tuple(found)

    async def position(self, consumer: str) -> int:
        """How far a consumer is."""
        return self._positions.get(consumer, 0)

    async def advance(self, consumer: str, position: int) -> None:
        """Remember how far a consumer is."""
        self._positions[consumer] = max(position, self._positions.get(consumer, 0))

    async def park(self, consumer: str, event: Event, reason: str) -> None:
        """Set an event aside."""
        before = self._parked.get((consumer, event.position))
        self._parked[consumer, event.position] = ParkedEvent(
            event=event,
            reason=reason,
            times=before.times + 1 if before else 1,
            parked_at_ms=self._clock.now_ms(),
        )

    async def parked(self, consumer: str, *, limit: int = 1000) -> tuple[ParkedEvent, ...]:
        """A consumer's parked events."""
        own = (self._parked[key] for key in sorted(self._parked) if key[0] == consumer)
        return tuple(itertools.islice(own, limit))

    async def retry(self, consumer: str, position: int | None = None) -> int:
        """Have parked events delivered once more."""
        keys = [k for k in self._parked if k[0] == consumer and position in (None, k[1])]
        for key in keys:
            self._parked[key] = replace(self._parked[key], due=True)
        return len(keys)

    async def due(self, consumer: str, *, limit: int) -> tuple[Event, ...]:
        """Parked events to be delivered once more."""
        parked = await self.parked(consumer)
        return tuple(one.event for one in parked if one.due)[:limit]

    async def unpark(self, consumer: str, position: int) -> None:
        """A parked event has been dealt with."""
        self._parked.pop((consumer, position), None)

    async def statistics(self) -> DirectoryStatistics:
        """Totals."""
        active = [p for p in self._photos.values() if p.status is PhotoStatus.ACTIVE]
        return DirectoryStatistics(
            photos=len(active),
            deleted=sum(p.status is PhotoStatus.DELETED for p in self._photos.values()),
            bytes=sum(p.size for p in active),
            volumes=len(self._placed),
            writable_volumes=sum(p.writable for p in await self.placements()),
            last_event=len(self._events),
        )

    async def close(self) -> None:
        """Nothing to release."""

    async def _volume_for(self, holder: str, avoid: Collection[StoreId]) -> Placement:
        usable = [p for p in await self.placements() if p.writable and not set(avoid) & set(p.replicas)]
        for placement in usable:
            if placement.volume == self._holders.get(holder):
                return placement
        while len(usable) < self._volumes_writable:
            usable.append(await self.placement(self._create_volume(avoid)))
        taken = set(self._holders.values())
        chosen = next((p for p in usable if p.volume not in taken), usable[0])
        self._holders[holder] = chosen.volume
        return chosen

    def _create_volume(self, avoid: Collection[StoreId]) -> VolumeId:
        roomy = [known.store for known in self._stores.values() if known.free_bytes > 0]
        reachable = [store for store in roomy if store not in avoid]
        # Where too few can be reached, a volume gets fewer replicas; where none can, all are as good.
        chosen = reachable or roomy
        if len(chosen) < (1 if avoid else self._replicas):
            raise errors.StorageFull
        volume = VolumeId(max(self._placed, default=0) + 1)
        count = min(self._replicas, len(chosen))
        self._placed[volume] = list(itertools.islice(itertools.cycle(chosen), volume, volume + count))
        return volume

    def _volume(self, volume: VolumeId) -> list[StoreId]:
        if volume not in self._placed:
            raise errors.VolumeNotFound(volume=volume)
        return self._placed[volume]

    def _replica(self, volume: VolumeId, store: StoreId) -> None:
        if store not in self._volume(volume):
            raise errors.VolumeNotFound(volume=volume)

    def _told(self, store: StoreId, volume: VolumeId) -> VolumeState:
        nothing = VolumeState(volume=volume, needles=0, size_bytes=0, sealed=False)
        return self._volumes_told.get(store, {}).get(volume, nothing)

    async def _record_replicas(self, photo: PhotoId) -> tuple[StoreId, ...]:
        volume = volume_of(photo)
        return (await self.placement(volume)).replicas if volume in self._placed else ()


def _matches(record: PhotoRecord, query: PhotoQuery) -> bool:
    at = record.created_at_ms
    return (
        query.status in (None, record.status)
        and query.media_type in (None, record.media_type)
        and query.sha256 in (None, record.sha256)
        and (query.created_from_ms is None or at >= query.created_from_ms)
        and (query.created_until_ms is None or at < query.created_until_ms)
    )
