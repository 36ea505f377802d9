"""Fills an empty directory from what the volumes themselves hold: for the day the database is lost.

A needle carries its cookie, name, media type, digest and time of creation, so every photo comes back
with its id, its link and its place in listings. What needles do not carry is unknown afterwards:
dimensions (0), idempotency keys, consumers' positions, how duplicates were told when they were uploaded
(they are told again from the digests). Volumes come back read-only: which of their sequence numbers
were leased but never written cannot be known, and none may be given out twice. The event log is told
anew, an upload and, where it applies, a deletion for each photo, so that consumers find everything
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Integer, func, insert, literal_column, select, update

from hayloft.clock import Clock, SystemClock
from hayloft.database import Database
from hayloft.directory.counting import Total, totals
from hayloft.directory.log import NewEvent, append
from hayloft.directory.photos import add, existing
from hayloft.directory.records import DAY_MS, PhotoRow, signed
from hayloft.directory.schema import Status, counts, photos, volumes
from hayloft.directory.volumes import add as add_volume
from hayloft.directory.volumes import place
from hayloft.errors import Conflict
from hayloft.types import (
    SEQUENCE_BITS,
    AlternateKey,
    Cookie,
    EventKind,
    NeedleMetadata,
    PhotoId,
    StoreId,
    VolumeId,
    sequence_of,
    volume_of,
)

CHUNK_NEEDLES: Final = 2000
"""Needles in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundNeedle:
    """A needle as a scan of a volume found it."""

    photo: PhotoId
    alternate_key: AlternateKey
    cookie: Cookie
    size: int
    metadata: NeedleMetadata
    deleted: bool = False
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild brought back."""

    photos: int
    deleted: int
    volumes: int


async def rebuild(
    database: Database,
    needles: Iterable[FoundNeedle],
    *,
    placements: Mapping[VolumeId, tuple[StoreId, ...]],
    clock: Clock | None = None,
) -> Rebuilt:
    """Fill an empty, migrated directory with the photos of ``needles``, placed as ``placements`` say.

    Needles may come in any order, each photo's several needles too (its original counts); of replicas,
    one is enough. The iterable is read in a thread of its own. A rebuild that was cut off is started
    again on a new database.

    Raises:
        Conflict: the directory is not empty.
    """
    clock = clock or SystemClock()
    await database.write(_refuse_unless_empty)
    remaining = iter(needles)
    while chunk := await asyncio.to_thread(_take, remaining):
        await database.write(partial(_add, chunk=chunk, now_ms=clock.now_ms()))
    return await database.write(partial(_finish, placements=placements, now_ms=clock.now_ms()))


def _take(remaining: Iterator[FoundNeedle]) -> list[FoundNeedle]:
    return list(islice(remaining, CHUNK_NEEDLES))


def _refuse_unless_empty(connection: Connection) -> None:
    for table in (photos, volumes):
        if connection.execute(select(table).limit(1)).first() is not None:
            raise Conflict("A directory can only be rebuilt into an empty database.")


def _add(connection: Connection, chunk: list[FoundNeedle], now_ms: int) -> None:
    """Add the photos of one chunk, with their events."""
    best = _one_for_each_photo(chunk)
    stored = existing(connection, best)
    new = [needle for photo, needle in best.items() if photo not in stored]
    add(connection, [_row(needle) for needle in new])
    gone = [needle.photo for needle in new if needle.deleted]
    for photo, row in stored.items():
        better = _better(best[photo], row)
        if better is not None:
            connection.execute(update(photos).where(photos.c.photo == photo).values(better))
            if best[photo].deleted:
                gone.append(photo)
    append(connection, [NewEvent(EventKind.UPLOADED, needle.photo) for needle in new], now_ms=now_ms)
    append(connection, [NewEvent(EventKind.DELETED, photo) for photo in gone], now_ms=now_ms)


def _one_for_each_photo(chunk: list[FoundNeedle]) -> dict[PhotoId, FoundNeedle]:
    """The needle nearest to the original; deleted if any of them is, because deletion is of photos."""
    best: dict[PhotoId, FoundNeedle] = {}
    for needle in chunk:
        rival = best.setdefault(needle.photo, needle)
        nearer = min(rival, needle, key=lambda one: one.alternate_key)
        best[needle.photo] = replace(nearer, deleted=rival.deleted or needle.deleted)
    return best


def _better(needle: FoundNeedle, row: Any) -> dict[str, Any] | None:
    """What this needle changes in the row that an earlier one of its photo has made."""
    if row.status == Status.DELETED.value:
        return None
    if needle.deleted:
        return {"status": Status.DELETED.value}
    return _row(needle)._asdict() if needle.alternate_key < row.alternate_key else None


def _row(needle: FoundNeedle) -> PhotoRow:
    return PhotoRow(
        photo=needle.photo,
        status=(Status.DELETED if needle.deleted else Status.ACTIVE).value,
        alternate_key=needle.alternate_key.value,
        cookie=signed(needle.cookie),
        size=needle.size,
        sha256=needle.metadata.sha256,
        media_type=needle.metadata.media_type,
        width=needle.width,
        height=needle.height,
        name=needle.metadata.name,
        created_at_ms=needle.metadata.photo_created_at_ms,
        duplicate_of=None,
        is_first=False,
    )


def _finish(
    connection: Connection, placements: Mapping[VolumeId, tuple[StoreId, ...]], now_ms: int
) -> Rebuilt:
    """What can only be known once all photos are there."""
    _find_duplicates(connection)
    number = _add_volumes(connection, placements, now_ms)
    counted = _count(connection)
    return Rebuilt(
        photos=counted[Status.ACTIVE].photos, deleted=counted[Status.DELETED].photos, volumes=number
    )


def _find_duplicates(connection: Connection) -> None:
    """Mark the oldest active photo of each digest, and name it on the others."""
    alive = (photos.c.status == Status.ACTIVE.value) & (photos.c.sha256 != b"")
    order = (photos.c.created_at_ms, photos.c.photo)
    oldest = func.first_value(photos.c.photo).over(partition_by=photos.c.sha256, order_by=order)
    ranked = select(photos.c.photo, oldest.label("oldest")).where(alive).subquery()
    firsts = select(ranked.c.photo).where(ranked.c.photo == ranked.c.oldest)
    connection.execute(update(photos).where(photos.c.photo.in_(firsts)).values(is_first=True))
    first = photos.alias()
    original = (
        select(first.c.photo)
        .where(first.c.sha256 == photos.c.sha256, first.c.status == Status.ACTIVE.value, first.c.is_first)
        .scalar_subquery()
    )
    connection.execute(
        update(photos).where(alive, photos.c.is_first.is_(False)).values(duplicate_of=original)
    )


def _add_volumes(
    connection: Connection, placements: Mapping[VolumeId, tuple[StoreId, ...]], now_ms: int
) -> int:
    number = photos.c.photo // _constant(1 << SEQUENCE_BITS)
    lasts = connection.execute(select(func.max(photos.c.photo)).group_by(number)).scalars()
    ends: dict[VolumeId, int] = dict.fromkeys(placements, 0)
    ends |= {volume_of(last): sequence_of(last) + 1 for last in lasts}
    for volume, end in sorted(ends.items()):
        add_volume(connection, volume, created_at_ms=now_ms, next_sequence=end, withdrawn="rebuilt")
        for store in placements.get(volume, ()):
            place(connection, volume, store)
    return len(ends)


def _count(connection: Connection) -> dict[Status, Total]:
    """Fill the table of counts."""
    day = photos.c.created_at_ms // _constant(DAY_MS)
    strata = (photos.c.status, photos.c.media_type, day)
    counted = select(*strata, func.count(), func.sum(photos.c.size)).group_by(*strata)
    connection.execute(insert(counts).from_select([column.name for column in counts.columns], counted))
    return totals(connection)


def _constant(number: int) -> ColumnElement[int]:
    """A number that stands in the statement itself: PostgreSQL does not see that two parameters are equal,
    and a grouping must repeat what is selected."""
    return literal_column(str(number), Integer)
