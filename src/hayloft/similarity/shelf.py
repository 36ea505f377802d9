"""The recorded fingerprints: functions of a database connection, in the caller's transaction.

They are numbered in the order in which they are recorded, so that an index on disk can say how far it goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    exists,
    false,
    func,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from hayloft.similarity import links, pgvectors
from hayloft.similarity.embedders.names import made
from hayloft.similarity.fingerprint import Fingerprint
from hayloft.similarity.grouping import regroup
from hayloft.similarity.schema import State, fingerprints, photos, removals
from hayloft.similarity.schema import links as links_table
from hayloft.types import PhotoId

_INSERTING: Final[dict[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A fingerprint with its number in the order of recording."""

    change: int
    photo: PhotoId
    fingerprint: Fingerprint


def put(connection: Connection, photo: PhotoId, fingerprint: Fingerprint) -> Recorded:
    """Record one fingerprint in place of an older one of the same method."""
    change = _insert(connection, photo, fingerprint)
    if change is None:
        # Not said beforehand: a statement that was planned while the table was empty reads, until the
        # server's next look at its statistics, all that the method ever recorded.
        connection.execute(
            delete(fingerprints).where(
                fingerprints.c.method == fingerprint.method, fingerprints.c.photo == photo
            )
        )
        change = _insert(connection, photo, fingerprint)
        assert change is not None
    if connection.dialect.name == "postgresql" and made(fingerprint.method):
        pgvectors.put(connection, change, fingerprint.method, photo, fingerprint.data)
    return Recorded(change=change, photo=photo, fingerprint=fingerprint)


def _insert(connection: Connection, photo: PhotoId, fingerprint: Fingerprint) -> int | None:
    """Its number; None if there is one of its method already."""
    inserting = _INSERTING[connection.dialect.name](fingerprints).values(
        method=fingerprint.method, photo=photo, quality=fingerprint.quality, data=fingerprint.data
    )
    change = connection.execute(
        inserting.on_conflict_do_nothing(index_elements=["photo", "method"]).returning(
            fingerprints.c.change
        )
    ).scalar()
    return None if change is None else int(change)


def of_photos(connection: Connection, method: str, chosen: Sequence[PhotoId]) -> dict[PhotoId, Fingerprint]:
    """What a method keeps of some photos."""
    rows = [
        row
        for part in links.chunks(chosen)
        for row in connection.execute(
            select(fingerprints).where(fingerprints.c.method == method, fingerprints.c.photo.in_(part))
        )
    ]
    return {PhotoId(row.photo): _fingerprint(row) for row in rows}


def recorded_since(connection: Connection, heard: Mapping[str, int], *, limit: int) -> list[Recorded]:
    """What methods have recorded past the number that each of them has heard of, in that order."""
    rows = connection.execute(
        select(fingerprints).where(_unheard(heard)).order_by(fingerprints.c.change).limit(limit)
    )
    return [
        Recorded(change=row.change, photo=PhotoId(row.photo), fingerprint=_fingerprint(row)) for row in rows
    ]


def is_behind(connection: Connection, heard: Mapping[str, int], removal: int) -> bool:
    """Whether something was recorded, or removed, that a process has not heard of."""
    recorded = exists().where(_unheard(heard))
    removed = exists().where(removals.c.removal > removal)
    return bool(connection.execute(select(or_(recorded, removed))).scalar_one())


def _unheard(heard: Mapping[str, int]) -> ColumnElement[bool]:
    newer = [
        and_(fingerprints.c.method == method, fingerprints.c.change > change)
        for method, change in heard.items()
    ]
    # The first condition follows from the second; it is what an index can be searched by.
    return and_(fingerprints.c.change > min(heard.values(), default=0), or_(false(), *newer))


def removed_since(connection: Connection, removal: int, *, limit: int) -> list[tuple[int, PhotoId]]:
    """Photos that were deleted past the number ``removal``, each with its number, in that order."""
    rows = connection.execute(
        select(removals.c.removal, removals.c.photo)
        .where(removals.c.removal > removal)
        .order_by(removals.c.removal)
        .limit(limit)
    )
    return [(int(row.removal), PhotoId(row.photo)) for row in rows]


