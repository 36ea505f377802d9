"""Is an image all there? One cheap structural look per format, no pixel decoded.

Each check takes the whole file's bytes and says whether the structure reaches the end that its format
demands: JPEG's end-of-image marker after the scan (a thumbnail inside the EXIF block has one too), PNG's
``IEND``, GIF's trailer, RIFF's size, BMP's rows, TIFF's strips, the boxes of AVIF, HEIF and JPEG 2000.
Bytes after a complete image are tolerated: cameras and phones put films and previews there. A check
answers False only where bytes are missing; whether the rest makes sense is the decoder's business.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

Data = bytes | bytearray

_JPEG_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length: TEM, RST0 to RST7, SOI."""
_JPEG_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15 without DHT, JPG and DAC, which stand between them."""
_JPEG_START_OF_SCAN: Final = 0xDA
_JPEG_SIZE: Final = struct.Struct(">HH")
_JPEG_END: Final = b"\xff\xd9"

_PNG_END: Final = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"
_PNG_SIGNATURE_BYTES: Final = 8
_PNG_CHUNK_FRAME_BYTES: Final = 12
"""Length, type and CRC around a chunk's data."""

_GIF_TRAILER: Final = 0x3B
_GIF_EXTENSION: Final = 0x21
_GIF_IMAGE: Final = 0x2C

_BMP_UNCOMPRESSED: Final = frozenset({0, 3, 6})
"""BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS: rows of fixed length."""


class JpegFrame(NamedTuple):
    """What a JPEG's segments say before its pixels begin."""

    width: int
    height: int
    scan_offset: int
    """Where the first start-of-scan marker is."""


def jpeg_frame(data: Data) -> JpegFrame | None:
    """The frame header and the first scan (ITU-T T.81, annex B); None if the segments end before them."""
    offset = 2
    width = height = 0
    last = len(data) - 4
    while offset <= last:
        if data[offset] != 0xFF:
            offset += 1  # Decoders skip stray bytes between segments, and so do we.
            continue
        marker = data[offset + 1]
        if marker == _JPEG_START_OF_SCAN:
            return JpegFrame(width, height, offset)
        if marker == 0xFF or marker in _JPEG_STANDALONE:
            offset += 1 if marker == 0xFF else 2
            continue
        if marker in _JPEG_START_OF_FRAME and offset + 9 <= len(data):
            height, width = _JPEG_SIZE.unpack_from(data, offset + 5)
        offset += 2 + (data[offset + 2] << 8 | data[offset + 3])
    return None


def jpeg_complete(data: Data) -> bool:
    """Whether an end-of-image marker follows the first scan."""
    frame = jpeg_frame(data)
    return frame is not None and data.rfind(_JPEG_END, frame.scan_offset) != -1


def png_complete(data: Data) -> bool:
    """Whether the chunks reach an ``IEND``."""
    if data.endswith(_PNG_END):
        return True
    offset = _PNG_SIGNATURE_BYTES
    while offset + _PNG_CHUNK_FRAME_BYTES <= len(data):
        length = int.from_bytes(data[offset : offset + 4])
        kind = data[offset + 4 : offset + 8]
        offset += _PNG_CHUNK_FRAME_BYTES + length
        if kind == b"IEND":
            return offset <= len(data)
    return False


def gif_complete(data: Data) -> bool:
    """Whether the blocks reach the trailer, or end cleanly after an image: writers forget the trailer."""
    if len(data) < 13:
        return False
    if data[-1] == _GIF_TRAILER and data[-2] == 0:
        return True
    offset = 13 + _gif_palette_bytes(data[10])
    images = 0
    while offset < len(data):
        block = data[offset]
        if block == _GIF_TRAILER:
            return images > 0
        if block == _GIF_EXTENSION:
            offset += 2
        elif block == _GIF_IMAGE and offset + 10 < len(data):
            images += 1
            offset += 11 + _gif_palette_bytes(data[offset + 9])
        else:
            return images > 0  # Not a block: bytes after the images.
        end = _gif_sub_blocks_end(data, offset)
        if end is None:
            return False
        offset = end
    return images > 0


def _gif_palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_sub_blocks_end(data: Data, offset: int) -> int | None:
    while offset < len(data):
        length = data[offset]
        offset += 1 + length
        if length == 0:
            return offset
    return None


def riff_complete(data: Data) -> bool:
    """Whether as many bytes are here as the RIFF header promises (WebP)."""
    return len(data) >= 12 and int.from_bytes(data[4:8], "little") + 8 <= len(data) + 1


def bmp_complete(data: Data) -> bool:
    """Whether the rows of an uncompressed bitmap are all here; run lengths are the decoder's to judge."""
    if len(data) < 26:
        return False
    pixels_offset, header_bytes = struct.unpack_from("<II", data, 10)
    if header_bytes == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    elif len(data) >= 34:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    else:
        return False
    if compression not in _BMP_UNCOMPRESSED:
        return True
    row_bytes = (abs(width) * bits + 7) // 8
    stride = (row_bytes + 3) & ~3
    return bool(pixels_offset + stride * (abs(height) - 1) + row_bytes <= len(data))


def boxes_complete(data: Data) -> bool:
    """Whether the boxes of an ISO base media file (AVIF, HEIF, JPEG 2000) are all here."""
    offset = 0
    kinds: set[bytes] = set()
    while offset + 8 <= len(data):
        size = int.from_bytes(data[offset : offset + 4])
        kind = bytes(data[offset + 4 : offset + 8])
        if size == 1 and offset + 16 <= len(data):
            size = int.from_bytes(data[offset + 8 : offset + 16])
        elif size == 0:
            return True  # The last box reaches to the end of the file, wherever that is.
        if size < 8 or offset + size > len(data):
            # Not a box, or one cut off: bytes after a complete image, unless pixels are among them.
            return kind not in _BOXES_WITH_PIXELS and _has_image(kinds)
        kinds.add(kind)
        if kind == b"meta" and data.find(b"idat", offset, offset + size) != -1:
            kinds.add(b"idat")  # Small images keep their pixels beside their properties.
        offset += size
    return _has_image(kinds)


def _has_image(kinds: set[bytes]) -> bool:
    return bool(kinds & _BOXES_WITH_PIXELS and kinds & _BOXES_WITH_HEADERS)


_BOXES_WITH_PIXELS: Final = frozenset({b"mdat", b"jp2c", b"idat"})
_BOXES_WITH_HEADERS: Final = frozenset({b"meta", b"moov", b"jp2h"})
