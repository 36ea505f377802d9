"""What is this file? Its content decides: not its name, not what the client says it is.

``inspect`` names the media type and the size in pixels of an image, or says why it is not kept: not an
image of a known kind, cut off, or larger than may safely be decoded. Only headers are parsed, by Pillow
and pillow-heif, and the end is looked for (``endings.py``); no pixel is ever decoded here, so a
decompression bomb costs what its file costs. Two headers are parsed here: WebP's, because Pillow's parser
sets up its whole canvas first, and JPEG's, because it takes 5 µs where Pillow's takes 100 (it unpacks the
quantisation tables too) and uploads are JPEGs.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Final

import pillow_heif
from PIL import Image, ImageFile, TiffImagePlugin

from hayloft import limits
from hayloft.errors import EmptyUpload, HayloftError, ImageTooLarge, Truncated, UnsupportedMedia
from hayloft.gateway import endings

Data = bytes | bytearray

KINDS_KEPT: Final = "JPEG, PNG, GIF, WebP, AVIF, HEIC, TIFF, BMP and JPEG 2000"

# Parsers warn of oddities that they then cope with; here nobody could do anything about them.
warnings.filterwarnings("ignore", module="PIL")

Image.init()
pillow_heif.register_heif_opener()


@dataclass(frozen=True, slots=True)
class Inspected:
    """What an image's header says."""

    media_type: str
    width: int
    height: int


Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Kind:
    media_type: str
    size: Callable[[Data], Size]
    """Parses the header; raises whatever the parser raises."""
    complete: Callable[[Data], bool]


def inspect(data: Data, *, pixels_max: int = limits.IMAGE_PIXELS_MAX) -> Inspected:
    """Media type and size in pixels of an image, from its header.

    Raises:
        EmptyUpload: there are no bytes.
        UnsupportedMedia: not an image of a kind that is kept, or its header makes no sense.
        Truncated: the file ends too early.
        ImageTooLarge: more than ``pixels_max`` pixels, or a side longer than any format needs.
    """
    if not data:
        raise EmptyUpload
    kind = _kind_of(data)
    if kind is None:
        raise UnsupportedMedia(f"These bytes are not an image; kept are {KINDS_KEPT}.")
    width, height = _size(kind, data)
    _check_size(width, height, pixels_max)
    if not _complete(kind, data):
        raise Truncated(f"The image ({kind.media_type}) ends too early.", media_type=kind.media_type)
    return Inspected(kind.media_type, width, height)


def _size(kind: _Kind, data: Data) -> Size:
    """The size in the header; any failure to parse it means that the file is cut off or no image."""
    try:
        return kind.size(data)
    except (ImageTooLarge, UnsupportedMedia):
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge from error
    except Exception as error:
        # Parsers of hostile input raise anything from SyntaxError to OverflowError.
        raise _unreadable(kind, data) from error


def _unreadable(kind: _Kind, data: Data) -> HayloftError:
    if not _complete(kind, data):
        return Truncated(f"The image ({kind.media_type}) ends too early.", media_type=kind.media_type)
    return UnsupportedMedia(
        f"This image ({kind.media_type}) cannot be read: its header is damaged, or of a rare kind."
    )


def _complete(kind: _Kind, data: Data) -> bool:
    try:
        return kind.complete(data)
    except (IndexError, struct.error):
        return False


def _check_size(width: int, height: int, pixels_max: int) -> None:
    if width <= 0 or height <= 0:
        raise UnsupportedMedia("The image has no pixels.", width=width, height=height)
    if width * height > pixels_max or max(width, height) > limits.IMAGE_SIDE_PIXELS_MAX:
        raise ImageTooLarge(
            f"The image has {width} × {height} pixels; {pixels_max} are allowed,"
            f" and {limits.IMAGE_SIDE_PIXELS_MAX} on a side.",
            width=width,
            height=height,
            limit_pixels=pixels_max,
        )


def _opened_by(name: str) -> Callable[[Data], Size]:
    """A header parser made of Pillow's plugin: its lazy opening, without the guess which plugin it is."""

    def size(data: Data) -> Size:
        return _open(name, data).size

    return size


def _open(name: str, data: Data) -> ImageFile.ImageFile:
    plugin: Any = Image.OPEN[name][0]
    opened: ImageFile.ImageFile = plugin(_file(data), "")
    return opened


def _file(data: Data) -> IO[bytes]:
    # BytesIO shares the memory of bytes but would copy a bytearray.
    return io.BytesIO(data) if isinstance(data, bytes) else io.BufferedReader(_Window(data), 4096)


