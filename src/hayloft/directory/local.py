"""The directory itself, in this process, on a database that other processes may use at the same time.

Every method is one transaction. Changes that are asked for while another transaction is being made durable
share the next one (``transactions``), so commits cost little under load and nothing extra when alone. An
answer to a change comes after it is durable. Nothing is remembered here that another process could make
wrong: several ``LocalDirectory`` objects on one database are one directory.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from hayloft.clock import Clock, SystemClock
from hayloft.database import Database, open_database
from hayloft.directory import details, heartbeats, leases, listing, log, parking, photos, volumes
from hayloft.directory.allocation import Activations, Allocation, Allocations
from hayloft.directory.commits import Commits
from hayloft.directory.counting import totals
from hayloft.directory.deletion import Deletions
from hayloft.directory.details import Told
from hayloft.directory.heartbeats import Heartbeat
from hayloft.directory.leases import LeaseRequest, WritePolicy
from hayloft.directory.records import SHA256_BYTES, check, check_text
from hayloft.directory.schema import Status
from hayloft.directory.transactions import Transactions, one_by_one
from hayloft.directory.waiting import Waiting
from hayloft.errors import InvalidRequest
from hayloft.limits import LEASE_COUNT_MAX, PAGE_EVENTS_MAX, PAGE_PHOTOS_MAX
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
)
from hayloft.types import Sequence as SequenceNumber

ALLOCATION_HOLDER: Final = "allocate"
"""The holder whose volume single allocations come from."""


class LocalDirectory:
    """``roles.Directory`` on a database."""

    def __init__(
        self, database: Database, *, policy: WritePolicy | None = None, clock: Clock | None = None
    ) -> None:
        self._database = database
        self._policy = policy or WritePolicy()
        self._clock = clock or SystemClock()
        self._waiting = Waiting()
        self._transactions = Transactions(database, on_commit=self._waiting.wake)
        self._commit = Commits(self._clock)
        self._allocate = Allocations(self._clock, self._policy, holder=ALLOCATION_HOLDER)
        self._activate = Activations(self._clock)
        self._delete = Deletions(self._clock)
        self._lease = one_by_one(partial(leases.lease, policy=self._policy))
        self._append_event = one_by_one(self._append)

    @classmethod
    def open(
        cls, url: str, *, policy: WritePolicy | None = None, clock: Clock | None = None
    ) -> LocalDirectory:
        """The directory in the database at ``url``, which ``migrations.upgrade`` has prepared.

        Raises:
            InvalidRequest: the URL names a kind of database that is not supported.
        """
        return cls(open_database(url, name="directory"), policy=policy, clock=clock)

    # Writing photos ------------------------------------------------------------------------------

    async def lease(self, *, holder: str, count: int, avoid: Collection[StoreId] = ()) -> Lease:
        """Lease a block of ids in a writable volume; fewer than ``count`` if the volume ends."""
        if not 1 <= count <= LEASE_COUNT_MAX:
            raise InvalidRequest(f"A lease has 1 to {LEASE_COUNT_MAX} ids.", limit=LEASE_COUNT_MAX)
        _check_name(holder)
        return await self._transactions.apply(
            self._lease, LeaseRequest(holder, count, self._clock.now_ms(), frozenset(avoid))
        )

    async def allocate(self, *, size: int, alternate_key: AlternateKey = AlternateKey.ORIG) -> PhotoRecord:
        """Allocate one photo in status ``alloc``."""
        if size < 0:
            raise InvalidRequest("A size is not negative.")
        return await self._transactions.apply(self._allocate, Allocation(size, alternate_key))

    async def commit(self, photo: NewPhoto) -> Committed:
        """Record a durable photo as active, with its event; a time of creation of 0 means now."""
        check(photo)
        if photo.created_at_ms == 0:
            photo = replace(photo, created_at_ms=self._clock.now_ms())
        return await self._transactions.apply(self._commit, photo)

    async def commit_allocated(self, photo: PhotoId) -> PhotoRecord:
        """Make an allocated photo active, with its event."""
        return await self._transactions.apply(self._activate, photo)

    async def delete(self, photo: PhotoId) -> PhotoRecord:
        """Mark a photo deleted, with its event; returns the record as it was before."""
        return await self._transactions.apply(self._delete, photo)

    # Reading photos ------------------------------------------------------------------------------

    async def photo(self, photo: PhotoId) -> PhotoRecord:
        """A photo's record."""
        return await self._database.read(lambda connection: photos.find(connection, photo))

    async def photos(self, query: PhotoQuery) -> PhotoPage:
        """One page of photos."""
        listing.check(query)
        return await self._database.read(lambda connection: listing.page(connection, query))

    async def known(self, digests: Sequence[bytes]) -> Mapping[bytes, PhotoId]:
        """The oldest active photo for each SHA-256 that is already here."""
        if len(digests) > PAGE_PHOTOS_MAX:
            raise InvalidRequest(f"Ask for at most {PAGE_PHOTOS_MAX} digests.", limit=PAGE_PHOTOS_MAX)
        if any(len(digest) != SHA256_BYTES for digest in digests):
            raise InvalidRequest("A SHA-256 digest has 32 bytes.")
        return await self._database.read(lambda connection: photos.firsts(connection, set(digests)))

    async def set_details(self, photo: PhotoId, details: PhotoDetails) -> None:
        """Record what a photo's file says about it; nothing for a photo that is not active."""
        await self._transactions.apply(_SET_DETAILS, Told(photo, details))

    async def details(self, photos: Sequence[PhotoId]) -> Mapping[PhotoId, PhotoDetails]:
        """The details of those of the photos that have been recorded."""
        if len(photos) > PAGE_PHOTOS_MAX:
            raise InvalidRequest(f"Ask for at most {PAGE_PHOTOS_MAX} photos.", limit=PAGE_PHOTOS_MAX)
        return await self._database.read(lambda connection: details.of_photos(connection, photos))

    async def statistics(self) -> DirectoryStatistics:
        """Totals."""
        return await self._database.read(self._statistics)

    # Volumes and stores --------------------------------------------------------------------------

    async def placement(self, volume: VolumeId) -> Placement:
        """Where a volume's replicas are."""
        return await self._database.read(lambda connection: volumes.placement_of(connection, volume))

    async def placements(self) -> tuple[Placement, ...]:
        """All volumes."""
        return await self._database.read(volumes.all_placements)

    async def stores(self) -> tuple[KnownStore, ...]:
        """All stores that have ever sent a heartbeat."""
        return await self._database.read(heartbeats.all_stores)

    async def replicas(self) -> tuple[ReplicaState, ...]:
        """Every replica of every volume."""
        return await self._database.read(volumes.all_replicas)

    async def register(
        self, health: StoreHealth, *, url: str | None = None, zone: str | None = None
    ) -> None:
        """A store's heartbeat."""
        _check_name(health.store)
        if zone is not None:
            _check_name(zone)
        size_bytes_max = self._policy.volume_size_bytes_max
        heartbeat = Heartbeat(health, url, self._clock.now_ms(), size_bytes_max, zone)
        await self._transactions.apply(_REGISTER, heartbeat)

    async def set_writable(self, volume: VolumeId, writable: bool) -> None:
        """Put a volume into, or take it out of, the writable set."""
        await self._transactions.apply(_SET_WRITABLE, volumes.Writability(volume, writable))

    async def report_failure(self, volume: VolumeId, store: StoreId, reason: str) -> None:
        """A replica failed: the volume takes no writes until it is mended."""
        check_text(reason)
        await self._transactions.apply(_REPORT_FAILURE, volumes.Failure(volume, store, reason))

    async def mend(self, volume: VolumeId, store: StoreId) -> None:
        """A replica is whole again."""
        await self._transactions.apply(_MEND, volumes.Mended(volume, store))

    async def replace_replica(self, volume: VolumeId, old: StoreId | None, new: StoreId) -> None:
        """Have a replica made on another store."""
        await self._transactions.apply(_REPLACE, volumes.Replacement(volume, old, new))

    async def volume_photos(
        self, volume: VolumeId, *, after: SequenceNumber | None = None, limit: int
    ) -> tuple[PhotoEntry, ...]:
        """A volume's photos, deleted ones included, in order of their ids."""
        if not 1 <= limit <= PAGE_EVENTS_MAX:
            raise InvalidRequest(f"Ask for 1 to {PAGE_EVENTS_MAX} photos.", limit=PAGE_EVENTS_MAX)
        wanted = photos.InVolume(volume, 0 if after is None else after + 1, limit)
        return await self._database.read(lambda connection: photos.in_volume(connection, wanted))

    # The event log -------------------------------------------------------------------------------

    async def append_event(self, kind: EventKind, photo: PhotoId, payload: Mapping[str, Any]) -> int:
        """Append to the event log; returns the position."""
        return await self._transactions.apply(self._append_event, log.NewEvent(kind, photo, dict(payload)))

    async def events(
        self,
        *,
        after: int,
        limit: int,
        wait_seconds: float = 0.0,
        kinds: Collection[EventKind] | None = None,
    ) -> tuple[Event, ...]:
        """Events past ``after``, in order, waiting up to ``wait_seconds`` for the first."""
        if not 1 <= limit <= PAGE_EVENTS_MAX:
            raise InvalidRequest(f"Ask for 1 to {PAGE_EVENTS_MAX} events.", limit=PAGE_EVENTS_MAX)
        what = log.Read(after, limit, None if kinds is None else frozenset(kinds))
        return await self._waiting.until_some(
            lambda: self._database.read(lambda connection: log.read(connection, what)), wait_seconds
        )

    async def position(self, consumer: str) -> int:
        """The last position that a consumer has acknowledged; 0 at first."""
        return await self._database.read(lambda connection: log.position_of(connection, consumer))

    async def advance(self, consumer: str, position: int) -> None:
        """Remember durably how far a consumer has got; it never goes back."""
        _check_consumer(consumer)
        await self._transactions.apply(_ADVANCE, log.Advance(consumer, position))

    async def park(self, consumer: str, event: Event, reason: str) -> None:
        """Set an event that a consumer cannot deal with aside."""
        _check_consumer(consumer)
        check_text(reason)
        await self._transactions.apply(
            _PARK, parking.Parking(consumer, event.position, reason, self._clock.now_ms())
        )

    async def parked(self, consumer: str, *, limit: int = 1000) -> tuple[ParkedEvent, ...]:
        """A consumer's parked events, in the log's order."""
        return await self._database.read(
            lambda connection: parking.parked_events(connection, consumer, limit)
        )

    async def retry(self, consumer: str, position: int | None = None) -> int:
        """Have a parked event (None: all of them) delivered once more; returns how many."""
        return await self._transactions.apply(_RETRY, parking.Parked(consumer, position))

    async def due(self, consumer: str, *, limit: int) -> tuple[Event, ...]:
        """Parked events that are to be delivered once more."""
        return await self._database.read(lambda connection: parking.due(connection, consumer, limit))

    async def unpark(self, consumer: str, position: int) -> None:
        """A parked event has been dealt with after all."""
        await self._transactions.apply(_UNPARK, parking.Parked(consumer, position))

    async def close(self) -> None:
        """Finish what is in flight, release connections."""
        self._waiting.close()
        await self._transactions.close()
        await self._database.close()

    def _statistics(self, connection: Connection) -> DirectoryStatistics:
        by_status = totals(connection)
        placements = volumes.all_placements(connection)
        return DirectoryStatistics(
            photos=by_status[Status.ACTIVE].photos,
            deleted=by_status[Status.DELETED].photos,
            bytes=by_status[Status.ACTIVE].bytes,
            volumes=len(placements),
            writable_volumes=sum(placement.writable for placement in placements),
            last_event=log.last_position(connection),
            uploads_refused=leases.refusal(connection, self._policy, self._clock.now_ms()),
        )

    def _append(self, connection: Connection, event: log.NewEvent) -> int:
        return log.append(connection, [event], now_ms=self._clock.now_ms())


_SET_DETAILS: Final = one_by_one(details.record)
_CONSUMER_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")
"""Consumers are named by programs, and their names stand in addresses."""

_REGISTER: Final = one_by_one(heartbeats.register)
_SET_WRITABLE: Final = one_by_one(volumes.set_writable)
_REPORT_FAILURE: Final = one_by_one(volumes.report_failure)
_MEND: Final = one_by_one(volumes.mend)
_REPLACE: Final = one_by_one(volumes.replace_replica)
_ADVANCE: Final = one_by_one(log.advance)
_PARK: Final = one_by_one(parking.park)
_RETRY: Final = one_by_one(parking.retry)
_UNPARK: Final = one_by_one(parking.unpark)


def _check_name(name: str) -> None:
    if not 0 < len(name) <= 255:
        raise InvalidRequest("A name has 1 to 255 characters.")
    check_text(name)


def _check_consumer(name: str) -> None:
    if not _CONSUMER_NAME.fullmatch(name):
        raise InvalidRequest("A consumer's name is 1 to 255 letters, digits, dots, hyphens, underscores.")
