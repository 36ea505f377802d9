"""The first page of a log: what it is, and which one.

Written once, before the log gets its name, and never changed. It knows nothing of needles.
"""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass
from typing import Final

import google_crc32c

from hayloft import limits
from hayloft.errors import FormatTooNew, VolumeCorrupt
from hayloft.types import VolumeId, volume_name

SUPERBLOCK_BYTES: Final = 4096
"""One page, so that the first needle begins on a page of its own."""

FORMAT_VERSION: Final = 1
"""Grows with every change that an older Hayloft cannot read."""

_MAGIC: Final = b"HAYLOFT\0"
_FIELDS: Final = struct.Struct("<8sIIQQQII")
"""Magic, format version, slots per sequence, volume, size limit, identity, generation, salt."""
_CHECKSUM: Final = struct.Struct("<I")
_VERSION_AT: Final = len(_MAGIC)

VERSION_PLAUSIBLE_MAX: Final = 1000
"""A version past this has never been written by any Hayloft."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """What a log says of itself."""

    volume: VolumeId
    slots: int
    """Index slots per sequence number."""
    size_bytes_max: int
    """Length at which the volume is sealed."""
    identity: int
    """64 random bits that only this log and its index share."""
    generation: int
    """How often the volume has been compacted; part of the index's file name."""
    salt: int
    """Where this log's needle checksums start: 32 random bits that never leave the store."""

    @classmethod
    def new(cls, volume: VolumeId, *, size_bytes_max: int, generation: int = 0) -> Superblock:
        """A fresh log's superblock."""
        return cls(
            volume=volume,
            slots=limits.SLOTS_PER_PHOTO,
            size_bytes_max=size_bytes_max,
            identity=secrets.randbits(63) | 1,
            generation=generation,
            salt=secrets.randbits(32),
        )


def encode(superblock: Superblock) -> bytes:
    """The page."""
    fields = _FIELDS.pack(
        _MAGIC,
        FORMAT_VERSION,
        superblock.slots,
        superblock.volume,
        superblock.size_bytes_max,
        superblock.identity,
        superblock.generation,
        superblock.salt,
    )
    checksum: int = google_crc32c.value(fields)
    return (fields + _CHECKSUM.pack(checksum)).ljust(SUPERBLOCK_BYTES, b"\0")


def decode(page: bytes, volume: VolumeId) -> Superblock:
    """What a page says.

    Raises:
        FormatTooNew: a newer Hayloft wrote it.
        VolumeCorrupt: it is no superblock, or another volume's.
    """
    name = volume_name(volume)
    if len(page) < _FIELDS.size + _CHECKSUM.size or not page.startswith(_MAGIC):
        raise VolumeCorrupt(f"The log of {name} does not begin with a superblock.")
    _magic, version, slots, number, size_max, identity, generation, salt = _FIELDS.unpack_from(page)
    # The version is looked at first: a newer format may lay out everything after it in another way. But one
    # that is far from any is damage, and so is one without which the rest is whole.
    if version > FORMAT_VERSION and not _is_damaged_version(page, version):
        raise FormatTooNew(
            f"{name} has format {version}, but this Hayloft reads formats up to {FORMAT_VERSION}.",
            format_version=version,
        )
    (checksum,) = _CHECKSUM.unpack_from(page, _FIELDS.size)
    if google_crc32c.value(bytes(page[: _FIELDS.size])) != checksum or slots == 0:
        raise VolumeCorrupt(f"The superblock of {name} is damaged.")
    if number != volume:
        raise VolumeCorrupt(f"The log of {name} says that it belongs to {volume_name(number)}.")
    return Superblock(
        volume=VolumeId(number),
        slots=slots,
        size_bytes_max=size_max,
        identity=identity,
        generation=generation,
        salt=salt,
    )


def _is_damaged_version(page: bytes, version: int) -> bool:
    ours = page[:_VERSION_AT] + FORMAT_VERSION.to_bytes(4, "little") + page[_VERSION_AT + 4 : _FIELDS.size]
    (checksum,) = _CHECKSUM.unpack_from(page, _FIELDS.size)
    return version > VERSION_PLAUSIBLE_MAX or bool(google_crc32c.value(ours) == checksum)
