"""The paper's write path without a lease: a photo is allocated, its bytes are written, then it is
committed.

An allocated photo has an id, a cookie and a place; its digest, media type and dimensions are not known
to the directory, and stay so if it is committed without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, update

from hayloft import types
from hayloft.clock import Clock
from hayloft.directory.counting import Tally
from hayloft.directory.leases import LeaseRequest, WritePolicy, lease
from hayloft.directory.log import NewEvent, append
from hayloft.directory.photos import add, existing
from hayloft.directory.records import PhotoRow, record_of, signed
from hayloft.directory.schema import Status, photos
from hayloft.directory.volumes import replicas_of
from hayloft.errors import HayloftError, PhotoDeleted, PhotoNotFound
from hayloft.types import (
    AlternateKey,
    EventKind,
    PhotoId,
    PhotoRecord,
    PhotoStatus,
    new_cookie,
    photo_id,
    volume_of,
)


class Allocation(NamedTuple):
    """A photo to be allocated."""

    size: int
    alternate_key: AlternateKey


_ACTIVATE: Final = (
    update(photos).where(photos.c.photo == bindparam("of_photo")).values(status=Status.ACTIVE.value)
)


class Allocations:
    """The change that allocates photos: a batch gets consecutive ids of one volume."""

    def __init__(self, clock: Clock, policy: WritePolicy, *, holder: str) -> None:
        self._clock = clock
        self._policy = policy
        self._holder = holder

    def __call__(
        self, connection: Connection, batch: Sequence[Allocation]
    ) -> Sequence[PhotoRecord | HayloftError]:
        """Allocate photos in status ``alloc``."""
        now_ms = self._clock.now_ms()
        records: list[PhotoRecord] = []
        try:
            while len(records) < len(batch):
                records += self._some(connection, batch[len(records) :], now_ms)
        except HayloftError as error:
            return [*records, *[error] * (len(batch) - len(records))]
        return records

    def _some(self, connection: Connection, batch: Sequence[Allocation], now_ms: int) -> list[PhotoRecord]:
        """As many as fit into one volume."""
        request = LeaseRequest(self._holder, len(batch), now_ms)
        block = lease(connection, request, self._policy)
        records = [
            PhotoRecord(
                photo=photo_id(block.volume, types.Sequence(block.first + number)),
                cookie=new_cookie(),
                status=PhotoStatus.ALLOC,
                alternate_key=wanted.alternate_key,
                replicas=block.replicas,
                size=wanted.size,
                created_at_ms=now_ms,
            )
            for number, wanted in enumerate(batch[: block.count])
        ]
        add(connection, [_row(record) for record in records])
        tally = Tally()
        for record in records:
            tally.add(Status.ALLOC, record.media_type, now_ms, record.size)
        tally.write(connection)
        return records


def _row(record: PhotoRecord) -> PhotoRow:
    return PhotoRow(
        photo=record.photo,
        status=Status.of(record.status).value,
        alternate_key=record.alternate_key.value,
        cookie=signed(record.cookie),
        size=record.size,
        sha256=record.sha256,
        media_type=record.media_type,
        width=record.width,
        height=record.height,
        name=record.name,
        created_at_ms=record.created_at_ms,
        duplicate_of=None,
        is_first=False,
    )


class Activations:
    """The change that makes allocated photos active, each with its event; again is no error."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(
        self, connection: Connection, batch: Sequence[PhotoId]
    ) -> Sequence[PhotoRecord | HayloftError]:
        """Commit photos by their ids alone."""
        rows = existing(connection, set(batch))
        # In the order of the requests, which is the order of their events.
        found = [rows[photo] for photo in dict.fromkeys(batch) if photo in rows]
        allocated = [row for row in found if row.status == Status.ALLOC.value]
        if allocated:
            self._activate(connection, allocated)
            rows = existing(connection, set(batch))
        replicas = replicas_of(connection, {volume_of(photo) for photo in rows})
        return [
            PhotoNotFound(photo_id=photo)
            if photo not in rows
            else PhotoDeleted(photo_id=photo)
            if rows[photo].status == Status.DELETED.value
            else record_of(rows[photo], replicas)
            for photo in batch
        ]

    def _activate(self, connection: Connection, rows: Sequence[Any]) -> None:
        connection.execute(_ACTIVATE, [{"of_photo": row.photo} for row in rows])
        uploads = [NewEvent(EventKind.UPLOADED, PhotoId(row.photo)) for row in rows]
        append(connection, uploads, now_ms=self._clock.now_ms())
        tally = Tally()
        for row in rows:
            tally.add(Status.ALLOC, row.media_type, row.created_at_ms, row.size, times=-1)
            tally.add(Status.ACTIVE, row.media_type, row.created_at_ms, row.size)
        tally.write(connection)
