"""What similarity answers about recorded photos: functions of a database connection. Read-only.

Distances fall into bands, so that sorting by distance sorts by what is certain: 0 for equal bytes, 0 to 1
for copies (1 - score), from 1 on for photos that are merely alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row

from hayloft.errors import PhotoDeleted, PhotoNotFound
from hayloft.similarity import linker, links, records, shelf
from hayloft.similarity.fingerprint import Fingerprint
from hayloft.similarity.methods import Match
from hayloft.similarity.schema import State
from hayloft.types import Link, Neighbour, PhotoId, Relation, Verdict


def known(connection: Connection, photo: PhotoId) -> Row[Any]:
    """The row of a photo that is here.

    Raises:
        PhotoNotFound: ingest has not come to it.
        PhotoDeleted: it was deleted.
    """
    row = records.row_of(connection, photo)
    if row is None:
        raise PhotoNotFound("The photo has not been fingerprinted.", photo_id=photo)
    if row.state == State.FORGOTTEN:
        raise PhotoDeleted(photo_id=photo)
    return row


def linked(connection: Connection, photo: PhotoId) -> tuple[dict[PhotoId, Neighbour], set[PhotoId]]:
    """The photos that a photo or its twins are linked to, and those that a person called different from it.

    The latter are not among the former.
    """
    row = known(connection, photo)
    original = photo if row.original is None else PhotoId(row.original)
    different = _different(connection, {photo, original})
    found: dict[PhotoId, Neighbour] = {}
    for link in links.of_photo(connection, original):
        other = link.other(original)
        if link.relation is not Relation.DUPLICATE and link.verdict is not Verdict.DIFFERENT:
            found[other] = neighbour(other, link)
    for link in links.of_photo(connection, photo) if original != photo else ():
        if link.verdict is not Verdict.DIFFERENT:
            found[link.other(photo)] = neighbour(link.other(photo), link)
    found |= {twin: duplicate(photo, twin) for twin in same_bytes(connection, original)}
    found.pop(photo, None)
    return {other: one for other, one in found.items() if other not in different}, different


def same_bytes(connection: Connection, original: PhotoId) -> list[PhotoId]:
    """An original and its twins."""
    return [original, *(PhotoId(twin.photo) for twin in records.twins_of(connection, original))]


def vectors(connection: Connection, photo: PhotoId, methods: Sequence[str]) -> list[Fingerprint]:
    """The vectors that are recorded of a photo, or of the one that stands for its bytes."""
    row = known(connection, photo)
    original = photo if row.original is None else PhotoId(row.original)
    found = (shelf.of_photos(connection, method, [original]) for method in methods)
    return [one[original] for one in found if original in one]


def alike(
    connection: Connection, photo: PhotoId, near: Sequence[Match], *, leaving_out: Collection[PhotoId]
) -> list[Neighbour]:
    """Photos that are near by their vectors, here, and neither the photo, nor a twin, nor left out."""
    row = known(connection, photo)
    original = photo if row.original is None else PhotoId(row.original)
    there = records.originals(connection, [match.photo for match in near])
    return [
        _from_match(match, {"from": photo, "to": match.photo, **match.evidence})
        for match in near
        if match.photo in there and match.photo != original and match.photo not in leaving_out
    ]


def described(connection: Connection, near: Sequence[Match]) -> list[Neighbour]:
    """Photos that are near what words describe, and here."""
    there = records.originals(connection, [match.photo for match in near])
    return [_from_match(match, match.evidence) for match in near if match.photo in there]


def _from_match(match: Match, evidence: Mapping[str, Any]) -> Neighbour:
    """A photo that is near by its vector, as an answer."""
    return Neighbour(
        photo=match.photo,
        distance=distance(match.relation, match.score),
        relation=match.relation,
        score=match.score,
        method=str(match.evidence["model"]),
        evidence=evidence,
    )


def unstored(
    connection: Connection, nobody: PhotoId, decided: Sequence[Link], digest: bytes
) -> list[Neighbour]:
    """The answer for an image that is not stored, out of the links it would get and its digest."""
    alive = records.alive(connection, decided, nobody)
    found = {link.other(nobody): _from_nobody(link.other(nobody), link) for link in alive}
    original = records.original_of(connection, digest)
    if original is not None:
        twins = same_bytes(connection, PhotoId(original.photo))
        found |= {twin: duplicate(None, twin) for twin in twins}
    return list(found.values())


def duplicate(photo: PhotoId | None, other: PhotoId) -> Neighbour:
    """A photo with the same bytes as ``photo`` (None: as an image that is not stored)."""
    return Neighbour(
        photo=other,
        distance=0.0,
        relation=Relation.DUPLICATE,
        score=1.0,
        method=linker.SHA256,
        evidence={"to": other} if photo is None else {"from": photo, "to": other},
    )


def neighbour(other: PhotoId, link: Link) -> Neighbour:
    """The far end of a link as an answer."""
    return Neighbour(
        photo=other,
        distance=distance(link.relation, link.score),
        relation=link.relation,
        score=link.score,
        method=link.method,
        evidence=link.evidence,
    )


def _from_nobody(other: PhotoId, link: Link) -> Neighbour:
    """The far end of a link from an image that is not stored: its evidence names no ``from``."""
    found = neighbour(other, link)
    evidence = {key: value for key, value in link.evidence.items() if key != "from"}
    return replace(found, evidence=evidence)


def distance(relation: Relation, score: float) -> float:
    """A link's distance: see the module's paragraph."""
    if relation is Relation.DUPLICATE:
        return 0.0
    return max(0.0, 1.0 - score) + (1.0 if relation is Relation.SIMILAR else 0.0)


def nearest(
    found: Iterable[Neighbour], *, k: int, score_min: float, relation: Relation | None
) -> tuple[Neighbour, ...]:
    """The best ``k`` of what was found that fit, nearest first."""
    fitting = [
        one for one in found if one.score >= score_min and (relation is None or one.relation is relation)
    ]
    return tuple(sorted(fitting, key=lambda one: (one.distance, one.photo))[:k])


def _different(connection: Connection, photos: set[PhotoId]) -> set[PhotoId]:
    rows = links.verdicts_of(connection, photos)
    return {
        PhotoId(other)
        for row in rows
        if row.verdict == Verdict.DIFFERENT.value
        for other in (row.a, row.b)
        if other not in photos or {row.a, row.b} == photos
    }
