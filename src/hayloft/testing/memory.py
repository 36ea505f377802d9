"""Reference implementations of the roles, in memory: the contract in its shortest form.

``MemoryStore``, ``MemoryDirectory`` and ``MemorySimilarity`` keep every promise of ``roles.py`` but
durability, in plain dictionaries, one process, one event loop. They are shipped so that code written
against the roles can be tested without disks; ``MemoryStore`` can be told to fail, to lie and to be full.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hayloft import errors, limits
from hayloft import needle as codec
from hayloft.clock import Clock, SystemClock
from hayloft.errors import HayloftError
from hayloft.needle import Kind, Needle
from hayloft.types import (
    RANGE_SEQUENCES,
    AlternateKey,
    Appended,
    Committed,
    CompactionReport,
    Cookie,
    DirectoryStatistics,
    Event,
    EventKind,
    Existence,
    GivenVerdict,
    GroupPage,
    Imported,
    KnownStore,
    Lease,
    Link,
    LinkPage,
    NeedleEntry,
    NeedleKey,
    NeedleMetadata,
    Neighbour,
    NewNeedle,
    NewPhoto,
    ParkedEvent,
    PhotoDetails,
    PhotoEntry,
    PhotoGroup,
    PhotoId,
    PhotoPage,
    PhotoQuery,
    PhotoRecord,
    PhotoStatus,
    Placement,
    RangeDigest,
    Relation,
    ReplicaState,
    Scrutiny,
    SimilarityStatus,
    StoreHealth,
    StoreId,
    Verdict,
    VerdictPage,
    VolumeDigest,
    VolumeId,
    VolumeReport,
    VolumeState,
    new_cookie,
    photo_id,
    sequence_of,
    volume_of,
)
from hayloft.types import Sequence as SequenceNumber
from hayloft.volume import transfer

LEASE_COUNT_MAX = 1 << 16
LOCAL = StoreId("local")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeedle:
    """A needle as a ``MemoryStore`` holds it."""

    cookie: Cookie
    data: bytes
    metadata: NeedleMetadata


class MemoryStore:
    """A store whose volumes are dictionaries.

    ``fail`` makes every later append and read raise an error (None heals it); ``corrupt`` damages one
    needle; ``forget`` loses one without a tombstone.
    """

    def __init__(self, store: StoreId = LOCAL, *, capacity_bytes: int = limits.GIB) -> None:
        self.store = store
        self._capacity_bytes = capacity_bytes
        self._needles: dict[tuple[PhotoId, AlternateKey], MemoryNeedle] = {}
        self._deleted: set[NeedleKey] = set()
        self._damaged: set[NeedleKey] = set()
        self._volumes: set[VolumeId] = set()
        self._sealed: set[VolumeId] = set()
        self._failure: HayloftError | None = None
        self._closed = False

    def fail(self, error: HayloftError | None) -> None:
        """Raise ``error`` from every append and read from now on; None heals."""
        self._failure = error

    def corrupt(self, photo: PhotoId) -> None:
        """Damage a photo's needles: reading them raises ``NeedleCorrupt``."""
        self._damaged.update(NeedleKey(photo, key) for key in AlternateKey)

    def forget(self, photo: PhotoId) -> None:
        """Lose a photo's needles without a trace."""
        for key in AlternateKey:
            self._needles.pop((photo, key), None)

    async def append(self, volume: VolumeId, needle: NewNeedle) -> Appended:
        """Keep a needle."""
        self._check()
        if volume in self._sealed:
            raise errors.VolumeReadOnly(volume=volume)
        if needle.alternate_key and NeedleKey(needle.photo) in self._deleted:
            raise errors.PhotoDeleted(photo_id=needle.photo)
        if self._used_bytes() + len(needle.data) > self._capacity_bytes:
            raise errors.StorageFull
        self._volumes.add(volume)
        offset = self._used_bytes()
        kept = MemoryNeedle(cookie=needle.cookie, data=bytes(needle.data), metadata=needle.metadata)
        self._needles[needle.photo, needle.alternate_key] = kept
        self._deleted.discard(NeedleKey(needle.photo, needle.alternate_key))
        self._damaged.discard(NeedleKey(needle.photo, needle.alternate_key))
        return Appended(offset=offset, size=len(needle.data))

    async def read(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> MemoryNeedle:
        """Give a needle back."""
        self._check()
        if NeedleKey(photo, alternate_key) in self._deleted:
            raise errors.PhotoDeleted(photo_id=photo)
        needle = self._needles.get((photo, alternate_key))
        if needle is None:
            raise errors.PhotoNotFound(photo_id=photo)
        if (photo, alternate_key) in self._damaged:
            raise errors.NeedleCorrupt(photo_id=photo)
        return needle

    def read_cached(
        self,
        photo: PhotoId,  # noqa: ARG002 - the protocol's signature
        alternate_key: AlternateKey = AlternateKey.ORIG,  # noqa: ARG002
    ) -> MemoryNeedle | None:
        """Nothing: so that ``read`` is what tests see."""
        return None

    def exists(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Existence | None:
        """What is known of a needle."""
        needle = self._needles.get((photo, alternate_key))
        if NeedleKey(photo, alternate_key) in self._deleted:
            return Existence(exists=False, deleted=True)
        return Existence(exists=needle is not None, size=len(needle.data) if needle else 0)

    async def stat(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Existence:
        """What is known of a needle."""
        found = self.exists(photo, alternate_key)
        assert found is not None
        return found

    async def delete(self, photo: PhotoId) -> bool:
        """Forget a photo for good."""
        self._check()
        held = [key for key in AlternateKey if (photo, key) in self._needles]
        for key in held:
            del self._needles[photo, key]
            self._deleted.add(NeedleKey(photo, key))
        return bool(held)

    async def seal(self, volume: VolumeId) -> None:
        """Take no more appends in a volume."""
        self._volume(volume)
        self._sealed.add(volume)

    async def health(self) -> StoreHealth:
        """Volumes and room."""
        return StoreHealth(
            store=self.store,
            volumes=tuple(self._state(volume) for volume in sorted(self._volumes)),
            free_bytes=self._capacity_bytes - self._used_bytes(),
            capacity_bytes=self._capacity_bytes,
        )

    async def verify(self, volume: VolumeId) -> VolumeReport:
        """Report the needles that ``corrupt`` damaged."""
        self._volume(volume)
        held = [key for key in self._needles if volume_of(key[0]) == volume]
        damaged = tuple((photo, key, "damaged") for photo, key in held if (photo, key) in self._damaged)
        return VolumeReport(state=self._state(volume), checked=len(held), damaged=damaged)

    async def compact(self, volume: VolumeId) -> CompactionReport:
        """Nothing to reclaim: what is deleted is gone at once."""
        self._volume(volume)
        state = self._state(volume)
        return CompactionReport(
            volume=volume,
            size_bytes_before=state.size_bytes,
            size_bytes_after=state.size_bytes,
            needles=state.needles,
        )

    async def digest(self, volume: VolumeId, *, scrutiny: Scrutiny = Scrutiny.KNOWN) -> VolumeDigest:
        """All needles, as they would be listed."""
        self._check()
        self._volume(volume)
        entries = _looked_at(self._entries(volume), scrutiny)
        ranges: dict[int, list[NeedleEntry]] = defaultdict(list)
        for entry in entries:
            ranges[sequence_of(entry.key.photo) // RANGE_SEQUENCES].append(entry)
        return VolumeDigest(
            volume=volume,
            needles=sum(not entry.deleted for entry in entries),
            live_bytes=sum(entry.size for entry in entries),
            deleted=sum(entry.deleted for entry in entries),
            damaged=sum(entry.damaged for entry in entries),
            digest=_digest_of(entries),
            ranges=tuple(
                RangeDigest(first=SequenceNumber(number * RANGE_SEQUENCES), digest=_digest_of(some))
                for number, some in sorted(ranges.items())
            ),
        )

    async def needles(
        self,
        volume: VolumeId,
        *,
        after: NeedleKey | None = None,
        limit: int,
        scrutiny: Scrutiny = Scrutiny.KNOWN,
    ) -> tuple[NeedleEntry, ...]:
        """Needles past a key, deleted ones included."""
        self._check()
        self._volume(volume)
        if not 0 < limit <= limits.TRANSFER_NEEDLES_MAX:
            raise errors.InvalidRequest
        entries = [entry for entry in self._entries(volume) if after is None or entry.key > after]
        return tuple(_looked_at(entries[:limit], scrutiny))

    async def export_needles(self, volume: VolumeId, needles: Sequence[NeedleKey]) -> bytes:
        """Records of the needles that are whole, and of deletions."""
        self._check()
        self._volume(volume)
        if len(needles) > limits.TRANSFER_NEEDLES_MAX or any(volume_of(k.photo) != volume for k in needles):
            raise errors.InvalidRequest
        records: list[bytes] = []
        for key in needles:
            if key in self._deleted:
                deletion = transfer.pack_deletion(sequence_of(key.photo), key.alternate_key)
                records.append(b"".join(deletion))
            elif key in self._needles and key not in self._damaged:
                record = _record(key, self._needles[key])
                if records and sum(map(len, records)) + len(record) > limits.TRANSFER_BYTES:
                    break
                records.append(record)
        return b"".join(records)

    async def import_needles(self, volume: VolumeId, records: bytes) -> Imported:
        """Take over what is missing, damaged or older here; deletions win."""
        self._check()
        needles = transfer.unpack(records)
        if self._used_bytes() + sum(needle.data_size for needle in needles) > self._capacity_bytes:
            raise errors.StorageFull
        self._volumes.add(volume)
        done = [self._take_over(volume, needle) for needle in sorted(needles, key=lambda each: -each.kind)]
        return Imported(stored=done.count("stored"), deleted=done.count("deleted"), kept=done.count("kept"))

    def _take_over(self, volume: VolumeId, needle: Needle) -> str:
        key = NeedleKey(photo_id(volume, needle.sequence), AlternateKey(needle.alternate_key))
        if key in self._deleted or (NeedleKey(key.photo) in self._deleted and not needle.kind):
            return "kept"
        if needle.kind == Kind.TOMBSTONE:
            self._needles.pop(key, None)
            self._deleted.add(key)
            return "deleted"
        here = self._needles.get(key)
        if here is not None and key not in self._damaged:
            theirs = (needle.metadata.created_at_ms, needle.body_checksum)
            if theirs <= (here.metadata.created_at_ms, self._checksum(key)):
                return "kept"
        self._needles[key] = MemoryNeedle(
            cookie=needle.cookie, data=bytes(needle.data), metadata=needle.metadata
        )
        self._damaged.discard(key)
        return "stored"

    async def rebuild_index(self, volume: VolumeId) -> None:
        """There is no index."""
        self._volume(volume)

    async def set_aside(self, volume: VolumeId) -> None:
        """There is nothing that cannot be opened."""
        self._volume(volume)
        raise errors.Conflict

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise errors.ShuttingDown
        if self._failure is not None:
            raise self._failure

    def _entries(self, volume: VolumeId) -> list[NeedleEntry]:
        live = [
            NeedleEntry(
                key=NeedleKey(*key),
                size=len(_record(NeedleKey(*key), needle)),
                checksum=None if key in self._damaged else self._checksum(NeedleKey(*key)),
                damaged=key in self._damaged,
            )
            for key, needle in self._needles.items()
            if volume_of(key[0]) == volume
        ]
        deleted = [
            NeedleEntry(key=key, deleted=True) for key in self._deleted if volume_of(key.photo) == volume
        ]
        return sorted(live + deleted, key=lambda entry: entry.key)

    def _checksum(self, key: NeedleKey) -> int:
        return transfer.unpack(_record(key, self._needles[key]))[0].body_checksum

    def _volume(self, volume: VolumeId) -> None:
        if volume not in self._volumes:
            raise errors.VolumeNotFound(volume=volume)

    def _used_bytes(self) -> int:
        return sum(len(needle.data) for needle in self._needles.values())

    def _state(self, volume: VolumeId) -> VolumeState:
        held = [n for (photo, _), n in self._needles.items() if volume_of(photo) == volume]
        return VolumeState(
            volume=volume,
            needles=len(held),
            size_bytes=sum(len(needle.data) for needle in held),
            sealed=volume in self._sealed,
        )


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
            last = _parse_cursor(query.cursor)
            ids: list[int] = [record.photo for record in matching]
            start = ids.index(last) + 1 if last in ids else 0
        start += query.offset
        page = tuple(matching[start : start + query.limit])
        more = start + query.limit < len(matching)
        return PhotoPage(
            photos=page,
            next_cursor=_cursor(page[-1].photo) if more and page else None,
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
                self._failures.setdefault((volume, health.store), "missing")
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


class MemorySimilarity:
    """Neighbours and links as they are told: ``neighbours`` by photo, links added with ``add_link``."""

    def __init__(self) -> None:
        self.neighbours: dict[PhotoId, tuple[Neighbour, ...]] = {}
        self._links: dict[tuple[PhotoId, PhotoId], Link] = {}
        self._verdicts: dict[tuple[PhotoId, PhotoId], Verdict] = {}

    def add_link(self, link: Link) -> None:
        """Record a link."""
        self._links[link.a, link.b] = link

    async def similar(
        self,
        photo: PhotoId,
        *,
        k: int,
        score_min: float = 0.0,
        relation: Relation | None = None,
    ) -> tuple[Neighbour, ...]:
        """What ``neighbours`` says."""
        if photo not in self.neighbours:
            raise errors.PhotoNotFound(photo_id=photo)
        return tuple(n for n in self.neighbours[photo] if _fits(n, score_min, relation))[:k]

    async def similar_to(
        self, image: bytes, *, k: int, score_min: float = 0.0, relation: Relation | None = None
    ) -> tuple[Neighbour, ...]:
        """Every neighbour known, for any image that is not empty."""
        if not image:
            raise errors.UnsupportedMedia
        known = (n for neighbours in self.neighbours.values() for n in neighbours)
        return tuple(n for n in known if _fits(n, score_min, relation))[:k]

    async def search(self, words: str, *, k: int) -> tuple[Neighbour, ...]:  # noqa: ARG002
        """It knows no words."""
        raise errors.SearchNotConfigured

    async def links(self, photo: PhotoId) -> tuple[Link, ...]:
        """Links of one photo, best first."""
        own = (link for pair, link in self._links.items() if photo in pair)
        return tuple(sorted(own, key=lambda link: -link.score))

    async def all_links(self, *, relation: Relation | None, cursor: str | None, limit: int) -> LinkPage:
        """One page of all links."""
        start = _parse_cursor(cursor) if cursor else 0
        links = [k for k in self._links.values() if relation is None or k.relation is relation]
        more = start + limit < len(links)
        return LinkPage(
            links=tuple(links[start : start + limit]),
            next_cursor=_cursor(start + limit) if more else None,
            total=len(links),
        )

    async def set_verdict(self, a: PhotoId, b: PhotoId, verdict: Verdict | None) -> Link | None:
        """A person's word on a pair."""
        pair = (min(a, b), max(a, b))
        self._verdicts.pop(pair, None)
        if verdict is not None:
            self._verdicts[pair] = verdict
        link = self._links.get(pair)
        if link is None:
            return None
        self._links[pair] = replace(link, verdict=verdict)
        return self._links[pair]

    async def verdicts(self, *, cursor: str | None, limit: int) -> VerdictPage:
        """One page of what people said."""
        start = _parse_cursor(cursor) if cursor else 0
        said = [GivenVerdict(a=a, b=b, verdict=one) for (a, b), one in sorted(self._verdicts.items())]
        more = start + limit < len(said)
        return VerdictPage(
            verdicts=tuple(said[start : start + limit]),
            next_cursor=_cursor(start + limit) if more else None,
        )

    async def groups(self, *, relation: Relation | None, cursor: str | None, limit: int) -> GroupPage:
        """One page of what is connected by links that say *the same*."""
        if relation is Relation.SIMILAR:
            raise errors.InvalidRequest("Photos that are merely alike form no groups.")
        start = _parse_cursor(cursor) if cursor else 0
        groups = self._components(relation)
        more = start + limit < len(groups)
        return GroupPage(
            groups=tuple(groups[start : start + limit]),
            next_cursor=_cursor(start + limit) if more else None,
            total=len(groups),
        )

    async def group_of(self, photo: PhotoId) -> PhotoGroup:
        """The component with the photo in it; alone if no link says otherwise."""
        for group in self._components(None):
            if photo in group.photos:
                return group
        return PhotoGroup(group=photo, photos=(photo,), best=photo)

    async def rebuild(self) -> None:
        """There is no index."""

    def _components(self, relation: Relation | None) -> list[PhotoGroup]:
        sets: list[set[PhotoId]] = []
        for (a, b), link in self._links.items():
            same = link.relation in ((relation,) if relation else (Relation.DUPLICATE, Relation.COPY))
            if same and link.verdict is not Verdict.DIFFERENT:
                touched = [found for found in sets if found & {a, b}]
                sets = [found for found in sets if not found & {a, b}]
                sets.append({a, b}.union(*touched))
        ordered = sorted(tuple(sorted(found)) for found in sets)
        return [PhotoGroup(group=photos[0], photos=photos, best=photos[0]) for photos in ordered]

    async def status(self) -> SimilarityStatus:
        """How many photos are known."""
        return SimilarityStatus(
            trained=True,
            total_indexed=len(self.neighbours),
            undecodable=0,
            parked=0,
            position=0,
            pending=0,
        )

    async def close(self) -> None:
        """Nothing to release."""


def _record(key: NeedleKey, needle: MemoryNeedle) -> bytes:
    """The needle as it travels between stores."""
    record = codec.encode(
        salt=transfer.SALT,
        sequence=sequence_of(key.photo),
        cookie=needle.cookie,
        data=needle.data,
        alternate_key=key.alternate_key,
        metadata=codec.encode_metadata(needle.metadata),
    )
    return b"".join(map(bytes, record.body)) + record.footer(replaced=0, batch_offset=0)


def _looked_at(entries: list[NeedleEntry], scrutiny: Scrutiny) -> list[NeedleEntry]:
    if scrutiny is Scrutiny.INDEX:
        return [replace(entry, checksum=None, damaged=False) for entry in entries]
    return entries


def _digest_of(entries: Sequence[NeedleEntry]) -> str:
    return hashlib.sha256(repr(entries).encode()).hexdigest()


def _matches(record: PhotoRecord, query: PhotoQuery) -> bool:
    at = record.created_at_ms
    return (
        query.status in (None, record.status)
        and query.media_type in (None, record.media_type)
        and query.sha256 in (None, record.sha256)
        and (query.created_from_ms is None or at >= query.created_from_ms)
        and (query.created_until_ms is None or at < query.created_until_ms)
    )


def _fits(neighbour: Neighbour, score_min: float, relation: Relation | None) -> bool:
    return neighbour.score >= score_min and relation in (None, neighbour.relation)


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def _parse_cursor(cursor: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(cursor.encode()))
    except ValueError as error:
        raise errors.InvalidRequest("The cursor is not one that this directory made.") from error
