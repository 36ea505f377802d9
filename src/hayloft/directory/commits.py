"""The change ``commit``: durable photos become active, each with its event, a batch in one transaction.

A batch costs as many statements as a single commit: two probes, one insert each for photos and events,
one update each for the counts and the log's counter. Within a batch, requests see the ones before them,
so two identical uploads, or two with one idempotency key, are told apart whether they meet in a batch,
in a process or in the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select, update

from hayloft.clock import Clock
from hayloft.directory.counting import Tally
from hayloft.directory.log import NewEvent, append
from hayloft.directory.photos import add, existing, firsts
from hayloft.directory.prepared import Lookup, prepared_insert
from hayloft.directory.records import PhotoRow, row_of, signed, unsigned
from hayloft.directory.schema import Status, idempotency, photos, volumes
from hayloft.errors import Conflict, HayloftError, PhotoDeleted
from hayloft.types import Committed, EventKind, NewPhoto, PhotoId, VolumeId, sequence_of, volume_of

_KEYS: Final = Lookup(
    select(idempotency.c.key, photos.c.photo, photos.c.cookie, photos.c.duplicate_of).join_from(
        idempotency, photos, idempotency.c.photo == photos.c.photo
    ),
    idempotency.c.key,
)
_HIGH_WATER: Final = Lookup(select(volumes.c.volume, volumes.c.next_sequence), volumes.c.volume)
_INSERT_KEYS: Final = prepared_insert(idempotency)


class _Earlier(NamedTuple):
    """The photo that an idempotency key already names."""

    photo: PhotoId
    cookie: int
    duplicate_of: PhotoId | None


class Commits:
    """The change, with what it remembers from one transaction to the next.

    Remembered is each volume's high-water mark of leased sequence numbers. It only grows, so an old
    value is merely cautious, and is read again when a photo lies past it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._high_water: dict[VolumeId, int] = {}

    def __call__(
        self, connection: Connection, batch: Sequence[NewPhoto]
    ) -> Sequence[Committed | HayloftError]:
        """Record durable photos as active, each with its event."""
        work = _Batch(connection, batch, leased=self._leased(connection, batch))
        answers = [work.answer(new) for new in batch]
        work.write(now_ms=self._clock.now_ms())
        return answers

    def _leased(self, connection: Connection, batch: Sequence[NewPhoto]) -> set[PhotoId]:
        """The ids that have been leased to somebody."""
        doubtful = {volume_of(new.photo) for new in batch if not self._is_leased(new.photo)}
        for row in _HIGH_WATER.rows(connection, sorted(doubtful)):
            self._high_water[row.volume] = row.next_sequence
        return {new.photo for new in batch if self._is_leased(new.photo)}

    def _is_leased(self, photo: PhotoId) -> bool:
        return sequence_of(photo) < self._high_water.get(volume_of(photo), 0)


class _Batch:
    """One batch of commits inside one transaction: answers are found first, then everything is written."""

    def __init__(self, connection: Connection, batch: Sequence[NewPhoto], *, leased: set[PhotoId]) -> None:
        self._connection = connection
        self._leased = leased
        self._stored: dict[PhotoId, Any] = dict(existing(connection, [new.photo for new in batch]))
        self._firsts = firsts(connection, {new.sha256 for new in batch if new.sha256})
        self._keys = _keys(connection, [new.idempotency_key for new in batch if new.idempotency_key])
        self._added: list[PhotoRow] = []
        self._filled: list[PhotoRow] = []
        self._uploads: list[NewEvent] = []
        self._new_keys: list[tuple[str, PhotoId, int]] = []
        self._tally = Tally()

    def answer(self, new: NewPhoto) -> Committed | HayloftError:
        """The answer to one request, which later ones of the batch take into account."""
        earlier = self._keys.get(new.idempotency_key) if new.idempotency_key else None
        if earlier is not None:
            return Committed(
                photo=earlier.photo,
                cookie=unsigned(earlier.cookie),
                duplicate_of=earlier.duplicate_of,
                # The same request sent again names its own photo, which is not an earlier one.
                repeated=earlier.photo != new.photo,
            )
        stored = self._stored.get(new.photo)
        if stored is None:
            return self._add(new)
        if stored.status == Status.ALLOC.value:
            return self._fill(new, stored)
        return _again(new, stored)

    def write(self, *, now_ms: int) -> None:
        """Write what the answers promise."""
        add(self._connection, self._added)
        for row in self._filled:
            change = update(photos).where(photos.c.photo == row.photo).values(row._asdict())
            self._connection.execute(change)
        _INSERT_KEYS.many(self._connection, self._new_keys)
        if self._uploads:
            append(self._connection, self._uploads, now_ms=now_ms)
        self._tally.write(self._connection)

    def _add(self, new: NewPhoto) -> Committed | HayloftError:
        if new.photo not in self._leased:
            return Conflict(f"Photo id {new.photo} was never leased.", photo_id=new.photo)
        return self._record(new, self._added)

    def _fill(self, new: NewPhoto, stored: Any) -> Committed | HayloftError:
        """Make an allocated photo active."""
        if stored.cookie != signed(new.cookie) or stored.alternate_key != new.alternate_key.value:
            return _contradiction(new)
        self._tally.add(Status.ALLOC, stored.media_type, stored.created_at_ms, stored.size, times=-1)
        return self._record(new, self._filled)

    def _record(self, new: NewPhoto, rows: list[PhotoRow]) -> Committed:
        duplicate_of = self._firsts.get(new.sha256) if new.sha256 else None
        row = row_of(new, duplicate_of=duplicate_of)
        rows.append(row)
        self._uploads.append(NewEvent(EventKind.UPLOADED, new.photo))
        self._stored[new.photo] = row
        self._tally.add(Status.ACTIVE, new.media_type, new.created_at_ms, new.size)
        if row.is_first:
            self._firsts[new.sha256] = new.photo
        if new.idempotency_key:
            self._keys[new.idempotency_key] = _Earlier(new.photo, row.cookie, duplicate_of)
            self._new_keys.append((new.idempotency_key, new.photo, new.created_at_ms))
        return Committed(photo=new.photo, cookie=new.cookie, duplicate_of=duplicate_of)


def _again(new: NewPhoto, stored: Any) -> Committed | HayloftError:
    """The answer to a commit of an id that was committed before."""
    if stored.status == Status.DELETED.value:
        return PhotoDeleted(photo_id=new.photo)
    ours = (signed(new.cookie), new.sha256, new.size, new.alternate_key.value)
    if ours != (stored.cookie, stored.sha256, stored.size, stored.alternate_key):
        return _contradiction(new)
    return Committed(photo=new.photo, cookie=new.cookie, duplicate_of=stored.duplicate_of)


def _contradiction(new: NewPhoto) -> Conflict:
    return Conflict(f"Photo {new.photo} is already here with other contents.", photo_id=new.photo)


def _keys(connection: Connection, wanted: Sequence[str]) -> dict[str, _Earlier]:
    return {
        row.key: _Earlier(PhotoId(row.photo), row.cookie, row.duplicate_of)
        for row in _KEYS.rows(connection, wanted)
    }
