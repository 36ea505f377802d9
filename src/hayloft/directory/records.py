"""Rows to records and back. Values only: no statement is sent from here.

A cookie is 64 unsigned bits, which neither database has a column for: it is stored as the signed integer
with the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Row

from hayloft.directory.schema import Status
from hayloft.errors import InvalidRequest
from hayloft.limits import IDEMPOTENCY_KEY_CHARACTERS_MAX
from hayloft.types import (
    PHOTO_ID_BITS,
    AlternateKey,
    Cookie,
    NewPhoto,
    PhotoId,
    PhotoRecord,
    StoreId,
    VolumeId,
    volume_of,
)

DAY_MS: Final = 86_400_000
SHA256_BYTES: Final = 32
_COOKIE_SPAN: Final = 1 << 64
_COOKIE_HALF: Final = 1 << 63

Replicas = Mapping[VolumeId, tuple[StoreId, ...]]
"""The stores of each volume, healthy ones first."""


def signed(cookie: Cookie) -> int:
    """A cookie as it is stored."""
    return cookie - _COOKIE_SPAN if cookie >= _COOKIE_HALF else cookie


def unsigned(stored: int) -> Cookie:
    """A stored cookie."""
    return Cookie(stored & (_COOKIE_SPAN - 1))


def day_of(created_at_ms: int) -> int:
    """The day in which a photo is counted."""
    return created_at_ms // DAY_MS


def record_of(row: Row[Any], replicas: Replicas) -> PhotoRecord:
    """The record in a row of ``photos``."""
    photo = PhotoId(row.photo)
    return PhotoRecord(
        photo=photo,
        cookie=unsigned(row.cookie),
        status=Status(row.status).public,
        alternate_key=AlternateKey(row.alternate_key),
        replicas=replicas.get(volume_of(photo), ()),
        size=row.size,
        sha256=row.sha256,
        media_type=row.media_type,
        width=row.width,
        height=row.height,
        name=row.name,
        created_at_ms=row.created_at_ms,
    )


class PhotoRow(NamedTuple):
    """A row of ``photos``: its columns, in their order."""

    photo: PhotoId
    status: int
    alternate_key: int
    cookie: int
    size: int
    sha256: bytes
    media_type: str
    width: int
    height: int
    name: str
    created_at_ms: int
    duplicate_of: PhotoId | None
    is_first: bool


def row_of(new: NewPhoto, *, duplicate_of: PhotoId | None) -> PhotoRow:
    """The row of a photo that is being committed."""
    return PhotoRow(
        new.photo,
        Status.ACTIVE.value,
        new.alternate_key.value,
        signed(new.cookie),
        new.size,
        new.sha256,
        new.media_type,
        new.width,
        new.height,
        new.name,
        new.created_at_ms,
        duplicate_of,
        duplicate_of is None and new.sha256 != b"",
    )


def check(photo: NewPhoto) -> None:
    """Refuse a photo that could not be stored as it is.

    Raises:
        InvalidRequest: a number is out of range, a digest is not one, a text is not text.
    """
    if not 0 <= photo.photo < 1 << PHOTO_ID_BITS:
        raise InvalidRequest("A photo id is a number from 0 to 2**53 - 1.", photo_id=photo.photo)
    if not 0 <= photo.cookie < _COOKIE_SPAN:
        raise InvalidRequest("A cookie has 64 bits.")
    if len(photo.sha256) not in (0, SHA256_BYTES):
        raise InvalidRequest("A SHA-256 digest has 32 bytes.")
    if min(photo.size, photo.width, photo.height, photo.created_at_ms) < 0:
        raise InvalidRequest("Sizes and times are not negative.")
    check_text(photo.name, photo.media_type)
    if photo.idempotency_key is not None:
        check_key(photo.idempotency_key)


def check_text(*texts: str) -> None:
    """Refuse what cannot be stored as text: lone surrogates, and NUL, which PostgreSQL does not take.

    Raises:
        InvalidRequest: a text is not text.
    """
    for text in texts:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InvalidRequest("A text has characters that Unicode does not have.") from error
        if "\0" in text:
            raise InvalidRequest("A text has a NUL character.")


def check_key(key: str) -> None:
    """Refuse an idempotency key that is empty, too long or not text.

    Raises:
        InvalidRequest: it is.
    """
    if not 0 < len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX:
        raise InvalidRequest(
            f"An idempotency key has 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters.",
            limit=IDEMPOTENCY_KEY_CHARACTERS_MAX,
        )
    check_text(key)
