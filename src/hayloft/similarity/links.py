"""The recorded links and verdicts: functions of a database connection, inside the caller's transaction.

A pair of photos has at most one link; a stronger one takes its place, with a new number, so that who reads
the links in order sees it again. Verdicts are kept beside and never changed by a computation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    union_all,
    update,
)

from hayloft.similarity.groups import Pair
from hayloft.similarity.linker import VERDICT, stronger
from hayloft.similarity.schema import links, verdicts
from hayloft.types import GivenVerdict, Link, PhotoId, Relation, Verdict

CHUNK: Final = 500
"""Values in one ``IN`` list: well below every database's limit of parameters."""

_JOINED: Final = links.outerjoin(verdicts, and_(links.c.a == verdicts.c.a, links.c.b == verdicts.c.b))
_COLUMNS: Final = (*links.c, verdicts.c.verdict)


def ordered(one: PhotoId, other: PhotoId) -> Pair:
    """A pair as it is recorded: the smaller id first."""
    return (one, other) if one < other else (other, one)


def chunks(values: Collection[Any]) -> Iterator[list[Any]]:
    """``values`` in lists that fit an ``IN``."""
    every = list(values)
    for start in range(0, len(every), CHUNK):
        yield every[start : start + CHUNK]


def put(connection: Connection, found: Iterable[Link]) -> None:
    """Record links, each unless its pair has one that is as strong."""
    for link in found:
        known = between(connection, link.a, link.b)
        if known is not None and not stronger(link, known):
            continue
        connection.execute(delete(links).where(links.c.a == link.a, links.c.b == link.b))
        connection.execute(insert(links), _values(link))


def between(connection: Connection, a: PhotoId, b: PhotoId) -> Link | None:
    """The link of a pair."""
    row = connection.execute(_select().where(links.c.a == a, links.c.b == b)).first()
    return None if row is None else from_row(row)


def of_photo(connection: Connection, photo: PhotoId) -> tuple[Link, ...]:
    """All links of a photo, strongest first."""
    both = union_all(_select().where(links.c.a == photo), _select().where(links.c.b == photo))
    found = [from_row(row) for row in connection.execute(both)]
    order = list(Relation)
    return tuple(
        sorted(found, key=lambda link: (order.index(link.relation), -link.score, link.other(photo)))
    )


def page(
    connection: Connection, *, relation: Relation | None, after: int, limit: int
) -> tuple[list[tuple[int, Link]], int]:
    """Links past the number ``after``, each with its number, and how many there are in all."""
    chosen: list[ColumnElement[bool]] = [] if relation is None else [links.c.relation == relation.value]
    rows = connection.execute(
        _select().where(links.c.link > after, *chosen).order_by(links.c.link).limit(limit)
    )
    found = [(int(row.link), from_row(row)) for row in rows]
    total = connection.execute(select(func.count()).select_from(links).where(*chosen)).scalar_one()
    return found, total


def unannounced(connection: Connection, *, limit: int) -> list[tuple[int, Link]]:
    """Links that the event log has not been told of, oldest first."""
    rows = connection.execute(
        _select().where(links.c.announced.is_(False)).order_by(links.c.link).limit(limit)
    )
    return [(int(row.link), from_row(row)) for row in rows]


def mark_announced(connection: Connection, numbers: Sequence[int]) -> None:
    """The event log has been told of these."""
    for part in chunks(numbers):
        connection.execute(update(links).where(links.c.link.in_(part)).values(announced=True))


def drop(connection: Connection, photo: PhotoId) -> None:
    """Forget a photo's links and what was said of it."""
    connection.execute(delete(links).where(or_(links.c.a == photo, links.c.b == photo)))
    connection.execute(delete(verdicts).where(or_(verdicts.c.a == photo, verdicts.c.b == photo)))


def verdicts_of(connection: Connection, photos: Collection[PhotoId]) -> list[Row[Any]]:
    """What was said of any pair with one of ``photos`` in it, oldest first."""
    found: dict[Pair, Row[Any]] = {}
    for part in chunks(photos):
        rows = connection.execute(
            select(verdicts).where(or_(verdicts.c.a.in_(part), verdicts.c.b.in_(part)))
        )
        found |= {(row.a, row.b): row for row in rows}
    return sorted(found.values(), key=lambda row: (row.created_at_ms, row.a, row.b))


def verdict_page(connection: Connection, *, after: Pair, limit: int) -> list[GivenVerdict]:
    """What was said of the pairs past ``after``, in their order."""
    a, b = after
    rows = connection.execute(
        select(verdicts)
        .where(or_(verdicts.c.a > a, and_(verdicts.c.a == a, verdicts.c.b > b)))
        .order_by(verdicts.c.a, verdicts.c.b)
        .limit(limit)
    )
    return [
        GivenVerdict(
            a=PhotoId(row.a),
            b=PhotoId(row.b),
            verdict=Verdict(row.verdict),
            created_at_ms=row.created_at_ms,
        )
        for row in rows
    ]


def set_verdict(connection: Connection, pair: Pair, verdict: Verdict | None, *, at_ms: int) -> None:
    """Record what a person said of a pair; None takes it back.

    ``same`` makes a ``copy`` link where there is no stronger one than ``similar``; what it replaces is kept
    in its evidence and comes back with the verdict's withdrawal.
    """
    a, b = pair
    connection.execute(delete(verdicts).where(verdicts.c.a == a, verdicts.c.b == b))
    if verdict is not None:
        connection.execute(
            insert(verdicts), {"a": a, "b": b, "verdict": verdict.value, "created_at_ms": at_ms}
        )
    known = between(connection, a, b)
    if verdict is Verdict.SAME:
        if known is None or known.relation is Relation.SIMILAR:
            _replace(connection, pair, _said_same(pair, known, at_ms))
    elif known is not None and known.method == VERDICT:
        _replace(connection, pair, _before(pair, known))


def _said_same(pair: Pair, known: Link | None, at_ms: int) -> Link:
    before = {} if known is None else {"before": _values(known)}
    return Link(
        a=pair[0],
        b=pair[1],
        relation=Relation.COPY,
        score=1.0,
        method=VERDICT,
        evidence=before,
        created_at_ms=at_ms,
    )


def _before(pair: Pair, link: Link) -> Link | None:
    before = link.evidence.get("before")
    if before is None:
        return None
    return Link(**{**before, "a": pair[0], "b": pair[1], "relation": Relation(before["relation"])})


def _replace(connection: Connection, pair: Pair, link: Link | None) -> None:
    connection.execute(delete(links).where(links.c.a == pair[0], links.c.b == pair[1]))
    if link is not None:
        connection.execute(insert(links), _values(link))


def from_row(row: Row[Any]) -> Link:
    """A link as the rest of Hayloft knows it."""
    return Link(
        a=PhotoId(row.a),
        b=PhotoId(row.b),
        relation=Relation(row.relation),
        score=row.score,
        method=row.method,
        evidence=row.evidence,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        created_at_ms=row.created_at_ms,
    )


def _select() -> Select[Any]:
    return select(*_COLUMNS).select_from(_JOINED)


def _values(link: Link) -> dict[str, Any]:
    return {
        "a": link.a,
        "b": link.b,
        "relation": link.relation.value,
        "score": link.score,
        "method": link.method,
        "evidence": dict(link.evidence),
        "created_at_ms": link.created_at_ms,
    }
