"""Bytes to an upright sRGB picture of a given size, and what the header says, through libvips.

The header is read, and the size that it declares checked, before any pixel is decoded. JPEG and WebP shrink
while they are decoded. The result is 8 bits a sample, upright, in sRGB (the embedded profile applied, CMYK
converted), grey or colour, with alpha if the file has it; of an animation, the first frame. Damaged files
give as much as can be decoded. It knows no settings, and does not bound time or memory: the sandbox does.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any, Final

# Read by libvips when it is loaded: one core for each process, and big frames in (limited) memory, never
# in temporary files.
os.environ.setdefault("VIPS_CONCURRENCY", "1")
os.environ.setdefault("VIPS_DISC_THRESHOLD", "1t")

import numpy as np
import pillow_heif
import pyvips
from PIL import Image

from hayloft import limits
from hayloft.errors import ImageTooLarge, UnsupportedMedia
from hayloft.renditions.formats import PILLOW_FORMATS, Decoder, decoder_of

pyvips.cache_set_max(0)
pyvips.block_untrusted_set(True)
pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = limits.IMAGE_PIXELS_MAX

SRGB: Final = "srgb"
_EXIF: Final = "exif-data"
_ICC: Final = "icc-profile-data"
_ORIENTATION: Final = "orientation"
_FRAMES: Final = "n-pages"
_REASON_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file declares about its picture, before any pixel is decoded."""

    width: int
    """Once upright."""
    height: int
    orientation: int
    """EXIF orientation, 1 to 8; 1 where the decoder turns the picture by itself."""
    frames: int
    exif: bytes
    """The EXIF block, starting at its TIFF header; empty if there is none."""


class Source:
    """An image file, opened: its header is known and within the limits; pixels come when asked for.

    Raises:
        UnsupportedMedia: the bytes are no image that can be decoded.
        ImageTooLarge: it declares more pixels than are allowed.
    """

    def __init__(self, data: bytes, *, pixels_max: int = limits.IMAGE_PIXELS_MAX) -> None:
        self._data = data
        self._frame: pyvips.Image | None = None
        with decoding():
            if decoder_of(data) is Decoder.PILLOW:
                self._frame, header, self._exif = _open_with_pillow(data, pixels_max)
            else:
                header = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="none")
                self._exif = _exif_of(header, data)
            check_size(header.width, header.height, pixels_max)
            self._has_profile = has(header, _ICC)
            self.header = self._describe(header)

    def _describe(self, image: pyvips.Image) -> Header:
        orientation = image.get(_ORIENTATION) if has(image, _ORIENTATION) else 1
        orientation = orientation if 1 <= orientation <= 8 else 1
        turned = orientation >= 5
        return Header(
            width=image.height if turned else image.width,
            height=image.width if turned else image.height,
            orientation=orientation,
            frames=image.get(_FRAMES) if has(image, _FRAMES) else 1,
            exif=self._exif.removeprefix(b"Exif\0\0"),
        )

    def sized(self, width: int, height: int) -> pyvips.Image:
        """The whole picture, upright, exactly this wide and high: distorted or enlarged if need be."""
        options: dict[str, Any] = {"height": height, "size": "force", "fail_on": "none"}
        if self._has_profile:
            # Not for the others: libvips would take a slow way round for pictures that are in sRGB already.
            options["output_profile"] = SRGB
        with decoding():
            if self._frame is not None:
                shrunk = self._frame.thumbnail_image(width, **options)
            else:
                shrunk = pyvips.Image.thumbnail_buffer(self._data, width, **options)
            return (eight_bits(shrunk) if self._has_profile else in_srgb(shrunk)).copy_memory()

    def shrunk(self, shrink: int) -> pyvips.Image:
        """The picture as it lies in the file (not upright, its own colours), shrunk on load if it can be.

        ``shrink`` is 1, 2, 4 or 8; formats that cannot shrink while loading ignore it.
        """
        with decoding():
            if self._frame is not None:
                return self._frame
            image = pyvips.Image.new_from_buffer(self._data, "", access="sequential", fail_on="none")
            if shrink == 1:
                return image
            if image.get("vips-loader").startswith("jpegload"):
                return pyvips.Image.jpegload_buffer(
                    self._data, shrink=shrink, access="sequential", fail_on="none"
                )
            if image.get("vips-loader").startswith("webpload"):
                return pyvips.Image.webpload_buffer(
                    self._data, scale=1 / shrink, access="sequential", fail_on="none"
                )
            return image


