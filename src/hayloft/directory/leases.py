"""Leases: which volume a writer gets, and the making of new volumes when there are too few to write to.

A block of sequence numbers is taken by moving the volume's high-water mark, in a write transaction: no
number is ever given out twice, and a block whose holder dies is simply never used. The directory keeps
``writable_max`` volumes open for writing; each holder is sent to the volume that fewest others write to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from hayloft import limits
from hayloft.directory.schema import leases, placements, stores, volumes
from hayloft.directory.volumes import add, place, replicas_of
from hayloft.errors import RoleUnavailable, StorageFull
from hayloft.types import Lease, Sequence, StoreId, VolumeId

REPLICATION_DEFAULT: Final = 3
"""Replicas of a volume when there are stores enough (Haystack, section 3.1)."""

HOLDER_FRESH_MS: Final = 600_000
"""A holder that has leased nothing for ten minutes is taken to write no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePolicy:
    """How many volumes take writes, where new ones are placed, when one is full."""

    writable_max: int = 1
    replication: int | None = None
    """Replicas of a new volume; None: three, or as many as there are stores."""
    volume_size_bytes_max: int = limits.VOLUME_SIZE_BYTES_MAX
    free_bytes_min: int = limits.FREE_SPACE_RESERVE_BYTES
    """A store with less free space gets no new volume."""
    silence_ms_max: int | None = None
    """A store that has sent no heartbeat for this long gets no new volume; None: it does not matter."""


class LeaseRequest(NamedTuple):
    """Who wants how many sequence numbers."""

    holder: str
    number: int
    now_ms: int


class _Space(NamedTuple):
    store: StoreId
    unpromised_bytes: int


_WRITABLE: Final = (
    select(volumes)
    .where(volumes.c.writable, ~volumes.c.sealed, volumes.c.next_sequence < limits.SEQUENCES_PER_VOLUME_MAX)
    .order_by(volumes.c.volume)
)
_ON_FULL_STORES: Final = (
    select(placements.c.volume)
    .join_from(placements, stores, placements.c.store == stores.c.store)
    .where(stores.c.free_bytes <= bindparam("least"))
)
_RIVALS: Final = (
    select(leases.c.volume, func.count().label("holders"))
    .where(leases.c.holder != bindparam("holder"), leases.c.leased_at_ms > bindparam("fresh_ms"))
    .group_by(leases.c.volume)
)
_HELD: Final = select(leases.c.volume).where(leases.c.holder == bindparam("holder"))
_ADVANCE: Final = (
    update(volumes)
    .where(volumes.c.volume == bindparam("chosen"))
    .values(next_sequence=volumes.c.next_sequence + bindparam("count"))
)
_STORES: Final = select(stores.c.store, stores.c.free_bytes, stores.c.seen_at_ms)
_PROMISED: Final = (
    select(
        placements.c.store, func.count().label("volumes"), func.sum(placements.c.size_bytes).label("used")
    )
    .join_from(placements, volumes, placements.c.volume == volumes.c.volume)
    .where(volumes.c.writable, ~volumes.c.sealed)
    .group_by(placements.c.store)
)


def lease(connection: Connection, request: LeaseRequest, policy: WritePolicy) -> Lease:
    """Take a block of sequence numbers of a writable volume.

    Raises:
        StorageFull: there is no writable volume and no store has room for a new one.
        RoleUnavailable: there is no writable volume and no store is known.
    """
    writable = _writable(connection, policy, now_ms=request.now_ms)
    chosen = _choose(connection, request, writable)
    count = min(request.number, limits.SEQUENCES_PER_VOLUME_MAX - chosen.next_sequence)
    connection.execute(_ADVANCE, {"chosen": chosen.volume, "count": count})
    _remember(connection, request, chosen.volume)
    return Lease(
        volume=VolumeId(chosen.volume),
        first=Sequence(chosen.next_sequence),
        count=count,
        replicas=replicas_of(connection, [chosen.volume])[chosen.volume],
    )


