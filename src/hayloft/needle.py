"""One needle as bytes, and back. Pure: bytes in, values out, no I/O.

A record is a header, the data, a metadata block and a footer, padded to eight bytes (drawn in
docs/FORMAT.md). The checksum covers everything before it and starts from the log's own secret ``salt``,
so that bytes which merely look like a needle (inside somebody's upload, or left from another log) are
never taken for one. Decoding trusts no size and copies nothing: ``data`` is a view into the buffer, and
metadata is decoded when asked for. It does not know where a needle is stored, nor whether it is live.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

import google_crc32c
import numpy as np

from hayloft import limits
from hayloft.errors import InvalidRequest, NeedleCorrupt, UploadTooLarge
from hayloft.types import AlternateKey, Cookie, NeedleMetadata, Sequence

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Bytes: TypeAlias = bytes | bytearray | memoryview

HEADER: Final = struct.Struct("<IBBHIIQ")
"""Magic, kind, alternate key, metadata size, data size, sequence, cookie."""

FOOTER: Final = struct.Struct("<QIII")
"""Index entry replaced, first offset of the group commit / 8, magic, CRC-32C."""

HEADER_MAGIC: Final = 0x4C44_4E48
"""``HNDL`` on disk."""
FOOTER_MAGIC: Final = 0x444E_4548
"""``HEND`` on disk."""

ALIGNMENT: Final = limits.NEEDLE_ALIGNMENT_BYTES
DATA_BYTES_MAX: Final = (1 << 32) - 1 - HEADER.size - FOOTER.size - limits.METADATA_BYTES_MAX - ALIGNMENT
"""So that a whole record's size fits the index's 32 bits."""

_METADATA: Final = struct.Struct("<qBBH")
_FIRST_CREATED: Final = struct.Struct("<q")
"""Creation time, digest size, media type size, name size."""
_TOMBSTONE: Final = struct.Struct("<QQ")
"""Slot, and the index entry that its deletion ends."""
_PADDING: Final = tuple(bytes(count) for count in range(ALIGNMENT))


class Kind(IntEnum):
    """What a record is."""

    PHOTO = 0
    """A rendition's bytes."""
    TOMBSTONE = 1
    """The data is a list of slots that are deleted from here on."""
    SEAL = 2
    """The volume takes no photos from here on."""


