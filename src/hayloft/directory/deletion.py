"""The change ``delete``: a photo is marked deleted, with its event, and another takes over as the oldest.

A deleted photo keeps its row, so that its id answers ``gone`` for ever and is never given out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from hayloft.clock import Clock
from hayloft.directory import details
from hayloft.directory.counting import Tally
from hayloft.directory.log import NewEvent, append
from hayloft.directory.photos import existing
from hayloft.directory.records import record_of
from hayloft.directory.schema import Status, photos
from hayloft.directory.volumes import replicas_of
from hayloft.errors import HayloftError, PhotoNotFound
from hayloft.types import EventKind, PhotoId, PhotoRecord, volume_of

_DELETE: Final = (
    update(photos)
    .where(photos.c.photo == bindparam("of_photo"))
    .values(status=Status.DELETED.value, is_first=False)
)
_NEXT_FIRST: Final = (
    select(photos.c.photo)
    .where(
        photos.c.sha256 == bindparam("digest"),
        photos.c.status == Status.ACTIVE.value,
        photos.c.is_first.is_(False),
    )
    .order_by(photos.c.created_at_ms, photos.c.photo)
    .limit(1)
)
_MAKE_FIRST: Final = update(photos).where(photos.c.photo == bindparam("of_photo")).values(is_first=True)


class Deletions:
    """The change; its answers are the records as they were before, so that callers know who was first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(
        self, connection: Connection, batch: Sequence[PhotoId]
    ) -> Sequence[PhotoRecord | HayloftError]:
        """Delete photos; deleting again changes nothing."""
        rows = existing(connection, set(batch))
        replicas = replicas_of(connection, {volume_of(photo) for photo in rows})
        # In the order of the requests, which is the order of their events.
        found = [rows[photo] for photo in dict.fromkeys(batch) if photo in rows]
        live = [row for row in found if row.status != Status.DELETED.value]
        if live:
            self._delete(connection, live)
        answers: list[PhotoRecord | HayloftError] = []
        seen: set[PhotoId] = set()
        for photo in batch:
            if photo not in rows:
                answers.append(PhotoNotFound(photo_id=photo))
            elif photo in seen:
                answers.append(record_of(existing(connection, [photo])[photo], replicas))
            else:
                answers.append(record_of(rows[photo], replicas))
            seen.add(photo)
        return answers

    def _delete(self, connection: Connection, rows: Sequence[Any]) -> None:
        connection.execute(_DELETE, [{"of_photo": row.photo} for row in rows])
        details.forget(connection, [PhotoId(row.photo) for row in rows])
        for row in rows:
            if row.is_first:
                _promote(connection, row.sha256)
        deletions = [NewEvent(EventKind.DELETED, PhotoId(row.photo)) for row in rows]
        append(connection, deletions, now_ms=self._clock.now_ms())
        tally = Tally()
        for row in rows:
            tally.add(Status(row.status), row.media_type, row.created_at_ms, row.size, times=-1)
            tally.add(Status.DELETED, row.media_type, row.created_at_ms, row.size)
        tally.write(connection)


def _promote(connection: Connection, digest: bytes) -> None:
    heir = connection.execute(_NEXT_FIRST, {"digest": digest}).scalar()
    if heir is not None:
        connection.execute(_MAKE_FIRST, {"of_photo": heir})
