"""Parked events: those that a consumer could not deal with, kept with the reason until somebody retries
them.

A parked event no longer stands in the way of later ones. Retrying makes it ``due``: its consumer gets
it once more, and takes it off the list when it has dealt with it, or parks it again.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from hayloft.directory.log import EVENT_COLUMNS, EVENT_SOURCE, event_of
from hayloft.directory.schema import events, parked
from hayloft.directory.volumes import replicas_of
from hayloft.types import Event, ParkedEvent, PhotoId, volume_of


class Parking(NamedTuple):
    """An event to be set aside."""

    consumer: str
    position: int
    reason: str
    now_ms: int


class Parked(NamedTuple):
    """One parked event of a consumer, or all of them (``position`` None)."""

    consumer: str
    position: int | None


_COLUMNS: Final = (parked.c.reason, parked.c.times, parked.c.parked_at_ms, parked.c.due)
_PARKED: Final = (
    select(*EVENT_COLUMNS, *_COLUMNS)
    .select_from(EVENT_SOURCE.join(parked, parked.c.position == events.c.position))
    .where(parked.c.consumer == bindparam("of_consumer"))
    .order_by(parked.c.position)
    .limit(bindparam("limit"))
)
_DUE: Final = _PARKED.where(parked.c.due)


def park(connection: Connection, parking: Parking) -> None:
    """Set an event aside; once more counts how often that happened."""
    values = {"reason": parking.reason, "parked_at_ms": parking.now_ms, "due": False}
    changed = connection.execute(
        update(parked)
        .where(parked.c.consumer == parking.consumer, parked.c.position == parking.position)
        .values(times=parked.c.times + 1, **values)
    )
    if changed.rowcount == 0:
        connection.execute(
            insert(parked).values(consumer=parking.consumer, position=parking.position, times=1, **values)
        )


def parked_events(connection: Connection, consumer: str, limit: int) -> tuple[ParkedEvent, ...]:
    """A consumer's parked events, in the log's order."""
    return _records(
        connection, connection.execute(_PARKED, {"of_consumer": consumer, "limit": limit}).all()
    )


def due(connection: Connection, consumer: str, limit: int) -> tuple[Event, ...]:
    """Parked events that somebody wants tried again."""
    rows = connection.execute(_DUE, {"of_consumer": consumer, "limit": limit}).all()
    return tuple(record.event for record in _records(connection, rows))


def retry(connection: Connection, which: Parked) -> int:
    """Make parked events due; returns how many there are."""
    statement = update(parked).where(parked.c.consumer == which.consumer).values(due=True)
    if which.position is not None:
        statement = statement.where(parked.c.position == which.position)
    return connection.execute(statement).rowcount


def unpark(connection: Connection, which: Parked) -> None:
    """Take an event off the list: it has been dealt with."""
    connection.execute(
        delete(parked).where(parked.c.consumer == which.consumer, parked.c.position == which.position)
    )


def _records(connection: Connection, rows: Any) -> tuple[ParkedEvent, ...]:
    replicas = replicas_of(connection, {volume_of(PhotoId(row.photo)) for row in rows})
    return tuple(
        ParkedEvent(
            event=event_of(row, replicas),
            reason=row.reason,
            times=row.times,
            parked_at_ms=row.parked_at_ms,
            due=row.due,
        )
        for row in rows
    )