class decoding:  # noqa: N801 - reads as what it does: ``with decoding():``
    """Turns whatever a decoder raises over hostile bytes into ``UnsupportedMedia``."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Translate."""
        if error is None or isinstance(error, (UnsupportedMedia, ImageTooLarge)):
            return
        if isinstance(error, MemoryError):
            raise UnsupportedMedia("Decoding the image needs more memory than is allowed.") from error
        if isinstance(error, Exception):
            raise UnsupportedMedia(f"The image cannot be decoded: {_reason(error)}.") from error


def check_size(width: int, height: int, pixels_max: int) -> None:
    """Refuse a declared size.

    Raises:
        ImageTooLarge: it has more pixels, or a longer side, than is decoded.
    """
    if width * height > pixels_max or max(width, height) > limits.IMAGE_SIDE_PIXELS_MAX:
        raise ImageTooLarge(
            f"The image declares {width} × {height} pixels, more than are decoded.", limit_pixels=pixels_max
        )


def in_srgb(image: pyvips.Image) -> pyvips.Image:
    """A picture with its own colours, converted to 8-bit sRGB or grey."""
    if has(image, _ICC):
        try:
            image = image.icc_transform(SRGB, embedded=True, intent="relative")
        except pyvips.Error:
            # The profile does not fit the picture; the picture is still there.
            image = image.colourspace(SRGB)
    elif image.interpretation not in ("b-w", SRGB):
        image = image.colourspace(SRGB)
    return eight_bits(image)


def eight_bits(image: pyvips.Image) -> pyvips.Image:
    """8 bits a sample, whatever there were."""
    if image.format == "uchar":
        return image
    if image.interpretation in ("rgb16", "grey16"):
        return image.colourspace("b-w" if image.interpretation == "grey16" else SRGB)
    return image.cast("uchar")


def has(image: pyvips.Image, field: str) -> bool:
    """Whether the image carries this piece of metadata."""
    return bool(image.get_typeof(field))


def _exif_of(header: pyvips.Image, data: bytes) -> bytes:
    """The EXIF block; a TIFF file is one itself."""
    if header.get("vips-loader").startswith("tiffload"):
        return data
    return bytes(header.get(_EXIF)) if has(header, _EXIF) else b""


def _open_with_pillow(data: bytes, pixels_max: int) -> tuple[pyvips.Image, pyvips.Image, bytes]:
    """The first frame, twice (as frame and as header), and its EXIF block. Pillow turns HEIF itself."""
    with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
        check_size(*image.size, pixels_max)
        exif = image.info.get("exif") or b""
        icc = image.info.get("icc_profile")
        if image.mode == "CMYK":
            samples, interpretation = np.asarray(image), "cmyk"
        elif image.mode.startswith("I"):
            samples, interpretation = np.asarray(image).astype(np.uint16), "grey16"
        else:
            mode = "RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"
            samples = np.asarray(image.convert(mode))
            interpretation = "b-w" if mode == "L" else SRGB
    frame = pyvips.Image.new_from_array(np.ascontiguousarray(samples)).copy(interpretation=interpretation)
    if icc:
        frame.set_type(pyvips.GValue.blob_type, _ICC, icc)
    return frame, frame, exif


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:_REASON_CHARACTERS_MAX].rstrip(".")
