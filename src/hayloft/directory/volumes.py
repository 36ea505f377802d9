"""Logical volumes and the stores they are placed on: what heartbeats say, what may be written.

A volume takes writes when it is neither sealed (for good: a store said so) nor taken out of the writable
set (a replica failed, it is full, somebody asked). It knows nothing of photos.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from hayloft.directory.records import Replicas
from hayloft.directory.schema import placements, stores, volumes
from hayloft.errors import Conflict, VolumeNotFound
from hayloft.types import KnownStore, Placement, StoreHealth, StoreId, VolumeId, VolumeState, volume_name


class Heartbeat(NamedTuple):
    """What a store says of itself."""

    health: StoreHealth
    url: str | None
    now_ms: int
    volume_size_bytes_max: int


class Writability(NamedTuple):
    """Whether a volume is to take writes."""

    volume: VolumeId
    writable: bool


class Failure(NamedTuple):
    """A replica that failed."""

    volume: VolumeId
    store: StoreId
    reason: str


_PLACEMENTS: Final = select(
    placements.c.volume, placements.c.store, volumes.c.writable, volumes.c.sealed
).join_from(placements, volumes, placements.c.volume == volumes.c.volume)
# Healthy replicas come first: a null failure sorts before any text in neither database by default.
_HEALTHY_FIRST: Final = (placements.c.volume, placements.c.failure.is_not(None), placements.c.store)
_ALL: Final = _PLACEMENTS.order_by(*_HEALTHY_FIRST)
_OF_VOLUMES: Final = _PLACEMENTS.where(
    placements.c.volume.in_(bindparam("chosen", expanding=True))
).order_by(*_HEALTHY_FIRST)
_VOLUME: Final = select(volumes).where(volumes.c.volume == bindparam("chosen"))
_REPLICA: Final = select(placements.c.store).where(
    placements.c.volume == bindparam("of_volume"), placements.c.store == bindparam("of_store")
)


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
        raise _unknown(volume)
    return found[volume]


def replicas_of(connection: Connection, chosen: Collection[VolumeId]) -> Replicas:
    """The stores of some volumes; a volume that is not known has none."""
    if not chosen:
        return {}
    found = _grouped(connection.execute(_OF_VOLUMES, {"chosen": sorted(chosen)}).all())
    return {volume: placement.replicas for volume, placement in found.items()}


def _grouped(rows: Any) -> Mapping[VolumeId, Placement]:
    replicas: dict[VolumeId, list[StoreId]] = {}
    writable: dict[VolumeId, bool] = {}
    for row in rows:
        replicas.setdefault(row.volume, []).append(StoreId(row.store))
        writable[row.volume] = row.writable and not row.sealed
    return {
        volume: Placement(volume=volume, replicas=tuple(found), writable=writable[volume])
        for volume, found in replicas.items()
    }


def all_stores(connection: Connection) -> tuple[KnownStore, ...]:
    """Every store that has ever sent a heartbeat."""
    return tuple(
        KnownStore(
            store=StoreId(row.store),
            url=row.url,
            free_bytes=row.free_bytes,
            capacity_bytes=row.capacity_bytes,
            seen_at_ms=row.seen_at_ms,
        )
        for row in connection.execute(select(stores).order_by(stores.c.store))
    )


def register(connection: Connection, heartbeat: Heartbeat) -> None:
    """Record a store's heartbeat. Volumes that it has and the directory has not are adopted, read-only:
    their numbers must never be given to others."""
    _record_store(connection, heartbeat)
    for state in heartbeat.health.volumes:
        _record_volume(connection, heartbeat, state)


def _record_store(connection: Connection, heartbeat: Heartbeat) -> None:
    health = heartbeat.health
    values: dict[str, Any] = {
        "free_bytes": health.free_bytes,
        "capacity_bytes": health.capacity_bytes,
        "seen_at_ms": heartbeat.now_ms,
    }
    if heartbeat.url is not None:
        values["url"] = heartbeat.url
    changed = connection.execute(update(stores).where(stores.c.store == health.store).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(stores).values(store=health.store, **values))


def _record_volume(connection: Connection, heartbeat: Heartbeat, state: VolumeState) -> None:
    row = connection.execute(_VOLUME, {"chosen": state.volume}).one_or_none()
    if row is None:
        add(connection, state.volume, created_at_ms=heartbeat.now_ms, reason="not made by this directory")
    place(
        connection, state.volume, heartbeat.health.store, size_bytes=state.size_bytes, needles=state.needles
    )
    if state.sealed and not (row is not None and row.sealed):
        _set(connection, state.volume, sealed=True, writable=False, reason="sealed")
    elif row is not None and row.writable and state.size_bytes >= heartbeat.volume_size_bytes_max:
        _set(connection, state.volume, writable=False, reason="full")


def add(
    connection: Connection,
    volume: VolumeId,
    *,
    created_at_ms: int,
    next_sequence: int = 0,
    writable: bool = False,
    reason: str = "",
) -> None:
    """Add a logical volume."""
    connection.execute(
        insert(volumes),
        {
            "volume": volume,
            "next_sequence": next_sequence,
            "writable": writable,
            "sealed": False,
            "reason": reason,
            "created_at_ms": created_at_ms,
        },
    )


def place(
    connection: Connection, volume: VolumeId, store: StoreId, *, size_bytes: int = 0, needles: int = 0
) -> None:
    """Record that a store holds a replica of a volume, and how big it is."""
    values = {"size_bytes": size_bytes, "needles": needles}
    changed = connection.execute(
        update(placements).where(placements.c.volume == volume, placements.c.store == store).values(values)
    )
    if changed.rowcount == 0:
        connection.execute(insert(placements).values(volume=volume, store=store, **values))


def set_writable(connection: Connection, wish: Writability) -> None:
    """Put a volume into, or take it out of, the writable set; putting it in forgets its failures.

    Raises:
        VolumeNotFound: there is no such volume.
        Conflict: it is sealed, and stays so.
    """
    row = connection.execute(_VOLUME, {"chosen": wish.volume}).one_or_none()
    if row is None:
        raise _unknown(wish.volume)
    if not wish.writable:
        _set(connection, wish.volume, writable=False, reason=row.reason or "taken out of the writable set")
        return
    if row.sealed:
        raise Conflict(f"{volume_name(wish.volume)} is sealed.", logical_volume=volume_name(wish.volume))
    _set(connection, wish.volume, writable=True, reason="")
    connection.execute(update(placements).where(placements.c.volume == wish.volume).values(failure=None))


def report_failure(connection: Connection, failure: Failure) -> None:
    """Take a volume out of the writable set because a replica of it failed.

    Raises:
        VolumeNotFound: there is no such volume on that store.
    """
    replica = {"of_volume": failure.volume, "of_store": failure.store}
    if connection.execute(_REPLICA, replica).first() is None:
        raise _unknown(failure.volume)
    connection.execute(
        update(placements)
        .where(placements.c.volume == failure.volume, placements.c.store == failure.store)
        .values(failure=failure.reason)
    )
    _set(connection, failure.volume, writable=False, reason=f"{failure.store}: {failure.reason}")


def _set(connection: Connection, volume: VolumeId, **values: Any) -> None:
    connection.execute(update(volumes).where(volumes.c.volume == volume).values(values))


def _unknown(volume: VolumeId) -> VolumeNotFound:
    name = volume_name(volume)
    return VolumeNotFound(f"The directory has no {name}.", logical_volume=name)
