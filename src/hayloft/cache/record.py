"""A cached rendition as one piece of memory, the same in memory and on disk: a needle's record. Pure.

The record's CRC-32C is taken when the rendition comes in and verified whenever it is read, and it starts
from a number of this cache and the photo's volume, so that bytes which lie in the wrong place (another
cache's file, another photo's) are never taken for the photo's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from hayloft.errors import NeedleCorrupt
from hayloft.needle import Needle, decode, encode, encode_metadata
from hayloft.types import (
    AlternateKey,
    Cookie,
    NeedleMetadata,
    NewNeedle,
    PhotoId,
    sequence_of,
    volume_of,
)
from hayloft.wire.needles import COOKIE_UNKNOWN

Key: TypeAlias = tuple[PhotoId, AlternateKey]
"""Which rendition of which photo."""

_NO_COOKIE: Final = Cookie(0)
"""Stands for an unknown cookie in a record; a photo that really has it is never served from the cache."""


@dataclass(frozen=True, slots=True)
class CachedNeedle:
    """A rendition out of the cache, over its record."""

    _needle: Needle

    @property
    def cookie(self) -> Cookie:
        """The cookie it came with, if it did."""
        return COOKIE_UNKNOWN if self._needle.cookie == _NO_COOKIE else self._needle.cookie

    @property
    def data(self) -> memoryview:
        """The rendition's bytes: a view, valid as long as it is held."""
        return self._needle.data

    @property
    def metadata(self) -> NeedleMetadata:
        """What it came with."""
        return self._needle.metadata


def to_record(needle: NewNeedle, *, salt: int) -> bytes:
    """The record of a rendition.

    Raises:
        InvalidRequest: its name is too long.
        UploadTooLarge: its size does not fit the format.
    """
    metadata = needle.metadata
    if len(metadata.sha256) not in (0, 32):
        metadata = replace(metadata, sha256=b"")
    record = encode(
        salt=_salt(salt, needle.photo),
        sequence=sequence_of(needle.photo),
        cookie=_NO_COOKIE if needle.cookie == COOKIE_UNKNOWN else needle.cookie,
        data=needle.data,
        alternate_key=needle.alternate_key,
        metadata=encode_metadata(metadata),
    )
    return b"".join((*record.body, record.footer(replaced=0, batch_offset=0)))


def from_record(record: bytes, key: Key, *, salt: int) -> CachedNeedle | None:
    """The rendition in a record, or None if the record is damaged or somebody else's."""
    photo, alternate_key = key
    try:
        needle = decode(record, len(record), salt=_salt(salt, photo))
    except NeedleCorrupt:
        return None
    if needle.sequence != sequence_of(photo) or needle.alternate_key != alternate_key:
        return None
    return CachedNeedle(needle)


def _salt(salt: int, photo: PhotoId) -> int:
    return (salt ^ volume_of(photo)) & 0xFFFF_FFFF
