"""Leases: which volume a writer gets, and the making of new volumes when there are too few to write to.

A block of sequence numbers is taken by moving the volume's high-water mark, in a write transaction: no
number is ever given out twice, and a block whose holder dies is simply never used. The directory keeps
``writable_max`` volumes open for writing; each holder is sent to the volume that fewest others write to.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from hayloft import limits
from hayloft.directory.schema import leases, placements, stores, volumes
from hayloft.directory.volumes import IS_OPEN, add, place, replicas_of
from hayloft.errors import RoleUnavailable, StorageFull
from hayloft.types import Lease, Sequence, StoreId, VolumeId

HOLDER_FRESH_MS: Final = 600_000
"""A holder that has leased nothing for ten minutes is taken to write no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePolicy:
    """How many volumes take writes, where new ones are placed, when one is full."""

    writable_max: int = 1
    replication: int | None = None
    """Replicas of a new volume; None: three, or as many as there are stores."""
    replicas_min: int | None = 1
    """A volume with fewer replicas takes no writes; None: two, or one as long as there are fewer than three
    stores, those counted that are away."""
    volume_size_bytes_max: int = limits.VOLUME_SIZE_BYTES_MAX
    free_bytes_min: int = limits.FREE_SPACE_RESERVE_BYTES
    """A store with less free space gets no new volume."""
    silence_ms_max: int | None = None
    """A store that has sent no heartbeat for this long gets no new volume, and the volumes that it has take
    no writes; None: it does not matter."""


class LeaseRequest(NamedTuple):
    """Who wants how many sequence numbers."""

    holder: str
    number: int
    now_ms: int
    avoid: frozenset[StoreId] = frozenset()
    """Stores that the holder cannot reach."""


class _Space(NamedTuple):
    store: StoreId
    unpromised_bytes: int
    zone: str | None


_WRITABLE: Final = (
    select(volumes)
    .where(IS_OPEN, volumes.c.next_sequence < limits.SEQUENCES_PER_VOLUME_MAX)
    .order_by(volumes.c.volume)
)
_ON_FULL_STORES: Final = (
    select(placements.c.volume)
    .join_from(placements, stores, placements.c.store == stores.c.store)
    .where(stores.c.free_bytes <= bindparam("least"))
)
_ON_STORES: Final = select(placements.c.volume).where(
    placements.c.store.in_(bindparam("avoided", expanding=True))
)
_ON_SILENT_STORES: Final = (
    select(placements.c.volume)
    .join_from(placements, stores, placements.c.store == stores.c.store, isouter=True)
    .where(func.coalesce(stores.c.seen_at_ms, -1) < bindparam("heard_ms"))
)
_REPLICAS: Final = select(placements.c.volume, func.count().label("replicas")).group_by(placements.c.volume)
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
_KNOWN: Final = select(func.count()).select_from(stores)
_STORES: Final = select(stores.c.store, stores.c.free_bytes, stores.c.seen_at_ms, stores.c.zone)
_PROMISED: Final = (
    select(
        placements.c.store, func.count().label("volumes"), func.sum(placements.c.size_bytes).label("used")
    )
    .join_from(placements, volumes, placements.c.volume == volumes.c.volume)
    .where(IS_OPEN)
    .group_by(placements.c.store)
)


def lease(connection: Connection, request: LeaseRequest, policy: WritePolicy) -> Lease:
    """Take a block of sequence numbers of a writable volume.

    Raises:
        StorageFull: there is no writable volume, and too few stores have room for a new one.
        RoleUnavailable: there is no writable volume, and too few stores are known, or heard of any more.
    """
    writable = _writable(connection, policy, request)
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


def refusal(connection: Connection, policy: WritePolicy, now_ms: int) -> str:
    """Why nobody could take a block of sequence numbers now; empty if anybody could."""
    anybody = LeaseRequest("", 1, now_ms)
    if any(_writable_now(connection, policy, anybody)):
        return ""
    if len(_spaces(connection, policy, anybody)) >= _replicas_min(connection, policy):
        return ""
    return _no_room(connection, policy, anybody).message


def _writable(connection: Connection, policy: WritePolicy, request: LeaseRequest) -> list[Row[Any]]:
    """The volumes to choose from, after new ones have been made for those that are missing.

    Volumes with fewer replicas than could be had now, made while stores were away or had not come yet, are
    left alone when there are others. Volumes with a replica on a store that is full, or that the holder
    cannot reach, are chosen only when there is nothing else: the append will fail, unless the store has got
    better meanwhile.
    """
    spaces = _spaces(connection, policy, request)
    replicas = min(policy.replication or limits.REPLICATION_DEFAULT, len(spaces))
    found, worse = _writable_now(connection, policy, request)
    whole = _with_replicas(connection, found, replicas)
    if len(spaces) >= _replicas_min(connection, policy) and len(whole) < policy.writable_max:
        for _ in range(policy.writable_max - len(whole)):
            spaces = _create(connection, policy, spaces, request.now_ms)
        found, worse = _writable_now(connection, policy, request)
        whole = _with_replicas(connection, found, replicas)
    if not found and not worse:
        raise _no_room(connection, policy, request)
    return whole or found or worse


