"""What stores say of themselves: how much room they have, which volumes they hold, and which they should
hold and do not.

A store that comes back with an empty disk sends heartbeats like any other; what betrays it is the volumes
that it no longer speaks of. A volume that it spoke of before is missing at once. One that it never did may
merely not have been written to yet, so it is missing when others have said something of theirs, and this
store, asked again later, still has not.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from hayloft.directory.schema import placements, stores
from hayloft.directory.volumes import ADOPTED, add, change, place, volume_rows
from hayloft.types import MISSING, KnownStore, StoreHealth, StoreId, VolumeId, VolumeState

UNUSABLE: Final = "cannot be used"
"""The failure of a replica that its store itself tells of."""

ABSENCE_MS_MAX: Final = 10_000
"""A replica of a volume that others have is missing if it is absent from heartbeats this far apart: the
first may have been on its way when the volume was first written to."""


class Heartbeat(NamedTuple):
    """What a store says of itself."""

    health: StoreHealth
    url: str | None
    now_ms: int
    volume_size_bytes_max: int
    zone: str | None = None


class _Known(NamedTuple):
    """What is recorded of a volume, and of the replica on the store that speaks; None where nothing is."""

    volume: Any
    placed: Any


_PLACED: Final = select(placements).where(placements.c.store == bindparam("of_store"))
_WRITTEN: Final = (
    select(placements.c.volume)
    .where(placements.c.volume.in_(bindparam("chosen", expanding=True)), placements.c.size_bytes > 0)
    .distinct()
)


def all_stores(connection: Connection) -> tuple[KnownStore, ...]:
    """Every store that has ever sent a heartbeat."""
    return tuple(
        KnownStore(
            store=StoreId(row.store),
            url=row.url,
            free_bytes=row.free_bytes,
            capacity_bytes=row.capacity_bytes,
            seen_at_ms=row.seen_at_ms,
            zone=row.zone,
        )
        for row in connection.execute(select(stores).order_by(stores.c.store))
    )


def register(connection: Connection, heartbeat: Heartbeat) -> None:
    """Record a store's heartbeat.

    Volumes that it has and the directory has not are adopted, withdrawn: their numbers must never be given
    to others. A replica that the directory never placed there, or has placed elsewhere since, is ignored.
    """
    _record_store(connection, heartbeat)
    placed = {
        row.volume: row for row in connection.execute(_PLACED, {"of_store": heartbeat.health.store}).all()
    }
    known = volume_rows(connection, [state.volume for state in heartbeat.health.volumes])
    for state in heartbeat.health.volumes:
        _record_volume(
            connection, heartbeat, state, _Known(known.get(state.volume), placed.get(state.volume))
        )
    told = {state.volume for state in heartbeat.health.volumes}
    _look_for_missing(connection, heartbeat, [row for row in placed.values() if row.volume not in told])


def _record_store(connection: Connection, heartbeat: Heartbeat) -> None:
    health = heartbeat.health
    values: dict[str, Any] = {
        "free_bytes": health.free_bytes,
        "capacity_bytes": health.capacity_bytes,
        "seen_at_ms": heartbeat.now_ms,
    }
    if heartbeat.url is not None:
        values["url"] = heartbeat.url
    if heartbeat.zone is not None:
        values["zone"] = heartbeat.zone
    changed = connection.execute(update(stores).where(stores.c.store == health.store).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(stores).values(store=health.store, **values))


def _record_volume(connection: Connection, heartbeat: Heartbeat, state: VolumeState, known: _Known) -> None:
    volume, placed = known
    store = heartbeat.health.store
    if volume is None:
        add(connection, state.volume, created_at_ms=heartbeat.now_ms, withdrawn=ADOPTED)
    elif placed is None and volume.withdrawn != ADOPTED:
        return
    if placed is None:
        place(connection, state.volume, store)
    values = _news(state, placed)
    if placed is None or any(getattr(placed, name) != value for name, value in values.items()):
        _change_replica(connection, state.volume, store, **values)
    if not _is_unusable(state):
        _close_if_done(connection, heartbeat, state, volume)


def _news(state: VolumeState, placed: Any) -> dict[str, Any]:
    """What a store's word on a replica changes in what is recorded of it."""
    if _is_unusable(state):
        return {"failure": UNUSABLE}
    values = {"size_bytes": state.size_bytes, "needles": state.needles, "absent_at_ms": None}
    if placed is not None and placed.failure == UNUSABLE and 0 < placed.size_bytes <= state.size_bytes:
        # It could not be opened for a while, and has lost nothing that its store had spoken of.
        return {**values, "failure": None}
    return values


def _is_unusable(state: VolumeState) -> bool:
    """Whether its store could not even open it."""
    return state.corrupt > 0 and state.size_bytes == 0


def _close_if_done(connection: Connection, heartbeat: Heartbeat, state: VolumeState, volume: Any) -> None:
    if state.sealed and not (volume is not None and volume.sealed):
        change(connection, state.volume, sealed=True)
    elif state.size_bytes >= heartbeat.volume_size_bytes_max and not (volume is not None and volume.full):
        change(connection, state.volume, full=True)


def _look_for_missing(connection: Connection, heartbeat: Heartbeat, absent: list[Any]) -> None:
    suspects = [row for row in absent if row.failure is None]
    if not suspects:
        return
    chosen = {"chosen": [row.volume for row in suspects]}
    written = set(connection.execute(_WRITTEN, chosen).scalars())
    for row in suspects:
        if row.size_bytes > 0 or _is_overdue(row, heartbeat.now_ms):
            _change_replica(connection, row.volume, heartbeat.health.store, failure=MISSING)
        elif row.volume in written and row.absent_at_ms is None:
            _change_replica(connection, row.volume, heartbeat.health.store, absent_at_ms=heartbeat.now_ms)


def _is_overdue(row: Any, now_ms: int) -> bool:
    return row.absent_at_ms is not None and now_ms - row.absent_at_ms >= ABSENCE_MS_MAX


def _change_replica(connection: Connection, volume: VolumeId, store: StoreId, **values: Any) -> None:
    here = (placements.c.volume == volume) & (placements.c.store == store)
    connection.execute(update(placements).where(here).values(values))