def record_size(data_size: int, metadata_size: int) -> int:
    """Bytes that a record with these sizes takes on disk."""
    return (HEADER.size + data_size + metadata_size + FOOTER.size + ALIGNMENT - 1) & -ALIGNMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record ready to be written, but for what is known only at the log's tail: the footer."""

    kind: Kind
    sequence: int
    alternate_key: int
    body: tuple[ReadableBuffer, ...]
    """Header, data and metadata, as they will stand on disk, in any number of pieces."""
    body_size: int
    data_size: int
    checksum: int
    """CRC-32C of the body."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return (self.body_size + FOOTER.size + ALIGNMENT - 1) & -ALIGNMENT

    def footer(self, *, replaced: int, batch_offset: int) -> bytes:
        """The footer, with the padding after it.

        ``replaced`` is the index entry that this record takes the place of (0 for none), and
        ``batch_offset`` where the first record of its group commit stands.
        """
        start = FOOTER.pack(replaced, batch_offset // ALIGNMENT, FOOTER_MAGIC, 0)[:-4]
        checksum: int = google_crc32c.extend(self.checksum, start)
        padding = _PADDING[self.size - self.body_size - FOOTER.size]
        return start + checksum.to_bytes(4, "little") + padding


def encode(
    *,
    salt: int,
    sequence: int,
    cookie: int,
    data: bytes | memoryview,
    alternate_key: int = AlternateKey.ORIG,
    metadata: bytes = b"",
    kind: Kind = Kind.PHOTO,
) -> Record:
    """Make a record; the data is referred to, not copied.

    Raises:
        UploadTooLarge: the data's size does not fit the format.
    """
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    if size > DATA_BYTES_MAX:
        raise UploadTooLarge(f"A needle holds at most {DATA_BYTES_MAX} bytes.", limit_bytes=DATA_BYTES_MAX)
    header = HEADER.pack(HEADER_MAGIC, kind, alternate_key, len(metadata), size, sequence, cookie)
    checksum = google_crc32c.extend(salt, header)
    if size:
        # The checksum library takes bytes or an array, but no view.
        flat = data if isinstance(data, bytes) else np.frombuffer(data, np.uint8)
        checksum = google_crc32c.extend(checksum, flat)
    checksum = google_crc32c.extend(checksum, metadata)
    return Record(
        kind=kind,
        sequence=sequence,
        alternate_key=alternate_key,
        body=(header, data, metadata),
        body_size=HEADER.size + size + len(metadata),
        data_size=size,
        checksum=checksum,
    )


def adopt(needle: Needle, *, salt: int) -> Record:
    """The record of a verified needle for another log, whose ``salt`` this is; nothing is copied."""
    body = needle.body
    return Record(
        kind=Kind(needle.kind),
        sequence=needle.sequence,
        alternate_key=needle.alternate_key,
        body=(body,),
        body_size=body.nbytes,
        data_size=needle.data_size,
        checksum=needle.checksum_from(salt),
    )


def encode_tombstone(*, salt: int, sequence: int, deleted: list[tuple[int, int]]) -> Record:
    """A record that deletes slots; each comes with the index entry that it had."""
    data = b"".join(_TOMBSTONE.pack(slot, entry) for slot, entry in deleted)
    return encode(salt=salt, sequence=sequence, cookie=0, data=data, kind=Kind.TOMBSTONE)


def encode_seal(*, salt: int) -> Record:
    """A record that seals its volume."""
    return encode(salt=salt, sequence=0, cookie=0, data=b"", kind=Kind.SEAL)


def encode_metadata(metadata: NeedleMetadata) -> bytes:
    """The metadata block.

    Raises:
        InvalidRequest: the name, the media type or the digest is too long.
    """
    name = metadata.name.encode("utf-8", "surrogateescape")
    media_type = metadata.media_type.encode("utf-8", "surrogateescape")
    if len(name) > limits.NAME_BYTES_MAX or len(media_type) > 255 or len(metadata.sha256) > 255:
        raise InvalidRequest(f"A photo's name has at most {limits.NAME_BYTES_MAX} bytes in UTF-8.")
    sizes = (len(metadata.sha256), len(media_type), len(name))
    first = metadata.first_created_at_ms
    imported = b"" if first is None else _FIRST_CREATED.pack(first)
    return _METADATA.pack(metadata.created_at_ms, *sizes) + metadata.sha256 + media_type + name + imported


def decode_metadata(block: bytes) -> NeedleMetadata:
    """The metadata that a block holds; an empty block says nothing.

    Raises:
        NeedleCorrupt: the block's sizes do not add up.
    """
    if not block:
        return NeedleMetadata()
    if len(block) < _METADATA.size:
        raise NeedleCorrupt("The metadata block is too short.")
    created_at_ms, digest, media_type, name = _METADATA.unpack_from(block)
    type_at = _METADATA.size + digest
    name_at = type_at + media_type
    end = name_at + name
    if end > len(block):
        raise NeedleCorrupt("The metadata block is shorter than it says.")
    imported = len(block) - end >= _FIRST_CREATED.size
    return NeedleMetadata(
        media_type=block[type_at:name_at].decode("utf-8", "surrogateescape"),
        name=block[name_at:end].decode("utf-8", "surrogateescape"),
        sha256=block[_METADATA.size : type_at],
        created_at_ms=created_at_ms,
        first_created_at_ms=_FIRST_CREATED.unpack_from(block, end)[0] if imported else None,
    )


class Needle:
    """A verified record over its buffer. A plain class, because one is made for every read."""

    __slots__ = ("_buffer", "_data_end", "_footer_at", "alternate_key", "cookie", "kind", "sequence")

    _buffer: Bytes
    _data_end: int
    _footer_at: int
    cookie: Cookie
    sequence: Sequence
    alternate_key: int
    kind: int

    @property
    def data(self) -> memoryview:
        """The photo's bytes: a view, valid as long as it is held."""
        return memoryview(self._buffer)[HEADER.size : self._data_end]

    @property
    def data_size(self) -> int:
        """Bytes of data."""
        return self._data_end - HEADER.size

    @property
    def size(self) -> int:
        """Bytes of the whole record on disk."""
        return (self._footer_at + FOOTER.size + ALIGNMENT - 1) & -ALIGNMENT

    @property
    def metadata(self) -> NeedleMetadata:
        """What stands beside the data."""
        return decode_metadata(self.metadata_block)

    @property
    def metadata_block(self) -> bytes:
        """The metadata as it stands on disk."""
        return bytes(memoryview(self._buffer)[self._data_end : self._footer_at])

    @property
    def body(self) -> memoryview:
        """Header, data and metadata as they stand on disk: what a needle holds, wherever it stands."""
        return memoryview(self._buffer)[: self._footer_at]

    @property
    def body_checksum(self) -> int:
        """CRC-32C of the body, the same for the same needle in every log."""
        return self.checksum_from(0)

    def checksum_from(self, salt: int) -> int:
        """CRC-32C of the body, begun from a log's salt."""
        checksum: int = google_crc32c.extend(salt, np.frombuffer(self._buffer, np.uint8, self._footer_at))
        return checksum

    @property
    def replaced(self) -> int:
        """The index entry that this record took the place of, 0 for none."""
        return int(FOOTER.unpack_from(self._buffer, self._footer_at)[0])

    @property
    def batch_offset(self) -> int:
        """Where the first record of its group commit stands in the log."""
        return int(FOOTER.unpack_from(self._buffer, self._footer_at)[1]) * ALIGNMENT

    @property
    def deleted(self) -> list[tuple[int, int]]:
        """A tombstone's slots, each with the index entry that it had."""
        data = self.data
        return list(_TOMBSTONE.iter_unpack(data[: len(data) - len(data) % _TOMBSTONE.size]))


