"""Which photos are the same, all in all: groups out of pairs. Pure.

A group is a connected component over ``duplicate`` and verified ``copy`` links and verdicts ``same``;
never over ``similar``. Verdicts win: two photos that a person called different are never in one group,
not even by way of a third. Edges are taken strongest first (people's word, then equal bytes, then copies
by score), and one that would bring such a pair together is left out; ties fall by photo id, so the result
depends on nothing but the edges.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from hayloft.types import PhotoId, Relation

Pair = tuple[PhotoId, PhotoId]

_SAME_RANK: Final = 0
_RANKS: Final[Mapping[Relation, int]] = {Relation.DUPLICATE: 1, Relation.COPY: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Something that says two photos are the same. ``relation`` is None for a person's verdict."""

    a: PhotoId
    b: PhotoId
    relation: Relation | None
    score: float = 1.0

    @property
    def order(self) -> tuple[int, float, PhotoId, PhotoId]:
        """Strongest first."""
        rank = _SAME_RANK if self.relation is None else _RANKS[self.relation]
        return (rank, -self.score, self.a, self.b)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What the choice of a group's best photo rests on."""

    photo: PhotoId
    width: int
    height: int
    sharpness: float
    size_bytes: int
    position: int
    cropped: float = 0.0
    """Share of the fullest member's view that this one lacks, 0 to 1; 0 when nothing is known."""


def group(edges: Iterable[Edge], different: Collection[Pair]) -> dict[PhotoId, PhotoId]:
    """Each photo that is not alone, with its group: the smallest id of the photos in it."""
    members: dict[PhotoId, set[PhotoId]] = {}
    enemies: dict[PhotoId, set[PhotoId]] = {}
    root: dict[PhotoId, PhotoId] = {}
    for a, b in different:
        enemies.setdefault(a, set()).add(b)
        enemies.setdefault(b, set()).add(a)
    for edge in sorted(edges, key=lambda edge: edge.order):
        for photo in (edge.a, edge.b):
            root.setdefault(photo, photo)
            members.setdefault(photo, {photo})
        _join(root[edge.a], root[edge.b], root, members, enemies)
    return {photo: min(members[of]) for photo, of in root.items() if len(members[of]) > 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a link says of how much two photos show: the shares of each that the other shows as well."""

    one: PhotoId
    other: PhotoId
    share_of_one: float
    share_of_other: float


def cropped(views: Iterable[View]) -> dict[PhotoId, float]:
    """For each photo, the share of the fullest view it is connected with that it lacks, 0 to 1.

    A photo of which everything is in another one, but which shows only half of that, is half cropped away.
    Shares multiply along a path; photos without views are not in the answer.
    """
    neighbours: dict[PhotoId, list[tuple[PhotoId, float]]] = {}
    for view in views:
        if view.share_of_one > 0 and view.share_of_other > 0:
            larger = view.share_of_one / view.share_of_other
            neighbours.setdefault(view.one, []).append((view.other, larger))
            neighbours.setdefault(view.other, []).append((view.one, 1 / larger))
    extents: dict[PhotoId, float] = {}
    for start in sorted(neighbours):
        if start not in extents:
            part = _extents(start, neighbours)
            fullest = max(part.values())
            extents |= {photo: extent / fullest for photo, extent in part.items()}
    return {photo: 1.0 - extent for photo, extent in extents.items()}


def _extents(
    start: PhotoId, neighbours: Mapping[PhotoId, list[tuple[PhotoId, float]]]
) -> dict[PhotoId, float]:
    """How much each connected photo shows, with ``start`` as 1."""
    extents = {start: 1.0}
    frontier = [start]
    while frontier:
        photo = frontier.pop()
        for other, larger in neighbours[photo]:
            if other not in extents:
                extents[other] = extents[photo] * larger
                frontier.append(other)
    return extents


def _join(
    one: PhotoId,
    other: PhotoId,
    root: dict[PhotoId, PhotoId],
    members: dict[PhotoId, set[PhotoId]],
    enemies: dict[PhotoId, set[PhotoId]],
) -> None:
    """Join two components unless a pair called different would meet; the smaller moves."""
    if one == other or not enemies.get(one, set()).isdisjoint(members[other]):
        return
    if len(members[one]) < len(members[other]):
        one, other = other, one
    for photo in members[other]:
        root[photo] = one
    members[one] |= members.pop(other)
    if other in enemies:
        enemies[one] = enemies.get(one, set()) | enemies.pop(other)


def best(members: Collection[Member]) -> PhotoId:
    """The member to keep if only one were kept.

    The least cropped view first, in steps of a tenth, then more pixels, then the sharper, then more bytes,
    then the older. Sharpness counts in steps of a quarter of the sharpest, because recompression moves it.
    """
    sharpest = max(member.sharpness for member in members) or 1.0
    return min(
        members,
        key=lambda member: (
            round(member.cropped * 10),
            -member.width * member.height,
            -round(4 * member.sharpness / sharpest),
            -member.size_bytes,
            member.position,
            member.photo,
        ),
    ).photo
