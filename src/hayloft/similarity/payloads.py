"""Similarity's records as JSON and back: what ``server`` writes and ``client`` reads. Pure.

The neighbour's ``photo_id`` and ``distance`` are the wire contract; everything else is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

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


def neighbour_to(one: Neighbour) -> dict[str, Any]:
    """A neighbour as JSON."""
    return {
        "photo_id": one.photo,
        "distance": one.distance,
        "score": one.score,
        "relation": one.relation.value,
        "method": one.method,
        "evidence": dict(one.evidence),
    }


def neighbour_from(body: Mapping[str, Any]) -> Neighbour:
    """A neighbour out of JSON; a peer that only says ``distance`` means photos that are alike."""
    distance = float(body["distance"])
    return Neighbour(
        photo=PhotoId(int(body["photo_id"])),
        distance=distance,
        relation=Relation(body.get("relation", Relation.SIMILAR.value)),
        score=float(body.get("score", 1.0 / (1.0 + distance))),
        method=str(body.get("method", "")),
        evidence=body.get("evidence", {}),
    )


def link_to(link: Link) -> dict[str, Any]:
    """A link as JSON."""
    return {
        "a": link.a,
        "b": link.b,
        "relation": link.relation.value,
        "score": link.score,
        "method": link.method,
        "evidence": dict(link.evidence),
        "verdict": None if link.verdict is None else link.verdict.value,
        "created_at_ms": link.created_at_ms,
    }


def link_from(body: Mapping[str, Any]) -> Link:
    """A link out of JSON."""
    return Link(
        a=PhotoId(body["a"]),
        b=PhotoId(body["b"]),
        relation=Relation(body["relation"]),
        score=body["score"],
        method=body["method"],
        evidence=body["evidence"],
        verdict=None if body["verdict"] is None else Verdict(body["verdict"]),
        created_at_ms=body["created_at_ms"],
    )


def verdicts_to(page: VerdictPage) -> dict[str, Any]:
    """A page of verdicts as JSON."""
    return {
        "verdicts": [
            {"a": one.a, "b": one.b, "verdict": one.verdict.value, "created_at_ms": one.created_at_ms}
            for one in page.verdicts
        ],
        "next_cursor": page.next_cursor,
    }


def verdicts_from(body: Mapping[str, Any]) -> VerdictPage:
    """A page of verdicts out of JSON."""
    return VerdictPage(
        verdicts=tuple(
            GivenVerdict(
                a=PhotoId(one["a"]),
                b=PhotoId(one["b"]),
                verdict=Verdict(one["verdict"]),
                created_at_ms=one["created_at_ms"],
            )
            for one in body["verdicts"]
        ),
        next_cursor=body["next_cursor"],
    )


def page_to(page: LinkPage) -> dict[str, Any]:
    """A page of links as JSON."""
    return {
        "links": [link_to(link) for link in page.links],
        "next_cursor": page.next_cursor,
        "total": page.total,
    }


def page_from(body: Mapping[str, Any]) -> LinkPage:
    """A page of links out of JSON."""
    return LinkPage(
        links=tuple(link_from(link) for link in body["links"]),
        next_cursor=body["next_cursor"],
        total=body["total"],
    )


def group_to(group: PhotoGroup) -> dict[str, Any]:
    """A group as JSON."""
    return {"group": group.group, "photos": list(group.photos), "best": group.best}


def group_from(body: Mapping[str, Any]) -> PhotoGroup:
    """A group out of JSON."""
    return PhotoGroup(group=body["group"], photos=tuple(body["photos"]), best=body["best"])


def groups_to(page: GroupPage) -> dict[str, Any]:
    """A page of groups as JSON."""
    return {
        "groups": [group_to(group) for group in page.groups],
        "next_cursor": page.next_cursor,
        "total": page.total,
    }


def groups_from(body: Mapping[str, Any]) -> GroupPage:
    """A page of groups out of JSON."""
    return GroupPage(
        groups=tuple(group_from(group) for group in body["groups"]),
        next_cursor=body["next_cursor"],
        total=body["total"],
    )


def status_to(status: SimilarityStatus) -> dict[str, Any]:
    """The status as JSON."""
    return asdict(status)


def status_from(body: Mapping[str, Any]) -> SimilarityStatus:
    """The status out of JSON; fields of a newer peer are left out."""
    names = SimilarityStatus.__dataclass_fields__
    return SimilarityStatus(**{name: value for name, value in body.items() if name in names})