def _writable(connection: Connection, policy: WritePolicy, *, now_ms: int) -> list[Row[Any]]:
    """The volumes to choose from, after new ones have been made for those that are missing.

    Volumes with a replica on a full store are chosen only when there are no others: the store will refuse
    the append, unless it has got room since its last heartbeat.
    """
    found, crowded = _writable_now(connection, policy)
    missing = policy.writable_max - len(found)
    spaces = _spaces(connection, policy, now_ms) if missing > 0 else []
    if spaces:
        for _ in range(missing):
            spaces = _create(connection, policy, spaces, now_ms)
        found, crowded = _writable_now(connection, policy)
    if not found and not crowded:
        raise _no_room(connection)
    return found or crowded


def _writable_now(connection: Connection, policy: WritePolicy) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """Writable volumes with room on all their stores, and those without."""
    rows = connection.execute(_WRITABLE).all()
    full = set(connection.execute(_ON_FULL_STORES, {"least": policy.free_bytes_min}).scalars())
    return [row for row in rows if row.volume not in full], [row for row in rows if row.volume in full]


def _choose(connection: Connection, request: LeaseRequest, writable: list[Row[Any]]) -> Row[Any]:
    fresh_ms = request.now_ms - HOLDER_FRESH_MS
    rivals = {
        row.volume: row.holders
        for row in connection.execute(_RIVALS, {"holder": request.holder, "fresh_ms": fresh_ms})
    }
    held = connection.execute(_HELD, {"holder": request.holder}).scalar()
    return min(writable, key=lambda row: (rivals.get(row.volume, 0), row.volume != held, row.next_sequence))


def _remember(connection: Connection, request: LeaseRequest, volume: VolumeId) -> None:
    values = {"volume": volume, "leased_at_ms": request.now_ms}
    changed = connection.execute(update(leases).where(leases.c.holder == request.holder).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(leases).values(holder=request.holder, **values))
        connection.execute(delete(leases).where(leases.c.leased_at_ms < request.now_ms - HOLDER_FRESH_MS))


def _spaces(connection: Connection, policy: WritePolicy, now_ms: int) -> list[_Space]:
    """Stores with room, each with the space that its open volumes will not need."""
    promised = {
        row.store: max(0, row.volumes * policy.volume_size_bytes_max - int(row.used))
        for row in connection.execute(_PROMISED)
    }
    return [
        _Space(StoreId(row.store), row.free_bytes - promised.get(row.store, 0))
        for row in connection.execute(_STORES)
        if row.free_bytes > policy.free_bytes_min
        and (policy.silence_ms_max is None or now_ms - row.seen_at_ms <= policy.silence_ms_max)
    ]


def _create(connection: Connection, policy: WritePolicy, spaces: list[_Space], now_ms: int) -> list[_Space]:
    """Make a volume on the stores with most space; returns what is left."""
    replication = policy.replication or REPLICATION_DEFAULT
    ranked = sorted(spaces, key=lambda space: (-space.unpromised_bytes, space.store))
    volume = _next_volume(connection)
    add(connection, volume, created_at_ms=now_ms, writable=True)
    for space in ranked[:replication]:
        place(connection, volume, space.store)
    return [
        space._replace(unpromised_bytes=space.unpromised_bytes - policy.volume_size_bytes_max)
        for space in ranked[:replication]
    ] + ranked[replication:]


def _next_volume(connection: Connection) -> VolumeId:
    # The lowest number never used, not the highest plus one: a store may hold volumes that others numbered.
    used = set(connection.execute(select(volumes.c.volume)).scalars())
    for volume in range(1, limits.VOLUMES_MAX):
        if volume not in used:
            return VolumeId(volume)
    raise StorageFull("All volume numbers are used.")


def _no_room(connection: Connection) -> StorageFull | RoleUnavailable:
    if connection.execute(select(stores.c.store).limit(1)).first() is None:
        return RoleUnavailable("No store has registered with the directory yet.", retry_after_seconds=1)
    return StorageFull("No store has room for another volume.")
