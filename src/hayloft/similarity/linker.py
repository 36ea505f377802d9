"""Decides which links a photo gets out of what the methods found. Pure.

One link for each pair: equal bytes beat every look at the pixels, a copy beats a likeness. Evidence is
directed: its ``from`` and ``to`` say which photo was compared with which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from hayloft.similarity.methods import Match
from hayloft.types import Link, PhotoId, Relation

SHA256: Final = "sha256"
"""The method of links between equal bytes."""

VERDICT: Final = "verdict"
"""The method of links that a person made by saying ``same`` of a pair that no computation linked so."""

RANKS: Final[Mapping[Relation, int]] = {Relation.DUPLICATE: 0, Relation.COPY: 1, Relation.SIMILAR: 2}
"""Stronger relations have smaller ranks."""


def duplicate(photo: PhotoId, original: PhotoId, *, at_ms: int) -> Link:
    """The link between two photos with the same bytes."""
    return Link(
        a=min(photo, original),
        b=max(photo, original),
        relation=Relation.DUPLICATE,
        score=1.0,
        method=SHA256,
        evidence={"from": photo, "to": original},
        created_at_ms=at_ms,
    )


def decide(photo: PhotoId, found: Iterable[tuple[str, Match]], *, at_ms: int) -> list[Link]:
    """The links of a photo, strongest first, out of all methods' matches, each with its method's name.

    Scores of different methods cannot be compared: where two find the same relation, the first one named
    has the word.
    """
    best: dict[PhotoId, Link] = {}
    for method, match in found:
        if match.photo == photo:
            continue
        link = _link(photo, method, match, at_ms)
        known = best.get(match.photo)
        if known is None or stronger(link, known):
            best[match.photo] = link
    return sorted(best.values(), key=lambda link: (RANKS[link.relation], -link.score, link.other(photo)))


def stronger(link: Link, than: Link) -> bool:
    """Whether ``link`` replaces ``than`` between the same two photos."""
    if RANKS[link.relation] != RANKS[than.relation]:
        return RANKS[link.relation] < RANKS[than.relation]
    if than.method == VERDICT:
        return link.method != VERDICT
    return link.method == than.method and link.score > than.score


def restate(evidence: Mapping[str, Any], old: PhotoId, new: PhotoId) -> dict[str, Any]:
    """The same evidence with ``new``, which has the same bytes, in the place of ``old``."""
    ends = {end: new for end in ("from", "to") if evidence.get(end) == old}
    nested = (
        {"before": {**before, "evidence": restate(before["evidence"], old, new)}}
        if (before := evidence.get("before"))
        else {}
    )
    return {**evidence, **ends, **nested}


def _link(photo: PhotoId, method: str, match: Match, at_ms: int) -> Link:
    return Link(
        a=min(photo, match.photo),
        b=max(photo, match.photo),
        relation=match.relation,
        score=match.score,
        method=method,
        evidence={"from": photo, "to": match.photo, **match.evidence},
        created_at_ms=at_ms,
    )
