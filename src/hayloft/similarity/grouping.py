"""Keeps every photo's group up to date in the database, by looking at its surroundings only.

Whatever changes between some photos (a link, a verdict, a deletion) can change the groups of those that
are connected with them, and of no others: these are read, grouped anew by ``groups.group``, and written
where they differ. Functions of a database connection, inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, and_, or_, select, update

from hayloft.similarity.groups import Edge, Pair, group
from hayloft.similarity.links import chunks, verdicts_of
from hayloft.similarity.schema import State, links, photos, verdicts
from hayloft.types import PhotoId, Relation, Verdict

_SAME = (Relation.DUPLICATE.value, Relation.COPY.value)


def regroup(connection: Connection, changed: Collection[PhotoId]) -> None:
    """Bring the groups of ``changed``, and of all that are connected with them, up to date."""
    edges = _surroundings(connection, changed)
    reached = set(changed) | {photo for edge in edges for photo in (edge.a, edge.b)}
    different: set[Pair] = {
        (row.a, row.b) for row in verdicts_of(connection, reached) if row.verdict == Verdict.DIFFERENT.value
    }
    groups = group(edges, different)
    _write(connection, {photo: groups.get(photo) for photo in reached})


def join(connection: Connection, photo: PhotoId, original: PhotoId) -> None:
    """A new photo joined its original, and nothing else is known of it: its group is the original's.

    The short way for the thousandth twin, which would otherwise have the other 999 read again.
    """
    if verdicts_of(connection, [photo]):
        regroup(connection, [photo, original])
        return
    known = connection.execute(select(photos.c.group_id).where(photos.c.photo == original)).scalar_one()
    now = min(photo, original if known is None else known)
    if known is not None and now != known:
        connection.execute(update(photos).where(photos.c.group_id == known).values(group_id=now))
    connection.execute(update(photos).where(photos.c.photo.in_([photo, original])).values(group_id=now))


def _surroundings(connection: Connection, start: Collection[PhotoId]) -> set[Edge]:
    """All edges of the part of the graph that ``start`` lies in."""
    seen = set(start)
    frontier = set(start)
    edges: set[Edge] = set()
    while frontier:
        found = _edges(connection, frontier)
        edges |= found
        frontier = {photo for edge in found for photo in (edge.a, edge.b)} - seen
        seen |= frontier
    return edges


def _edges(connection: Connection, around: Collection[PhotoId]) -> set[Edge]:
    found: set[Edge] = set()
    for part in chunks(around):
        linked = connection.execute(
            select(links.c.a, links.c.b, links.c.relation, links.c.score).where(
                and_(links.c.relation.in_(_SAME), or_(links.c.a.in_(part), links.c.b.in_(part)))
            )
        )
        found |= {
            Edge(a=row.a, b=row.b, relation=Relation(row.relation), score=row.score) for row in linked
        }
        said = connection.execute(
            select(verdicts.c.a, verdicts.c.b).where(
                and_(
                    verdicts.c.verdict == Verdict.SAME.value,
                    or_(verdicts.c.a.in_(part), verdicts.c.b.in_(part)),
                )
            )
        )
        found |= {Edge(a=row.a, b=row.b, relation=None) for row in said}
    return found


def _write(connection: Connection, wanted: dict[PhotoId, PhotoId | None]) -> None:
    for part in chunks(wanted):
        rows = connection.execute(
            select(photos.c.photo, photos.c.group_id).where(
                photos.c.photo.in_(part), photos.c.state != State.FORGOTTEN
            )
        ).all()
        for row in rows:
            if row.group_id != wanted[row.photo]:
                connection.execute(
                    update(photos).where(photos.c.photo == row.photo).values(group_id=wanted[row.photo])
                )
