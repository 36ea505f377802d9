"""The recorded photos and their fingerprints: functions of a connection, in the caller's transaction.

Twins (photos with equal bytes) share one set of fingerprints and links, kept by their original; when that
one is deleted, the next oldest inherits them. A deleted photo leaves its id behind and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, func, insert, select

from hayloft.similarity import linker, links, shelf
from hayloft.similarity.fingerprint import Description, Fingerprint
from hayloft.similarity.grouping import join, regroup
from hayloft.similarity.schema import State, photos
from hayloft.similarity.shelf import Recorded
from hayloft.types import Link, PhotoId

BLANK: Final[Mapping[str, Any]] = {
    "sha256": None,
    "original": None,
    "group_id": None,
    "width": 0,
    "height": 0,
    "size_bytes": 0,
    "sharpness": 0.0,
    "reason": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A photo as its event told of it."""

    photo: PhotoId
    position: int
    sha256: bytes
    size_bytes: int
    seen_at_ms: int


def row_of(connection: Connection, photo: PhotoId) -> Row[Any] | None:
    """A photo's row, whatever its state."""
    return connection.execute(select(photos).where(photos.c.photo == photo)).first()


def rows_of(connection: Connection, chosen: Sequence[PhotoId]) -> list[Row[Any]]:
    """The rows of several photos, in order of their ids."""
    rows = [
        row
        for part in links.chunks(chosen)
        for row in connection.execute(select(photos).where(photos.c.photo.in_(part)))
    ]
    return sorted(rows, key=lambda row: int(row.photo))


def original_of(connection: Connection, sha256: bytes) -> Row[Any] | None:
    """The photo that stands for these bytes."""
    return connection.execute(
        select(photos)
        .where(
            photos.c.sha256 == sha256,
            photos.c.original.is_(None),
        )
        .order_by(photos.c.position, photos.c.photo)
    ).first()


def twins_of(connection: Connection, original: PhotoId) -> list[Row[Any]]:
    """The other photos with the original's bytes, oldest first."""
    return list(
        connection.execute(
            select(photos).where(photos.c.original == original).order_by(photos.c.position, photos.c.photo)
        )
    )


def counts(connection: Connection) -> dict[State, int]:
    """How many photos are in each state."""
    rows = connection.execute(select(photos.c.state, func.count()).group_by(photos.c.state))
    return {State(state): count for state, count in rows}


def last_photo(connection: Connection) -> PhotoId:
    """The largest id that is recorded; -1 for none."""
    return PhotoId(connection.execute(select(func.coalesce(func.max(photos.c.photo), -1))).scalar_one())


def save_original(
    connection: Connection,
    seen: Seen,
    description: Description,
    kept: Iterable[Fingerprint],
    found: Iterable[Link],
) -> list[Recorded]:
    """Record a photo that was decoded, with what is kept of its fingerprints, and its links."""
    _put(
        connection,
        seen,
        state=State.INDEXED,
        width=description.width,
        height=description.height,
        sharpness=description.sharpness,
    )
    shelf.drop(connection, seen.photo)
    recorded = [shelf.put(connection, seen.photo, fingerprint) for fingerprint in kept]
    links.put(connection, found)
    regroup(connection, [seen.photo])
    return recorded


def save_twin(connection: Connection, seen: Seen, original: Row[Any]) -> None:
    """Record a photo whose bytes are already here: it needs no decoding."""
    _put(
        connection,
        seen,
        state=State(original.state),
        original=original.photo,
        width=original.width,
        height=original.height,
        sharpness=original.sharpness,
        reason=original.reason,
    )
    photo_id = PhotoId(original.photo)
    links.put(connection, [linker.duplicate(seen.photo, photo_id, at_ms=seen.seen_at_ms)])
    join(connection, seen.photo, photo_id)


def save_undecodable(connection: Connection, seen: Seen, reason: str) -> None:
    """Record that a photo cannot be decoded, and why."""
    _put(connection, seen, state=State.UNDECODABLE, reason=reason)
    regroup(connection, [seen.photo])


def originals(connection: Connection, chosen: Sequence[PhotoId]) -> set[PhotoId]:
    """Which of some photos are here, decoded, and stand for their bytes."""
    return {
        PhotoId(row.photo)
        for row in rows_of(connection, chosen)
        if row.state == State.INDEXED and row.original is None
    }


def alive(connection: Connection, found: Sequence[Link], photo: PhotoId) -> list[Link]:
    """The links whose other end is still here: an index on disk may lag behind a deletion after a crash."""
    there = originals(connection, [link.other(photo) for link in found])
    return [link for link in found if link.other(photo) in there]


def _put(connection: Connection, seen: Seen, **values: Any) -> None:
    connection.execute(delete(photos).where(photos.c.photo == seen.photo))
    connection.execute(
        insert(photos),
        {
            **BLANK,
            "photo": seen.photo,
            "position": seen.position,
            "sha256": seen.sha256,
            "size_bytes": seen.size_bytes,
            "seen_at_ms": seen.seen_at_ms,
            **values,
        },
    )
