"""Probes of the photos' table by id and by digest: what every change looks up before it writes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Connection, Row, select

from hayloft.directory.prepared import Lookup, prepared_insert
from hayloft.directory.records import PhotoRow, record_of
from hayloft.directory.schema import Status, photos
from hayloft.directory.volumes import replicas_of
from hayloft.errors import PhotoNotFound
from hayloft.types import PhotoId, PhotoRecord, volume_of

_BY_ID: Final = Lookup(select(photos), photos.c.photo)
_FIRSTS: Final = Lookup(
    select(photos.c.sha256, photos.c.photo).where(
        photos.c.status == Status.ACTIVE.value, photos.c.is_first
    ),
    photos.c.sha256,
)


_INSERT: Final = prepared_insert(photos)


def add(connection: Connection, rows: Sequence[PhotoRow]) -> None:
    """Insert new photos."""
    _INSERT.many(connection, rows)


def existing(connection: Connection, wanted: Collection[PhotoId]) -> dict[PhotoId, Row[tuple[object, ...]]]:
    """The rows of those photos that are there."""
    return {PhotoId(row.photo): row for row in _BY_ID.rows(connection, list(wanted))}


def firsts(connection: Connection, digests: Collection[bytes]) -> dict[bytes, PhotoId]:
    """The oldest active photo for each digest that has one."""
    return {row.sha256: PhotoId(row.photo) for row in _FIRSTS.rows(connection, list(digests))}


def find(connection: Connection, photo: PhotoId) -> PhotoRecord:
    """A photo's record.

    Raises:
        PhotoNotFound: there is no such photo.
    """
    row = existing(connection, [photo]).get(photo)
    if row is None:
        raise PhotoNotFound(photo_id=photo)
    return record_of(row, replicas_of(connection, [volume_of(photo)]))
