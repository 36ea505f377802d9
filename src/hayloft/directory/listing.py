"""Listing photos: pages in order of creation, a cursor that stays valid while photos come and go,
totals.

The order is (time of creation, id), which two indexes begin after a status, or a status and a media
type: a page is one range of an index for each status asked for, wherever in a million photos it lies.
Totals come from the counts by day; only the days that a time filter cuts in two are counted photo by
photo, in an index. A filter by digest counts and sorts the photos with those bytes, however many they
are.
"""

from __future__ import annotations

import base64
import heapq
import struct
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select, tuple_

from hayloft.directory.records import DAY_MS, day_of, record_of
from hayloft.directory.schema import Status, counts, photos
from hayloft.directory.volumes import replicas_of
from hayloft.errors import InvalidRequest
from hayloft.limits import PAGE_PHOTOS_MAX
from hayloft.types import PHOTO_ID_BITS, PhotoId, PhotoPage, PhotoQuery, volume_of

_CURSOR: Final = struct.Struct(">Bqq")
_OLDEST_FIRST, _NEWEST_FIRST = 1, 2


class _Place(NamedTuple):
    """A photo's place in the order."""

    created_at_ms: int
    photo: int


def check(query: PhotoQuery) -> None:
    """Refuse a query that makes no sense, before a transaction is opened for it.

    Raises:
        InvalidRequest: the cursor is not one of ours; the offset, the limit or the digest is out of range.
    """
    if query.offset < 0:
        raise InvalidRequest("An offset is not negative.")
    if not 1 <= query.limit <= PAGE_PHOTOS_MAX:
        raise InvalidRequest(f"A page has 1 to {PAGE_PHOTOS_MAX} photos.", limit=PAGE_PHOTOS_MAX)
    if query.sha256 is not None and len(query.sha256) != 32:
        raise InvalidRequest("A SHA-256 digest has 32 bytes.")
    _place_in(query)


def page(connection: Connection, query: PhotoQuery) -> PhotoPage:
    """One page of photos, and how many match in all.

    Raises:
        InvalidRequest: as ``check`` does.
    """
    rows = _rows(connection, query)
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    replicas = replicas_of(connection, {volume_of(PhotoId(row.photo)) for row in rows})
    return PhotoPage(
        photos=tuple(record_of(row, replicas) for row in rows),
        next_cursor=_cursor_at(rows[-1], query) if more else None,
        total=total(connection, query),
    )


def _rows(connection: Connection, query: PhotoQuery) -> list[Row[Any]]:
    """One row more than the page has, so that its end is known."""
    wanted = query.limit + 1
    statuses = _statuses(query)
    if len(statuses) == 1:
        run = _run_of(query, statuses[0]).offset(query.offset).limit(wanted)
        return list(connection.execute(run))
    runs: Iterable[Sequence[Row[Any]]] = [
        connection.execute(_run_of(query, status).limit(query.offset + wanted)).all() for status in statuses
    ]
    merged = heapq.merge(*runs, key=_place_of, reverse=query.newest_first)
    return list(islice(merged, query.offset, query.offset + wanted))


def _run_of(query: PhotoQuery, status: Status) -> Select[Any]:
    created = _created(query)
    place = tuple_(created, photos.c.photo)
    filters = _filters(query, query.created_from_ms, query.created_until_ms)
    run = select(photos).where(photos.c.status == status.value, *filters)
    after = _place_in(query)
    if query.newest_first:
        run = run.order_by(created.desc(), photos.c.photo.desc())
        return run if after is None else run.where(place < after)
    run = run.order_by(created, photos.c.photo)
    return run if after is None else run.where(place > after)


def _filters(query: PhotoQuery, start: int | None, end: int | None) -> list[ColumnElement[bool]]:
    """The conditions beside the status, for photos created from ``start`` until ``end``."""
    created = _created(query)
    filters: list[ColumnElement[bool]] = []
    if query.sha256 is not None:
        filters.append(photos.c.sha256 == query.sha256)
    if query.media_type is not None:
        known_digest = query.sha256 is not None
        filters.append(
            (photos.c.media_type + "" if known_digest else photos.c.media_type) == query.media_type
        )
    if start is not None:
        filters.append(created >= start)
    if end is not None:
        filters.append(created < end)
    return filters


def _created(query: PhotoQuery) -> ColumnElement[int]:
    """The time of creation. Beside a digest it is written as a sum, and a media type as a concatenation,
    which no index serves: otherwise SQLite walks through all photos in their order to spare itself the
    sorting of a few."""
    return photos.c.created_at_ms if query.sha256 is None else photos.c.created_at_ms + 0


def total(connection: Connection, query: PhotoQuery) -> int:
    """How many photos match the query's filters."""
    if query.sha256 is not None:
        return _count(connection, query, query.created_from_ms, query.created_until_ms)
    start, end = query.created_from_ms, query.created_until_ms
    first_day = None if start is None else -(-start // DAY_MS)
    end_day = None if end is None else day_of(end)
    if first_day is not None and end_day is not None and first_day > end_day:
        return _count(connection, query, start, end)
    number = _count_days(connection, query, first_day, end_day)
    if start is not None and first_day is not None and first_day * DAY_MS > start:
        number += _count(connection, query, start, first_day * DAY_MS)
    if end is not None and end_day is not None and end_day * DAY_MS < end:
        number += _count(connection, query, end_day * DAY_MS, end)
    return number


def _count_days(connection: Connection, query: PhotoQuery, first: int | None, end: int | None) -> int:
    """Photos of whole days, from the counts."""
    statement = select(func.coalesce(func.sum(counts.c.photos), 0)).where(
        counts.c.status.in_([status.value for status in _statuses(query)])
    )
    if query.media_type is not None:
        statement = statement.where(counts.c.media_type == query.media_type)
    if first is not None:
        statement = statement.where(counts.c.day >= first)
    if end is not None:
        statement = statement.where(counts.c.day < end)
    return int(connection.execute(statement).scalar_one())


def _count(connection: Connection, query: PhotoQuery, start: int | None, end: int | None) -> int:
    """Photos of a part of a day, or of a digest, counted in an index."""
    statuses = photos.c.status.in_([status.value for status in _statuses(query)])
    counted = select(func.count()).select_from(photos).where(statuses, *_filters(query, start, end))
    return int(connection.execute(counted).scalar_one())


def _statuses(query: PhotoQuery) -> tuple[Status, ...]:
    return tuple(Status) if query.status is None else (Status.of(query.status),)


def _place_of(row: Row[Any]) -> _Place:
    return _Place(row.created_at_ms, row.photo)


def _cursor_at(row: Row[Any], query: PhotoQuery) -> str:
    order = _NEWEST_FIRST if query.newest_first else _OLDEST_FIRST
    return base64.urlsafe_b64encode(_CURSOR.pack(order, row.created_at_ms, row.photo)).decode().rstrip("=")


def _place_in(query: PhotoQuery) -> _Place | None:
    if query.cursor is None:
        return None
    try:
        padded = query.cursor + "=" * (-len(query.cursor) % 4)
        order, *place = _CURSOR.unpack(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, struct.error) as error:
        raise InvalidRequest("The cursor is not one that a listing returned.") from error
    if order != (_NEWEST_FIRST if query.newest_first else _OLDEST_FIRST):
        raise InvalidRequest("The cursor belongs to a listing in the other order.")
    if min(place) < 0 or place[1] >= 1 << PHOTO_ID_BITS:
        raise InvalidRequest("The cursor is not one that a listing returned.")
    return _Place(*place)
