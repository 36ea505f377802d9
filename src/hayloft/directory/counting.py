"""The counts of photos by status, media type and day, kept up to date in the transactions that change
photos.

A ``Tally`` collects what a transaction changes and is written once, so a batch of a hundred uploads of
one day costs one update. Totals are sums over these few rows, never over photos.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, func, select, update

from hayloft.directory.prepared import Prepared, prepared_insert
from hayloft.directory.records import day_of
from hayloft.directory.schema import Status, counts


class _Stratum(NamedTuple):
    status: int
    media_type: str
    day: int


class Total(NamedTuple):
    """Photos of one status."""

    photos: int
    bytes: int


_HERE: Final = (
    (counts.c.status == bindparam("in_status"))
    & (counts.c.media_type == bindparam("of_type"))
    & (counts.c.day == bindparam("on_day"))
)
_CHANGE: Final = Prepared(
    update(counts)
    .where(_HERE)
    .values(photos=counts.c.photos + bindparam("more"), bytes=counts.c.bytes + bindparam("more_bytes")),
    "in_status",
    "of_type",
    "on_day",
    "more",
    "more_bytes",
)
_ADD: Final = prepared_insert(counts)
_TOTALS: Final = select(
    counts.c.status, func.sum(counts.c.photos).label("photos"), func.sum(counts.c.bytes).label("bytes")
).group_by(counts.c.status)


class Tally:
    """What one transaction changes in the counts."""

    def __init__(self) -> None:
        self._changes: defaultdict[_Stratum, list[int]] = defaultdict(lambda: [0, 0])

    def add(
        self, status: Status, media_type: str, created_at_ms: int, size: int, *, times: int = 1
    ) -> None:
        """Count a photo in; with ``times=-1`` count it out."""
        change = self._changes[_Stratum(status.value, media_type, day_of(created_at_ms))]
        change[0] += times
        change[1] += times * size

    def write(self, connection: Connection) -> None:
        """Apply the changes. Safe without an upsert, because write transactions follow one another."""
        for stratum, (photos, size) in self._changes.items():
            if photos == size == 0:
                continue
            values = (*stratum, photos, size)
            if _CHANGE.changed(connection, values) == 0:
                _ADD.many(connection, [values])


def totals(connection: Connection) -> dict[Status, Total]:
    """All photos, by status."""
    # PostgreSQL sums integers to decimals.
    rows = connection.execute(_TOTALS)
    found = {Status(row.status): Total(int(row.photos), int(row.bytes)) for row in rows}
    return {status: found.get(status, Total(0, 0)) for status in Status}
