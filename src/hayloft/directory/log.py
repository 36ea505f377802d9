"""The event log: appended to in the transactions that it tells of, read in order by its consumers.

Positions come from one counter inside the write transaction, and write transactions follow one another:
they grow in commit order, without gaps, and none appears below one that was read. What an event says of a
photo is read from the photo's row when the event is read, so that an upload writes it once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from hayloft.directory.prepared import Prepared, prepared_insert
from hayloft.directory.records import Replicas
from hayloft.directory.schema import EVENT_COUNTER, consumers, counters, events, photos
from hayloft.directory.volumes import replicas_of
from hayloft.types import AlternateKey, Event, EventKind, PhotoId, volume_name, volume_of


class NewEvent(NamedTuple):
    """An event to be appended."""

    kind: EventKind
    photo: PhotoId
    payload: Mapping[str, Any] | None = None


class Read(NamedTuple):
    """Which events to read."""

    after: int
    limit: int
    kinds: frozenset[EventKind] | None = None
    """Only these, and the log's last one; None: all."""


class Advance(NamedTuple):
    """How far a consumer has got."""

    consumer: str
    position: int


_NEXT_POSITIONS: Final = Prepared(
    update(counters)
    .where(counters.c.name == EVENT_COUNTER)
    .values(value=counters.c.value + bindparam("number"))
    .returning(counters.c.value),
    "number",
)
_LAST_POSITION: Final = select(counters.c.value).where(counters.c.name == EVENT_COUNTER)
_APPEND: Final = prepared_insert(events)
EVENT_COLUMNS: Final = (
    events,
    photos.c.alternate_key,
    photos.c.size,
    photos.c.sha256,
    photos.c.media_type,
    photos.c.width,
    photos.c.height,
    photos.c.duplicate_of,
)
EVENT_SOURCE: Final = events.outerjoin(photos, photos.c.photo == events.c.photo)
_AFTER: Final = (
    select(*EVENT_COLUMNS)
    .select_from(EVENT_SOURCE)
    .where(events.c.position > bindparam("after"))
    .order_by(events.c.position)
    .limit(bindparam("limit"))
)
_OF_KINDS: Final = _AFTER.where(events.c.kind.in_(bindparam("kinds", expanding=True)))
_LAST: Final = (
    select(*EVENT_COLUMNS)
    .select_from(EVENT_SOURCE)
    .where(events.c.position > bindparam("after"))
    .order_by(events.c.position.desc())
    .limit(1)
)
_POSITION: Final = select(consumers.c.position).where(consumers.c.name == bindparam("consumer"))


def append(connection: Connection, new: Sequence[NewEvent], *, now_ms: int) -> int:
    """Append events in this transaction; returns the position of the last one."""
    last: int = _NEXT_POSITIONS.rows(connection, (len(new),))[0].value
    rows = [
        (position, entry.kind.value, entry.photo, now_ms, _payload_of(entry))
        for position, entry in enumerate(new, last - len(new) + 1)
    ]
    _APPEND.many(connection, rows)
    return last


def _payload_of(entry: NewEvent) -> str | None:
    return None if entry.payload is None else json.dumps(dict(entry.payload))


def read(connection: Connection, what: Read) -> tuple[Event, ...]:
    """Events after a position, in order."""
    rows = _rows(connection, what)
    replicas = replicas_of(connection, {volume_of(PhotoId(row.photo)) for row in rows})
    return tuple(event_of(row, replicas) for row in rows)


def _rows(connection: Connection, what: Read) -> Sequence[Row[Any]]:
    window = {"after": what.after, "limit": what.limit}
    if what.kinds is None:
        return connection.execute(_AFTER, window).all()
    rows = connection.execute(_OF_KINDS, {**window, "kinds": sorted(what.kinds)}).all()
    if len(rows) == what.limit:
        return rows
    # Without it a reader would go through what lies behind its last event again and again.
    behind = rows[-1].position if rows else what.after
    return [*rows, *connection.execute(_LAST, {"after": behind})]


def last_position(connection: Connection) -> int:
    """The last position given out; 0 for an empty log."""
    last: int = connection.execute(_LAST_POSITION).scalar_one()
    return last


def event_of(row: Row[Any], replicas: Replicas) -> Event:
    """The event in a row of the log joined with its photo."""
    photo = PhotoId(row.photo)
    kind = EventKind(row.kind)
    payload: dict[str, Any] = {}
    if kind is not EventKind.LINKED:
        payload["logical_volume"] = volume_name(volume_of(photo))
        payload["replicas"] = list(replicas.get(volume_of(photo), ()))
    if kind is EventKind.UPLOADED and row.size is not None:
        payload |= _facts(row)
    if row.payload is not None:
        payload |= json.loads(row.payload)
    return Event(position=row.position, kind=kind, photo=photo, at_ms=row.at_ms, payload=payload)


def _facts(row: Row[Any]) -> dict[str, Any]:
    return {
        "alt_key": AlternateKey(row.alternate_key).label,
        "size": row.size,
        "sha256": row.sha256.hex(),
        "media_type": row.media_type,
        "width": row.width,
        "height": row.height,
        "duplicate_of": row.duplicate_of,
    }


def position_of(connection: Connection, consumer: str) -> int:
    """The last position that a consumer has dealt with; 0 at first."""
    return connection.execute(_POSITION, {"consumer": consumer}).scalar() or 0


def advance(connection: Connection, step: Advance) -> None:
    """Remember how far a consumer has got; it never goes back."""
    before = connection.execute(_POSITION, {"consumer": step.consumer}).scalar()
    if before is None:
        connection.execute(insert(consumers), {"name": step.consumer, "position": step.position})
    elif step.position > before:
        connection.execute(
            update(consumers).where(consumers.c.name == step.consumer).values(position=step.position)
        )


def forget(connection: Connection, consumer: str) -> None:
    """Have a consumer that has lost what it made of the log begin again at its start."""
    connection.execute(delete(consumers).where(consumers.c.name == consumer))
