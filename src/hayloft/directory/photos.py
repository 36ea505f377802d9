"""Probes of the photos' table by id and by digest: what every change looks up before it writes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, Row, bindparam, select

from hayloft.directory.records import record_of
from hayloft.directory.schema import Status, photos
from hayloft.directory.volumes import replicas_of
from hayloft.errors import PhotoNotFound
from hayloft.types import PhotoId, PhotoRecord, volume_of

_BY_ID: Final = select(photos).where(photos.c.photo.in_(bindparam("wanted", expanding=True)))
_FIRSTS: Final = select(photos.c.sha256, photos.c.photo).where(
    photos.c.sha256.in_(bindparam("wanted", expanding=True)),
    photos.c.status == Status.ACTIVE.value,
    photos.c.is_first,
)


def existing(connection: Connection, wanted: Collection[PhotoId]) -> dict[PhotoId, Row[tuple[object, ...]]]:
    """The rows of those photos that are there."""
    found = connection.execute(_BY_ID, {"wanted": list(wanted)})
    return {PhotoId(row.photo): row for row in found}


def firsts(connection: Connection, digests: Collection[bytes]) -> dict[bytes, PhotoId]:
    """The oldest active photo for each digest that has one."""
    if not digests:
        return {}
    found = connection.execute(_FIRSTS, {"wanted": list(digests)})
    return {row.sha256: PhotoId(row.photo) for row in found}


def find(connection: Connection, photo: PhotoId) -> PhotoRecord:
    """A photo's record.

    Raises:
        PhotoNotFound: there is no such photo.
    """
    row = existing(connection, [photo]).get(photo)
    if row is None:
        raise PhotoNotFound(photo_id=photo)
    return record_of(row, replicas_of(connection, [volume_of(photo)]))
