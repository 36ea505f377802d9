"""The recorded photos and their fingerprints: functions of a connection, in the caller's transaction.

Twins (photos with equal bytes) share one set of fingerprints and links, kept by their original; when that
one is deleted, the next oldest inherits them. A deleted photo leaves its id behind and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from hayloft.similarity import linker, links
from hayloft.similarity.fingerprint import Description, Fingerprint
from hayloft.similarity.grouping import join, regroup
from hayloft.similarity.schema import State, fingerprints, photos
from hayloft.similarity.schema import links as links_table
from hayloft.similarity.schema import verdicts as verdicts_table
from hayloft.types import Link, PhotoId, Verdict

_BLANK: Final[Mapping[str, Any]] = {
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


def save_original(
    connection: Connection, seen: Seen, description: Description, found: Iterable[Link]
) -> None:
    """Record a photo that was decoded, with its fingerprints and links."""
    _put(
        connection,
        seen,
        state=State.INDEXED,
        width=description.width,
        height=description.height,
        sharpness=description.sharpness,
    )
    connection.execute(delete(fingerprints).where(fingerprints.c.photo == seen.photo))
    for fingerprint in description.fingerprints:
        save_fingerprint(connection, seen.photo, fingerprint)
    links.put(connection, found)
    regroup(connection, [seen.photo])


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


def save_fingerprint(connection: Connection, photo: PhotoId, fingerprint: Fingerprint) -> None:
    """Record one fingerprint in place of an older one of the same method."""
    key = (fingerprints.c.method == fingerprint.method, fingerprints.c.photo == photo)
    connection.execute(delete(fingerprints).where(*key))
    connection.execute(
        insert(fingerprints),
        {
            "method": fingerprint.method,
            "photo": photo,
            "quality": fingerprint.quality,
            "data": fingerprint.data,
        },
    )


def fingerprints_of(
    connection: Connection, method: str, chosen: Sequence[PhotoId]
) -> dict[PhotoId, Fingerprint]:
    """What a method keeps of some photos."""
    rows = [
        row
        for part in links.chunks(chosen)
        for row in connection.execute(
            select(fingerprints).where(fingerprints.c.method == method, fingerprints.c.photo.in_(part))
        )
    ]
    return {PhotoId(row.photo): _fingerprint(row) for row in rows}


def fingerprints_after(
    connection: Connection, method: str, after: PhotoId, *, limit: int
) -> list[tuple[PhotoId, Fingerprint]]:
    """What a method keeps, by photo id, for reading all of it page by page."""
    rows = connection.execute(
        select(fingerprints)
        .where(fingerprints.c.method == method, fingerprints.c.photo > after)
        .order_by(fingerprints.c.photo)
        .limit(limit)
    )
    return [(PhotoId(row.photo), _fingerprint(row)) for row in rows]


def forget(connection: Connection, photo: PhotoId, *, at_ms: int) -> PhotoId | None:
    """Erase all that is known of a photo, but not that it was deleted.

    Returns the twin that inherited its fingerprints and links, if there is one.
    """
    row = row_of(connection, photo)
    heir = _hand_over(connection, row) if row is not None and row.original is None else None
    around = {link.other(photo) for link in links.of_photo(connection, photo)}
    around |= {PhotoId(said.a + said.b - photo) for said in links.verdicts_of(connection, [photo])}
    links.drop(connection, photo)
    connection.execute(delete(fingerprints).where(fingerprints.c.photo == photo))
    _erase(connection, photo, at_ms)
    regroup(connection, around | ({heir} if heir is not None else set()))
    return heir


def _hand_over(connection: Connection, row: Row[Any]) -> PhotoId | None:
    """Make the oldest twin the original in this one's place."""
    twins = twins_of(connection, PhotoId(row.photo))
    if not twins:
        return None
    heir, *others = (PhotoId(twin.photo) for twin in twins)
    old = PhotoId(row.photo)
    connection.execute(update(photos).where(photos.c.photo == heir).values(original=None))
    connection.execute(update(photos).where(photos.c.original == old).values(original=heir))
    connection.execute(update(fingerprints).where(fingerprints.c.photo == old).values(photo=heir))
    at_ms = row.seen_at_ms
    links.put(connection, [linker.duplicate(other, heir, at_ms=at_ms) for other in others])
    _inherit_links(connection, old, heir)
    _inherit_verdicts(connection, old, heir)
    return heir


def _inherit_links(connection: Connection, old: PhotoId, heir: PhotoId) -> None:
    for link in links.of_photo(connection, old):
        a, b = links.ordered(heir, link.other(old))
        if link.method == linker.SHA256 or links.between(connection, a, b) is not None:
            continue
        connection.execute(
            update(links_table)
            .where(links_table.c.a == link.a, links_table.c.b == link.b)
            .values(a=a, b=b, evidence=linker.restate(link.evidence, old, heir), announced=False)
        )


def _inherit_verdicts(connection: Connection, old: PhotoId, heir: PhotoId) -> None:
    """What was said of the original was said of its bytes; the heir's own verdicts go first."""
    said = links.verdicts_of(connection, [heir])
    known = {(row.a, row.b) for row in said}
    for row in links.verdicts_of(connection, [old]):
        other = PhotoId(row.a + row.b - old)
        pair = links.ordered(heir, other)
        if other != heir and pair not in known:
            connection.execute(
                insert(verdicts_table),
                {
                    "a": pair[0],
                    "b": pair[1],
                    "verdict": Verdict(row.verdict).value,
                    "created_at_ms": row.created_at_ms,
                },
            )


def _erase(connection: Connection, photo: PhotoId, at_ms: int) -> None:
    connection.execute(delete(photos).where(photos.c.photo == photo))
    connection.execute(
        insert(photos),
        {**_BLANK, "photo": photo, "state": State.FORGOTTEN, "position": 0, "seen_at_ms": at_ms},
    )


def _put(connection: Connection, seen: Seen, **values: Any) -> None:
    connection.execute(delete(photos).where(photos.c.photo == seen.photo))
    connection.execute(
        insert(photos),
        {
            **_BLANK,
            "photo": seen.photo,
            "position": seen.position,
            "sha256": seen.sha256,
            "size_bytes": seen.size_bytes,
            "seen_at_ms": seen.seen_at_ms,
            **values,
        },
    )


def _fingerprint(row: Row[Any]) -> Fingerprint:
    return Fingerprint(method=row.method, data=row.data, quality=row.quality)
