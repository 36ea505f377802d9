"""Which bytes are decoded, and by what.

The first bytes decide, not the media type that came with them: a name can lie. libvips decodes what it
was built for and hardened against (JPEG, PNG, WebP, GIF, TIFF, AVIF); Pillow the rest (HEIC, BMP,
JPEG 2000, PNM, ICO, QOI). Both lists are closed: nothing else is handed to any decoder.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from hayloft.errors import UnsupportedMedia


class Decoder(Enum):
    """What turns a kind of file into pixels."""

    LIBVIPS = auto()
    PILLOW = auto()


PILLOW_FORMATS: Final = ("HEIF", "BMP", "DIB", "JPEG2000", "PPM", "ICO", "QOI")
"""What Pillow may try here; none of these starts a program."""

_MAGIC: Final[tuple[tuple[bytes, Decoder], ...]] = (
    (b"\xff\xd8\xff", Decoder.LIBVIPS),
    (b"\x89PNG\r\n\x1a\n", Decoder.LIBVIPS),
    (b"GIF87a", Decoder.LIBVIPS),
    (b"GIF89a", Decoder.LIBVIPS),
    (b"II*\x00", Decoder.LIBVIPS),
    (b"MM\x00*", Decoder.LIBVIPS),
    (b"II+\x00", Decoder.LIBVIPS),
    (b"MM\x00+", Decoder.LIBVIPS),
    (b"BM", Decoder.PILLOW),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Decoder.PILLOW),
    (b"\xff\x4f\xff\x51", Decoder.PILLOW),
    (b"\x00\x00\x01\x00", Decoder.PILLOW),
    (b"qoif", Decoder.PILLOW),
    *((b"P%d" % digit, Decoder.PILLOW) for digit in range(1, 7)),
)
_AVIF_BRANDS: Final = (b"avif", b"avis")
_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_FILE_TYPE_BYTES_MAX: Final = 128
"""How far into an ISO media file its brands are looked for."""


def decoder_of(data: bytes | memoryview) -> Decoder:
    """The decoder for these bytes.

    Raises:
        UnsupportedMedia: no decoder here knows the format.
    """
    head = bytes(data[:_FILE_TYPE_BYTES_MAX])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Decoder.LIBVIPS
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    for magic, decoder in _MAGIC:
        if head.startswith(magic):
            return decoder
    raise UnsupportedMedia("These bytes are no image of a kind that is decoded here.")


def _of_brands(head: bytes) -> Decoder:
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
    if brands.intersection(_AVIF_BRANDS):
        return Decoder.LIBVIPS
    if brands.intersection(_HEIF_BRANDS):
        return Decoder.PILLOW
    raise UnsupportedMedia("This ISO media file holds no image of a kind that is decoded here.")
