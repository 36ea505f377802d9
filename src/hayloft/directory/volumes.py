"""Logical volumes and their replicas: where they are, whether they are whole, whether they take writes.

A volume takes writes when it is not sealed (for good: a store said so), not full, not withdrawn (somebody
asked) and none of its replicas has a failure. Each of the four is recorded by itself, so that mending the
last failing replica opens the volume exactly if nothing else keeps it closed. It knows nothing of photos.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select, update

from hayloft.directory.records import Replicas
from hayloft.directory.schema import placements, stores, volumes
from hayloft.errors import Conflict, VolumeNotFound
from hayloft.types import Placement, ReplicaState, StoreId, VolumeId, volume_name

WITHDRAWN: Final = "taken out of the writable set"
ADOPTED: Final = "not made by this directory"
"""Why a volume is withdrawn that a store had and the directory did not know."""
NOT_COPIED: Final = "not copied yet"
"""The failure of a replica that is to be made."""


class Writability(NamedTuple):
    """Whether a volume is to take writes."""

    volume: VolumeId
    writable: bool


class Failure(NamedTuple):
    """A replica that failed."""

    volume: VolumeId
    store: StoreId
    reason: str


class Mended(NamedTuple):
    """A replica that is whole again."""

    volume: VolumeId
    store: StoreId


class Replacement(NamedTuple):
    """A replica that is to be made, instead of another one or (``old`` None) beside those there are."""

    volume: VolumeId
    old: StoreId | None
    new: StoreId


def _is_open() -> ColumnElement[bool]:
    replica = placements.alias()
    failing = select(replica.c.volume).where(replica.c.failure.is_not(None))
    withheld = volumes.c.sealed | volumes.c.full | volumes.c.withdrawn.is_not(None)
    return ~withheld & volumes.c.volume.not_in(failing)


IS_OPEN: Final = _is_open()
"""The condition under which a volume takes writes, as far as the directory's own records say."""

_PLACEMENTS: Final = select(
    placements.c.volume,
    placements.c.store,
    placements.c.failure,
    volumes.c.sealed,
    volumes.c.full,
    volumes.c.withdrawn,
).join_from(placements, volumes, placements.c.volume == volumes.c.volume)
_BY_STORE: Final = (placements.c.volume, placements.c.store)
_ALL: Final = _PLACEMENTS.order_by(*_BY_STORE)
_OF_VOLUMES: Final = _PLACEMENTS.where(
    placements.c.volume.in_(bindparam("chosen", expanding=True))
).order_by(*_BY_STORE)
_VOLUMES: Final = select(volumes).where(volumes.c.volume.in_(bindparam("chosen", expanding=True)))
_HERE: Final = (placements.c.volume == bindparam("of_volume")) & (
    placements.c.store == bindparam("of_store")
)
_REPLICA: Final = select(placements).where(_HERE)
_REPLICAS: Final = select(placements).order_by(placements.c.volume, placements.c.store)


def all_placements(connection: Connection) -> tuple[Placement, ...]:
    """Every volume with its replicas."""
    return tuple(_grouped(connection.execute(_ALL).all()).values())


def placement_of(connection: Connection, volume: VolumeId) -> Placement:
    """One volume with its replicas.

    Raises:
        VolumeNotFound: there is no such volume.
    """
    found = _grouped(connection.execute(_OF_VOLUMES, {"chosen": [volume]}).all())
    if volume not in found:
        raise unknown(volume)
    return found[volume]


def replicas_of(connection: Connection, chosen: Collection[VolumeId]) -> Replicas:
    """The stores of some volumes; a volume that is not known has none."""
    if not chosen:
        return {}
    found = _grouped(connection.execute(_OF_VOLUMES, {"chosen": sorted(chosen)}).all())
    return {volume: placement.replicas for volume, placement in found.items()}


def _grouped(rows: Any) -> Mapping[VolumeId, Placement]:
    by_volume: dict[VolumeId, list[Any]] = {}
    for row in rows:
        by_volume.setdefault(VolumeId(row.volume), []).append(row)
    return {volume: _placement(volume, found) for volume, found in by_volume.items()}


def _placement(volume: VolumeId, rows: list[Any]) -> Placement:
    """A volume with its healthy replicas first, another one of them first for the next volume: so that
    reads are spread over stores even by those who always ask the first."""
    healthy = [StoreId(row.store) for row in rows if row.failure is None]
    failing = [StoreId(row.store) for row in rows if row.failure is not None]
    turn = volume % len(healthy) if healthy else 0
    one = rows[0]
    closed = bool(failing) or one.sealed or one.full or one.withdrawn is not None
    replicas = (*healthy[turn:], *healthy[:turn], *failing)
    return Placement(volume=volume, replicas=replicas, writable=not closed)


def all_replicas(connection: Connection) -> tuple[ReplicaState, ...]:
    """Every replica of every volume."""
    return tuple(
        ReplicaState(
            volume=VolumeId(row.volume),
            store=StoreId(row.store),
            failure=row.failure,
            size_bytes=row.size_bytes,
            needles=row.needles,
        )
        for row in connection.execute(_REPLICAS)
    )


