"""What photos' files say about them: recorded after the upload, erased with the photo.

One row a photo, one JSON text a row: the details are read by photo, never searched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select

from hayloft.directory.photos import existing
from hayloft.directory.prepared import Lookup
from hayloft.directory.schema import Status, photo_details
from hayloft.types import PhotoDetails, PhotoId
from hayloft.wire.details import details_from_json, details_to_json

_BY_PHOTO: Final = Lookup(select(photo_details), photo_details.c.photo)
_FORGET: Final = delete(photo_details).where(photo_details.c.photo == bindparam("of_photo"))


class Told(NamedTuple):
    """A photo's details, to be recorded."""

    photo: PhotoId
    details: PhotoDetails


def record(connection: Connection, told: Told) -> None:
    """Replace what is known of an active photo; one that was deleted meanwhile leaves nothing behind."""
    row = existing(connection, [told.photo]).get(told.photo)
    if row is None or row.status != Status.ACTIVE.value:
        return
    forget(connection, [told.photo])
    values = {"photo": told.photo, "details": json.dumps(details_to_json(told.details))}
    connection.execute(insert(photo_details), values)


def of_photos(connection: Connection, photos: Sequence[PhotoId]) -> dict[PhotoId, PhotoDetails]:
    """The details of those photos that have some."""
    rows = _BY_PHOTO.rows(connection, list(photos))
    return {PhotoId(row.photo): details_from_json(json.loads(row.details)) for row in rows}


def forget(connection: Connection, photos: Sequence[PhotoId]) -> None:
    """Erase the details of photos."""
    connection.execute(_FORGET, [{"of_photo": photo} for photo in photos])