class _Window(io.RawIOBase):
    """A readable file over bytes held elsewhere; nothing is copied but what is read."""

    def __init__(self, data: bytearray) -> None:
        self._view = memoryview(data)
        self._offset = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        piece = self._view[self._offset : self._offset + len(target)]
        target[: len(piece)] = piece
        self._offset += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: len(self._view)}[whence]
        self._offset = max(0, start + offset)
        return self._offset


def _jpeg_size(data: Data) -> Size:
    frame = endings.jpeg_frame(data)
    if frame is None or not frame.width:
        raise ValueError("no frame header before the first scan")
    return frame.width, frame.height


def _webp_size(data: Data) -> Size:
    """The canvas of a WebP file (RFC 9649, section 2): in its first chunk, VP8, VP8L or VP8X."""
    chunk = bytes(data[12:16])
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise UnsupportedMedia(
        "This image (image/webp) cannot be read: its header is damaged, or of a rare kind."
    )


def _tiff_complete(data: Data) -> bool:
    """Whether every strip or tile lies inside the file."""
    opened = _open("TIFF", data)
    assert isinstance(opened, TiffImagePlugin.TiffImageFile)
    tags = opened.tag_v2
    offsets = tags.get(TiffImagePlugin.STRIPOFFSETS) or tags.get(TiffImagePlugin.TILEOFFSETS) or ()
    counts = tags.get(TiffImagePlugin.STRIPBYTECOUNTS) or tags.get(TiffImagePlugin.TILEBYTECOUNTS) or ()
    return all(offset + count <= len(data) for offset, count in zip(offsets, counts, strict=False))


def _tiff_parts_inside(data: Data) -> bool:
    try:
        return _tiff_complete(data)
    except Exception:
        return False  # The directory of tags is not where the header says.


def _jpeg2000_codestream_complete(data: Data) -> bool:
    return data.rfind(b"\xff\xd9", max(0, len(data) - 1024)) != -1


_JPEG: Final = _Kind("image/jpeg", _jpeg_size, endings.jpeg_complete)
_PNG: Final = _Kind("image/png", _opened_by("PNG"), endings.png_complete)
_GIF: Final = _Kind("image/gif", _opened_by("GIF"), endings.gif_complete)
_WEBP: Final = _Kind("image/webp", _webp_size, endings.riff_complete)
_BMP: Final = _Kind("image/bmp", _opened_by("BMP"), endings.bmp_complete)
_TIFF: Final = _Kind("image/tiff", _opened_by("TIFF"), _tiff_parts_inside)
_AVIF: Final = _Kind("image/avif", _opened_by("AVIF"), endings.boxes_complete)
_HEIF: Final = _Kind("image/heic", _opened_by("HEIF"), endings.boxes_complete)
_JP2: Final = _Kind("image/jp2", _opened_by("JPEG2000"), endings.boxes_complete)
_J2K: Final = _Kind("image/j2c", _opened_by("JPEG2000"), _jpeg2000_codestream_complete)

_SIGNATURES: Final[tuple[tuple[bytes, _Kind], ...]] = (
    (b"\xff\xd8\xff", _JPEG),
    (b"\x89PNG\r\n\x1a\n", _PNG),
    (b"GIF87a", _GIF),
    (b"GIF89a", _GIF),
    (b"BM", _BMP),
    (b"II*\x00", _TIFF),
    (b"MM\x00*", _TIFF),
    (b"II+\x00", _TIFF),
    (b"MM\x00+", _TIFF),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", _JP2),
    (b"\xff\x4f\xff\x51", _J2K),
)

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def _kind_of(data: Data) -> _Kind | None:
    """The kind of image that the first bytes announce."""
    start = bytes(data[:12])
    for signature, kind in _SIGNATURES:
        if start.startswith(signature):
            return kind
    if start[:4] == b"RIFF" and start[8:] == b"WEBP":
        return _WEBP
    if start[4:8] == b"ftyp":
        return _kind_of_brands(data)
    return None


def _kind_of_brands(data: Data) -> _Kind | None:
    """AVIF or HEIF, from the brands in the first box (ISO/IEC 14496-12, section 4.3)."""
    size = min(int.from_bytes(data[:4]), 256)
    brands = [bytes(data[offset : offset + 4]) for offset in (8, *range(16, size, 4))]
    if not _AVIF_BRANDS.isdisjoint(brands):
        return _AVIF
    return _HEIF if not _HEIF_BRANDS.isdisjoint(brands) else None