def _replicas_min(connection: Connection, policy: WritePolicy) -> int:
    """The replicas that a volume must have to take writes."""
    if policy.replicas_min is not None:
        return policy.replicas_min
    # Stores that are away count too: otherwise the bound would go with them.
    known = connection.execute(_KNOWN).scalar_one()
    enough = min(limits.REPLICAS_MIN_DEFAULT, policy.replication or limits.REPLICATION_DEFAULT)
    return enough if known > limits.REPLICAS_MIN_DEFAULT else 1


def _with_replicas(connection: Connection, rows: list[Row[Any]], replicas: int) -> list[Row[Any]]:
    """Those of some volumes that have so many replicas at least."""
    counted = {row.volume: row.replicas for row in connection.execute(_REPLICAS)}
    return [row for row in rows if counted.get(row.volume, 0) >= replicas]


def _writable_now(
    connection: Connection, policy: WritePolicy, request: LeaseRequest
) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """Writable volumes whose stores all have room and can be reached, and the others.

    A volume with too few replicas, or with one on a store that has fallen silent, takes no writes at all.
    """
    rows = list(connection.execute(_WRITABLE))
    if (replicas_min := _replicas_min(connection, policy)) > 1:
        rows = _with_replicas(connection, rows, replicas_min)
    if policy.silence_ms_max is not None:
        heard_ms = request.now_ms - policy.silence_ms_max
        silent = set(connection.execute(_ON_SILENT_STORES, {"heard_ms": heard_ms}).scalars())
        rows = [row for row in rows if row.volume not in silent]
    worse = set(connection.execute(_ON_FULL_STORES, {"least": policy.free_bytes_min}).scalars())
    if request.avoid:
        worse |= set(connection.execute(_ON_STORES, {"avoided": sorted(request.avoid)}).scalars())
    return [row for row in rows if row.volume not in worse], [row for row in rows if row.volume in worse]


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


def _spaces(connection: Connection, policy: WritePolicy, request: LeaseRequest) -> list[_Space]:
    """Stores to choose from, each with the space that its open volumes will not need."""
    promised = {
        row.store: max(0, row.volumes * policy.volume_size_bytes_max - int(row.used))
        for row in connection.execute(_PROMISED)
    }
    return [
        _Space(StoreId(row.store), row.free_bytes - promised.get(row.store, 0), row.zone)
        for row in connection.execute(_STORES)
        if row.free_bytes > policy.free_bytes_min
        and row.store not in request.avoid
        and _is_heard(row, policy, request)
    ]


def _is_heard(store: Any, policy: WritePolicy, request: LeaseRequest) -> bool:
    """Whether a store's last heartbeat is not too long ago."""
    return policy.silence_ms_max is None or request.now_ms - store.seen_at_ms <= policy.silence_ms_max


def _create(connection: Connection, policy: WritePolicy, spaces: list[_Space], now_ms: int) -> list[_Space]:
    """Make a volume on the stores with most space, in as many zones as can be; returns what is left."""
    chosen = _spread(spaces, policy.replication or limits.REPLICATION_DEFAULT)
    volume = _next_volume(connection)
    add(connection, volume, created_at_ms=now_ms)
    for space in chosen:
        place(connection, volume, space.store)
    size = policy.volume_size_bytes_max
    return [
        space._replace(unpromised_bytes=space.unpromised_bytes - size) if space in chosen else space
        for space in spaces
    ]


def _spread(spaces: list[_Space], replication: int) -> list[_Space]:
    """The stores with most space, one zone only taken again when there is no other.

    A store that does not say where it stands is a zone of its own.
    """
    ranked = sorted(spaces, key=lambda space: (-space.unpromised_bytes, space.store))
    chosen: list[_Space] = []
    while ranked and len(chosen) < replication:
        taken = Counter(space.zone for space in chosen)
        taken[None] = 0
        best = min(ranked, key=lambda space: taken[space.zone])
        ranked.remove(best)
        chosen.append(best)
    return chosen


def _next_volume(connection: Connection) -> VolumeId:
    # The lowest number never used, not the highest plus one: a store may hold volumes that others numbered.
    used = set(connection.execute(select(volumes.c.volume)).scalars())
    for volume in range(1, limits.VOLUMES_MAX):
        if volume not in used:
            return VolumeId(volume)
    raise StorageFull("All volume numbers are used.")


def _no_room(
    connection: Connection, policy: WritePolicy, request: LeaseRequest
) -> StorageFull | RoleUnavailable:
    known = connection.execute(_STORES).all()
    if not known:
        return RoleUnavailable("No store has registered with the directory yet.", retry_after_seconds=1)
    heard = [row.store for row in known if _is_heard(row, policy, request)]
    if not heard:
        return RoleUnavailable("No store has been heard of lately.", retry_after_seconds=1)
    replicas_min = _replicas_min(connection, policy)
    reached = len(set(heard) - request.avoid)
    if reached < replicas_min:
        return RoleUnavailable(
            f"{reached} of {len(known)} stores can be reached, and an upload needs {replicas_min}.",
            retry_after_seconds=limits.RETRY_AFTER_SECONDS,
            replicas_min=replicas_min,
        )
    if replicas_min > 1:
        return StorageFull(f"Fewer than {replicas_min} stores have room for another volume.")
    return StorageFull("No store has room for another volume.")