def measure(header: Bytes) -> int:
    """The size in bytes of the record that begins with this header.

    Raises:
        NeedleCorrupt: this is no needle's header.
    """
    magic, kind, _key, metadata_size, data_size, _sequence, _cookie = HEADER.unpack_from(header)
    if magic != HEADER_MAGIC or kind > Kind.SEAL or metadata_size > limits.METADATA_BYTES_MAX:
        raise NeedleCorrupt("There is no needle's header where one should be.")
    return record_size(data_size, metadata_size)


def decode(buffer: Bytes, size: int, *, salt: int) -> Needle:
    """The needle whose record is exactly the first ``size`` bytes of ``buffer``.

    Raises:
        NeedleCorrupt: the bytes are not those that were written.
    """
    if size < HEADER.size + FOOTER.size:
        raise NeedleCorrupt("The record is too short to be a needle.")
    needle = Needle()
    needle._buffer = buffer
    magic, needle.kind, needle.alternate_key, metadata_size, data_size, needle.sequence, needle.cookie = (
        HEADER.unpack_from(buffer)
    )
    if magic != HEADER_MAGIC:
        raise NeedleCorrupt("There is no needle's header where one should be.")
    needle._data_end = data_end = HEADER.size + data_size
    needle._footer_at = footer_at = data_end + metadata_size
    checksum_at = footer_at + FOOTER.size - 4
    if (checksum_at + 4 + ALIGNMENT - 1) & -ALIGNMENT != size or metadata_size > limits.METADATA_BYTES_MAX:
        raise NeedleCorrupt("The needle's sizes do not match its record.")
    _replaced, _batch, magic, checksum = FOOTER.unpack_from(buffer, footer_at)
    if magic != FOOTER_MAGIC:
        raise NeedleCorrupt("There is no needle's footer where one should be.")
    if google_crc32c.extend(salt, np.frombuffer(buffer, np.uint8, checksum_at)) != checksum:
        raise NeedleCorrupt("The needle's checksum is wrong.")
    return needle
