"""Which photos are in which group, and the best of each: reads what ``grouping`` keeps up to date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, distinct, func, select

from hayloft.similarity import links, queries
from hayloft.similarity.groups import Edge, Member, View, best, cropped, group
from hayloft.similarity.schema import State, photos
from hayloft.similarity.schema import links as links_table
from hayloft.types import GroupPage, PhotoGroup, PhotoId, Relation, Verdict

SHARES: Final = "shares"
"""The key of a copy's evidence that says how much of each photo the other one shows: [from, to], 0 to 1."""


def page(connection: Connection, *, twins_only: bool, after: int, limit: int) -> GroupPage:
    """Groups past the one called ``after``, by equal bytes alone or by all that makes photos the same."""
    key: ColumnElement[int] = photos.c.original if twins_only else photos.c.group_id
    found = [
        PhotoId(value)
        for value in connection.execute(
            select(key).where(key > after).group_by(key).order_by(key).limit(limit + 1)
        ).scalars()
    ]
    total = connection.execute(select(func.count(distinct(key)))).scalar_one()
    wanted = found[:limit]
    groups = _of_twins(connection, wanted) if twins_only else _of_groups(connection, wanted)
    return GroupPage(
        groups=tuple(groups),
        next_cursor=str(wanted[-1]) if len(found) > limit else None,
        total=total,
    )


def of_photo(connection: Connection, photo: PhotoId) -> PhotoGroup:
    """The photo's group.

    Raises:
        PhotoNotFound: ingest has not come to it.
        PhotoDeleted: it was deleted.
    """
    row = queries.known(connection, photo)
    if row.group_id is None:
        return PhotoGroup(group=photo, photos=(photo,), best=photo)
    return _of_groups(connection, [PhotoId(row.group_id)])[0]


def _of_groups(connection: Connection, groups: Sequence[PhotoId]) -> list[PhotoGroup]:
    members: dict[PhotoId, list[Row[Any]]] = {}
    for part in links.chunks(groups):
        rows = connection.execute(
            select(photos).where(photos.c.group_id.in_(part)).order_by(photos.c.photo)
        )
        for row in rows:
            members.setdefault(PhotoId(row.group_id), []).append(row)
    return [_group(connection, members[group_id]) for group_id in groups]


def _of_twins(connection: Connection, originals: Sequence[PhotoId]) -> list[PhotoGroup]:
    """The groups of originals and their twins, without those that a person called different."""
    groups = []
    for original in originals:
        rows = list(
            connection.execute(
                select(photos)
                .where((photos.c.original == original) | (photos.c.photo == original))
                .where(photos.c.state != State.FORGOTTEN)
                .order_by(photos.c.photo)
            )
        )
        edges = [
            Edge(a=min(original, row.photo), b=max(original, row.photo), relation=Relation.DUPLICATE)
            for row in rows
            if row.photo != original
        ]
        said = links.verdicts_of(connection, [PhotoId(row.photo) for row in rows])
        different = {(row.a, row.b) for row in said if row.verdict == Verdict.DIFFERENT.value}
        kept = group(edges, different)
        if kept:
            groups.append(_group(connection, [row for row in rows if row.photo in kept]))
    return groups


def _group(connection: Connection, rows: Sequence[Row[Any]]) -> PhotoGroup:
    ids = tuple(PhotoId(row.photo) for row in rows)
    missing = cropped(_views(connection, ids))
    members = [
        Member(
            photo=PhotoId(row.photo),
            width=row.width,
            height=row.height,
            sharpness=row.sharpness,
            size_bytes=row.size_bytes,
            position=row.position,
            cropped=missing.get(PhotoId(row.photo if row.original is None else row.original), 0.0),
        )
        for row in rows
    ]
    return PhotoGroup(group=ids[0], photos=ids, best=best(members))


def _views(connection: Connection, ids: Sequence[PhotoId]) -> list[View]:
    inside = set(ids)
    views = []
    for part in links.chunks(ids):
        rows = connection.execute(
            select(links_table.c.a, links_table.c.b, links_table.c.evidence).where(
                links_table.c.a.in_(part), links_table.c.relation == Relation.COPY.value
            )
        )
        for row in rows:
            shares = row.evidence.get(SHARES)
            if shares is not None and row.b in inside:
                views.append(
                    View(
                        one=PhotoId(row.evidence["from"]),
                        other=PhotoId(row.evidence["to"]),
                        share_of_one=shares[0],
                        share_of_other=shares[1],
                    )
                )
    return views