def after(connection: Connection, method: str, change: int, *, limit: int) -> list[Recorded]:
    """What a method keeps, in the order it was recorded, for reading all of it page by page."""
    rows = connection.execute(
        select(fingerprints)
        .where(fingerprints.c.method == method, fingerprints.c.change > change)
        .order_by(fingerprints.c.change)
        .limit(limit)
    )
    return [
        Recorded(change=row.change, photo=PhotoId(row.photo), fingerprint=_fingerprint(row)) for row in rows
    ]


def span(connection: Connection, method: str) -> tuple[int, int]:
    """The numbers of the first and the last that a method keeps; zeros if it keeps nothing."""
    lowest, highest = func.min(fingerprints.c.change), func.max(fingerprints.c.change)
    first, last = connection.execute(select(lowest, highest).where(fingerprints.c.method == method)).one()
    return (0, 0) if first is None else (int(first), int(last))


def all_of(connection: Connection, photo: PhotoId) -> list[Fingerprint]:
    """What all methods keep of a photo."""
    rows = connection.execute(select(fingerprints).where(fingerprints.c.photo == photo))
    return [_fingerprint(row) for row in rows]


def drop(connection: Connection, photo: PhotoId) -> None:
    """Forget what all methods keep of a photo."""
    connection.execute(delete(fingerprints).where(fingerprints.c.photo == photo))


def methods_of(connection: Connection, photo: PhotoId) -> set[str]:
    """The methods that keep something of a photo."""
    return set(
        connection.execute(select(fingerprints.c.method).where(fingerprints.c.photo == photo)).scalars()
    )


def counts_by_method(connection: Connection) -> dict[str, int]:
    """How many photos each method has fingerprinted."""
    rows = connection.execute(select(fingerprints.c.method, func.count()).group_by(fingerprints.c.method))
    return {str(method): int(count) for method, count in rows}


def lacking(
    connection: Connection, methods: Sequence[str], after: PhotoId, until: PhotoId, *, limit: int
) -> list[PhotoId]:
    """Originals past ``after``, up to ``until``, that some of ``methods`` have no fingerprint of, by id."""
    rows = connection.execute(
        select(photos.c.photo)
        .where(photos.c.photo > after, photos.c.photo <= until, *_lack(methods))
        .order_by(photos.c.photo)
        .limit(limit)
    )
    return [PhotoId(photo) for photo in rows.scalars()]


def count_lacking(connection: Connection, methods: Sequence[str]) -> int:
    """How many originals some of ``methods`` have no fingerprint of."""
    return int(
        connection.execute(select(func.count()).select_from(photos).where(*_lack(methods))).scalar_one()
    )


def retire(connection: Connection, method: str, *, limit: int) -> bool:
    """Drop up to so many of a method's fingerprints, then of its links: another has taken its place.

    Whether there may be more. All at once would be minutes in one transaction where there are millions.
    """
    some = select(fingerprints.c.change).where(fingerprints.c.method == method).limit(limit)
    if connection.execute(delete(fingerprints).where(fingerprints.c.change.in_(some))).rowcount:
        return True
    linked = (links_table.c.link, links_table.c.a, links_table.c.b)
    gone = connection.execute(select(*linked).where(links_table.c.method == method).limit(limit)).all()
    for part in links.chunks([row.link for row in gone]):
        connection.execute(delete(links_table).where(links_table.c.link.in_(part)))
    regroup(connection, {PhotoId(photo) for row in gone for photo in (row.a, row.b)})
    return bool(gone)


def _lack(methods: Sequence[str]) -> list[ColumnElement[bool]]:
    missing = [
        ~exists().where(fingerprints.c.photo == photos.c.photo, fingerprints.c.method == method)
        for method in methods
    ]
    return [photos.c.state == State.INDEXED, photos.c.original.is_(None), or_(false(), *missing)]


def _fingerprint(row: Row[Any]) -> Fingerprint:
    return Fingerprint(method=row.method, data=row.data, quality=row.quality)
