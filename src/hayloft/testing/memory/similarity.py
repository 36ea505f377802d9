"""Similarity in memory: it knows the neighbours and links that it was given, and computes none."""

from __future__ import annotations

from dataclasses import replace

from hayloft import errors
from hayloft.testing.memory.paging import cursor_of, parse_cursor
from hayloft.types import (
    GivenVerdict,
    GroupPage,
    Link,
    LinkPage,
    Neighbour,
    PhotoGroup,
    PhotoId,
    Relation,
    SimilarityStatus,
    Verdict,
    VerdictPage,
)


class MemorySimilarity:
    """Neighbours and links as they are told: ``neighbours`` by photo, links added with ``add_link``."""

    def __init__(self) -> None:
        self.neighbours: dict[PhotoId, tuple[Neighbour, ...]] = {}
        self._links: dict[tuple[PhotoId, PhotoId], Link] = {}
        self._verdicts: dict[tuple[PhotoId, PhotoId], Verdict] = {}

    def add_link(self, link: Link) -> None:
        """Record a link."""
        self._links[link.a, link.b] = link

    async def similar(
        self,
        photo: PhotoId,
        *,
        k: int,
        score_min: float = 0.0,
        relation: Relation | None = None,
    ) -> tuple[Neighbour, ...]:
        """What ``neighbours`` says."""
        if photo not in self.neighbours:
            raise errors.PhotoNotFound(photo_id=photo)
        return tuple(n for n in self.neighbours[photo] if _fits(n, score_min, relation))[:k]

    async def similar_to(
        self, image: bytes, *, k: int, score_min: float = 0.0, relation: Relation | None = None
    ) -> tuple[Neighbour, ...]:
        """Every neighbour known, for any image that is not empty."""
        if not image:
            raise errors.UnsupportedMedia
        known = (n for neighbours in self.neighbours.values() for n in neighbours)
        return tuple(n for n in known if _fits(n, score_min, relation))[:k]

    async def search(self, words: str, *, k: int) -> tuple[Neighbour, ...]:  # noqa: ARG002
        """It knows no words."""
        raise errors.SearchNotConfigured

    async def links(self, photo: PhotoId) -> tuple[Link, ...]:
        """Links of one photo, best first."""
        own = (link for pair, link in self._links.items() if photo in pair)
        return tuple(sorted(own, key=lambda link: -link.score))

    async def all_links(self, *, relation: Relation | None, cursor: str | None, limit: int) -> LinkPage:
        """One page of all links."""
        start = parse_cursor(cursor) if cursor else 0
        links = [k for k in self._links.values() if relation is None or k.relation is relation]
        more = start + limit < len(links)
        return LinkPage(
            links=tuple(links[start : start + limit]),
            next_cursor=cursor_of(start + limit) if more else None,
            total=len(links),
        )

    async def set_verdict(self, a: PhotoId, b: PhotoId, verdict: Verdict | None) -> Link | None:
        """A person's word on a pair."""
        pair = (min(a, b), max(a, b))
        self._verdicts.pop(pair, None)
        if verdict is not None:
            self._verdicts[pair] = verdict
        link = self._links.get(pair)
        if link is None:
            return None
        self._links[pair] = replace(link, verdict=verdict)
        return self._links[pair]

    async def verdicts(self, *, cursor: str | None, limit: int) -> VerdictPage:
        """One page of what people said."""
        start = parse_cursor(cursor) if cursor else 0
        said = [GivenVerdict(a=a, b=b, verdict=one) for (a, b), one in sorted(self._verdicts.items())]
        more = start + limit < len(said)
        return VerdictPage(
            verdicts=tuple(said[start : start + limit]),
            next_cursor=cursor_of(start + limit) if more else None,
        )

    async def groups(self, *, relation: Relation | None, cursor: str | None, limit: int) -> GroupPage:
        """One page of what is connected by links that say *the same*."""
        if relation is Relation.SIMILAR:
            raise errors.InvalidRequest("Photos that are merely alike form no groups.")
        start = parse_cursor(cursor) if cursor else 0
        groups = self._components(relation)
        more = start + limit < len(groups)
        return GroupPage(
            groups=tuple(groups[start : start + limit]),
            next_cursor=cursor_of(start + limit) if more else None,
            total=len(groups),
        )

    async def group_of(self, photo: PhotoId) -> PhotoGroup:
        """The component with the photo in it; alone if no link says otherwise."""
        for group in self._components(None):
            if photo in group.photos:
                return group
        return PhotoGroup(group=photo, photos=(photo,), best=photo)

    async def rebuild(self) -> None:
        """There is no index."""

    def _components(self, relation: Relation | None) -> list[PhotoGroup]:
        sets: list[set[PhotoId]] = []
        for (a, b), link in self._links.items():
            same = link.relation in ((relation,) if relation else (Relation.DUPLICATE, Relation.COPY))
            if same and link.verdict is not Verdict.DIFFERENT:
                touched = [found for found in sets if found & {a, b}]
                sets = [found for found in sets if not found & {a, b}]
                sets.append({a, b}.union(*touched))
        ordered = sorted(tuple(sorted(found)) for found in sets)
        return [PhotoGroup(group=photos[0], photos=photos, best=photos[0]) for photos in ordered]

    async def status(self) -> SimilarityStatus:
        """How many photos are known."""
        return SimilarityStatus(
            trained=True,
            total_indexed=len(self.neighbours),
            undecodable=0,
            parked=0,
            position=0,
            pending=0,
        )

    async def close(self) -> None:
        """Nothing to release."""


def _fits(neighbour: Neighbour, score_min: float, relation: Relation | None) -> bool:
    return neighbour.score >= score_min and relation in (None, neighbour.relation)
