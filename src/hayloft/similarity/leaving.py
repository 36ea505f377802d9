"""What happens when a photo is deleted: all that is known of it goes, and its oldest twin inherits.

Functions of a database connection, in the caller's transaction. What was said and found of a photo was said
and found of its bytes; as long as a twin has the same ones, it stays true.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, update

from hayloft.similarity import linker, links, shelf
from hayloft.similarity.grouping import regroup
from hayloft.similarity.records import BLANK, row_of, twins_of
from hayloft.similarity.schema import State, photos, removals
from hayloft.similarity.schema import links as links_table
from hayloft.similarity.schema import verdicts as verdicts_table
from hayloft.similarity.shelf import Recorded
from hayloft.types import PhotoId, Verdict


def forget(connection: Connection, photo: PhotoId, *, at_ms: int) -> list[Recorded]:
    """Erase all that is known of a photo, but not that it was deleted.

    Returns the fingerprints that the oldest twin inherited, if there is one.
    """
    row = row_of(connection, photo)
    if row is not None and row.state == State.FORGOTTEN:
        return []
    heir = _heir_of(connection, row)
    inherited = [] if heir is None else _hand_over(connection, photo, heir)
    around = {link.other(photo) for link in links.of_photo(connection, photo)}
    around |= {PhotoId(said.a + said.b - photo) for said in links.verdicts_of(connection, [photo])}
    links.drop(connection, photo)
    shelf.drop(connection, photo)
    _erase(connection, photo, at_ms)
    connection.execute(insert(removals), {"photo": photo})
    regroup(connection, around | ({heir} if heir is not None else set()))
    return inherited


def _heir_of(connection: Connection, row: Row[Any] | None) -> PhotoId | None:
    """The oldest twin of an original."""
    if row is None or row.original is not None:
        return None
    twins = twins_of(connection, PhotoId(row.photo))
    return PhotoId(twins[0].photo) if twins else None


def _hand_over(connection: Connection, old: PhotoId, heir: PhotoId) -> list[Recorded]:
    """Make a twin the original in the old one's place."""
    connection.execute(update(photos).where(photos.c.photo == heir).values(original=None))
    connection.execute(update(photos).where(photos.c.original == old).values(original=heir))
    links.put(
        connection,
        [
            linker.duplicate(PhotoId(twin.photo), heir, at_ms=twin.seen_at_ms)
            for twin in twins_of(connection, heir)
        ],
    )
    _inherit_links(connection, old, heir)
    _inherit_verdicts(connection, old, heir)
    # Recorded anew, so that an index on disk that went further than the old ones learns of the heir.
    return [shelf.put(connection, heir, one) for one in shelf.all_of(connection, old)]


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
        {**BLANK, "photo": photo, "state": State.FORGOTTEN, "position": 0, "seen_at_ms": at_ms},
    )
