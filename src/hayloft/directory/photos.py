"""Probes of the photos' table: by id and by digest, which every change looks up before it writes, and by
volume.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, Row, bindparam, select

from hayloft.directory.prepared import Lookup, prepared_insert
from hayloft.directory.records import PhotoRow, record_of
from hayloft.directory.schema import Status, photos
from hayloft.directory.volumes import replicas_of, unknown, volume_row
from hayloft.errors import PhotoNotFound
from hayloft.types import (
    SEQUENCE_BITS,
    AlternateKey,
    PhotoEntry,
    PhotoId,
    PhotoRecord,
    VolumeId,
    volume_of,
)


class InVolume(NamedTuple):
    """Which photos of a volume are wanted."""

    volume: VolumeId
    first: int
    limit: int


_BY_ID: Final = Lookup(select(photos), photos.c.photo)
_FIRSTS: Final = Lookup(
    select(photos.c.sha256, photos.c.photo).where(
        photos.c.status == Status.ACTIVE.value, photos.c.is_first
    ),
    photos.c.sha256,
)


_IN_VOLUME: Final = (
    select(photos.c.photo, photos.c.status, photos.c.alternate_key, photos.c.size, photos.c.created_at_ms)
    .where(photos.c.photo >= bindparam("first"), photos.c.photo < bindparam("end"))
    .order_by(photos.c.photo)
    .limit(bindparam("limit"))
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


def in_volume(connection: Connection, wanted: InVolume) -> tuple[PhotoEntry, ...]:
    """A volume's photos past a sequence number, in order of their ids.

    Raises:
        VolumeNotFound: there is no such volume.
    """
    if volume_row(connection, wanted.volume) is None:
        raise unknown(wanted.volume)
    return tuple(
        PhotoEntry(
            photo=PhotoId(row.photo),
            status=Status(row.status).public,
            alternate_key=AlternateKey(row.alternate_key),
            size=row.size,
            created_at_ms=row.created_at_ms,
        )
        for row in connection.execute(
            _IN_VOLUME,
            {
                "first": (wanted.volume << SEQUENCE_BITS) + wanted.first,
                "end": (wanted.volume + 1) << SEQUENCE_BITS,
                "limit": wanted.limit,
            },
        )
    )


def find(connection: Connection, photo: PhotoId) -> PhotoRecord:
    """A photo's record.

    Raises:
        PhotoNotFound: there is no such photo.
    """
    row = existing(connection, [photo]).get(photo)
    if row is None:
        raise PhotoNotFound(photo_id=photo)
    return record_of(row, replicas_of(connection, [volume_of(photo)]))