def volume_row(connection: Connection, volume: VolumeId) -> Any:
    """A volume's row, or None."""
    return volume_rows(connection, [volume]).get(volume)


def volume_rows(connection: Connection, chosen: Collection[VolumeId]) -> Mapping[VolumeId, Any]:
    """The rows of those volumes that are known."""
    rows = connection.execute(_VOLUMES, {"chosen": sorted(chosen)}) if chosen else ()
    return {VolumeId(row.volume): row for row in rows}


def add(
    connection: Connection,
    volume: VolumeId,
    *,
    created_at_ms: int,
    next_sequence: int = 0,
    withdrawn: str | None = None,
) -> None:
    """Add a logical volume."""
    connection.execute(
        insert(volumes),
        {
            "volume": volume,
            "next_sequence": next_sequence,
            "sealed": False,
            "full": False,
            "withdrawn": withdrawn,
            "created_at_ms": created_at_ms,
        },
    )


def place(
    connection: Connection,
    volume: VolumeId,
    store: StoreId,
    *,
    size_bytes: int = 0,
    needles: int = 0,
    failure: str | None = None,
) -> None:
    """Record that a store holds, or is to hold, a replica of a volume."""
    values = {"size_bytes": size_bytes, "needles": needles, "failure": failure}
    connection.execute(insert(placements).values(volume=volume, store=store, **values))


def change(connection: Connection, volume: VolumeId, **values: Any) -> None:
    """Change what is recorded of a volume."""
    connection.execute(update(volumes).where(volumes.c.volume == volume).values(values))


def set_writable(connection: Connection, wish: Writability) -> None:
    """Put a volume into, or take it out of, the writable set; putting it in forgets its failures.

    Raises:
        VolumeNotFound: there is no such volume.
        Conflict: it is sealed, and stays so; or it was made elsewhere, and which of its ids are free is not
            known.
    """
    row = volume_row(connection, wish.volume)
    if row is None:
        raise unknown(wish.volume)
    if not wish.writable:
        change(connection, wish.volume, withdrawn=row.withdrawn or WITHDRAWN)
        return
    if row.sealed:
        raise Conflict(f"{volume_name(wish.volume)} is sealed.", logical_volume=volume_name(wish.volume))
    if row.withdrawn == ADOPTED:
        name = volume_name(wish.volume)
        raise Conflict(f"{name} was not made by this directory.", logical_volume=name)
    change(connection, wish.volume, withdrawn=None, full=False)
    connection.execute(update(placements).where(placements.c.volume == wish.volume).values(failure=None))


def report_failure(connection: Connection, failure: Failure) -> None:
    """Note that a replica failed; its volume takes no writes meanwhile.

    Raises:
        VolumeNotFound: there is no such volume on that store.
    """
    _set_failure(connection, failure.volume, failure.store, failure.reason)


def mend(connection: Connection, mended: Mended) -> None:
    """Note that a replica is whole.

    Raises:
        VolumeNotFound: there is no such volume on that store.
    """
    _set_failure(connection, mended.volume, mended.store, None)


def _set_failure(connection: Connection, volume: VolumeId, store: StoreId, reason: str | None) -> None:
    here = (placements.c.volume == volume) & (placements.c.store == store)
    values = {"failure": reason} if reason is not None else {"failure": None, "absent_at_ms": None}
    if connection.execute(update(placements).where(here).values(values)).rowcount == 0:
        raise unknown(volume)


def replace_replica(connection: Connection, wanted: Replacement) -> None:
    """Have a replica made on another store; it counts as failed until it is mended.

    Raises:
        VolumeNotFound: there is no such volume, or not on the old store.
        Conflict: the new store is not known, or has a replica already.
    """
    volume, old, new = wanted
    if volume_row(connection, volume) is None:
        raise unknown(volume)
    if connection.execute(select(stores.c.store).where(stores.c.store == new)).first() is None:
        raise Conflict(f"No store {new} has registered.", store=new)
    if replica_row(connection, volume, new) is not None:
        raise Conflict(f"{new} has a replica of {volume_name(volume)} already.", store=new)
    if old is not None:
        gone = (placements.c.volume == volume) & (placements.c.store == old)
        if connection.execute(delete(placements).where(gone)).rowcount == 0:
            raise unknown(volume)
    place(connection, volume, new, failure=NOT_COPIED)


def replica_row(connection: Connection, volume: VolumeId, store: StoreId) -> Any:
    """What is recorded of one replica, or None."""
    return connection.execute(_REPLICA, {"of_volume": volume, "of_store": store}).one_or_none()


def unknown(volume: VolumeId) -> VolumeNotFound:
    """The error for a volume, or a replica of it, that is not recorded."""
    name = volume_name(volume)
    return VolumeNotFound(f"The directory has no {name}.", logical_volume=name)
