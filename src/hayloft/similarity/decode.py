"""Bytes to pixels at a working size: the one decode that a photo gets for linking.

The header is read, and the size it declares checked, before any pixel is decoded. JPEGs are shrunk while
they are decoded (libjpeg's reduced DCT through OpenCV), so that a 12-megapixel photo costs 32 ms and not
136. The result is upright (EXIF orientation applied), opaque (laid on white), 8-bit RGB, and never larger
than asked for. Whatever is wrong with the bytes, the one error is ``UnsupportedMedia``. Colour profiles are
not applied. A hostile file can take long and much memory here: ``decoder_pool`` bounds both.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

from hayloft import limits
from hayloft.errors import UnsupportedMedia

Pixels = NDArray[np.uint8]

WORKING_SIDE_PIXELS: Final = 448
"""Longer side of the pixels that fingerprints are computed from.

What is left of a 12-megapixel photo at libjpeg's smallest scale, 1/8, is a little more (504), so that one
costs 32 ms; for 512 it would have to be decoded at 1/4, which costs 40. Every method wants less.
"""

FORMATS: Final = (
    *("JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF"),
    *("AVIF", "HEIF", "JPEG2000", "PPM", "ICO", "QOI"),
)
"""What Pillow may try: still-image formats decoded in this process, none that starts a program."""

_REDUCTIONS: Final = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
    (1, cv2.IMREAD_COLOR),
)
_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Image.init()
pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = limits.IMAGE_PIXELS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A decoded photo."""

    rgb: Pixels
    """``uint8[height, width, 3]``, contiguous, upright, at the working size."""
    width: int
    """Of the photo itself, upright."""
    height: int

    @property
    def grey(self) -> Pixels:
        """``uint8[height, width]``: luma (ITU-R BT.601)."""
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def decode(
    data: bytes | memoryview,
    *,
    side: int = WORKING_SIDE_PIXELS,
    pixels_max: int = limits.IMAGE_PIXELS_MAX,
) -> Picture:
    """Decode a photo so that its longer side has at most ``side`` pixels; never enlarges.

    Raises:
        UnsupportedMedia: the bytes are no image that can be decoded within the limits.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(data, side, pixels_max)
    except UnsupportedMedia:
        raise
    except MemoryError as failure:
        raise UnsupportedMedia("Decoding the image needs more memory than is allowed.") from failure
    except Exception as failure:
        # Decoders meet hostile bytes here and raise whatever they like: struct.error, SyntaxError,
        # zlib.error, OverflowError, cv2.error … All of them mean the same to the caller.
        raise UnsupportedMedia(f"The image cannot be decoded: {_reason(failure)}.") from failure


def _decode(data: bytes | memoryview, side: int, pixels_max: int) -> Picture:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_size(image.size, pixels_max)
        reduced = _reduced_jpeg(data, image, side) if image.format in ("JPEG", "MPO") else None
        rgb = _shrink(_opaque(image, side), side) if reduced is None else _shrink(reduced, side)
        width, height = image.size
        orientation = _orientation(image)
    if orientation >= 5:
        width, height = height, width
    return Picture(rgb=_upright(rgb, orientation), width=width, height=height)


def _check_size(size: tuple[int, int], pixels_max: int) -> None:
    width, height = size
    if width * height > pixels_max or max(width, height) > limits.IMAGE_SIDE_PIXELS_MAX:
        raise UnsupportedMedia(f"The image declares {width} × {height} pixels, more than are decoded.")


def _reduced_jpeg(data: bytes | memoryview, image: Image.Image, side: int) -> Pixels | None:
    """The JPEG at the smallest reduction that keeps ``side``, or None if OpenCV cannot read it."""
    longer = max(image.size)
    flag = next((flag for by, flag in _REDUCTIONS if longer >= side * by), cv2.IMREAD_COLOR)
    bgr: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _opaque(image: Image.Image, side: int) -> Pixels:
    """The first frame as RGB, laid on white; shrunk before it is converted where that is cheaper."""
    if image.mode.startswith(("I", "F")):
        return _from_deep(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        rgba.thumbnail((side, side), Image.Resampling.BOX)
        ground = Image.new("RGBA", rgba.size, "white")
        return np.asarray(Image.alpha_composite(ground, rgba).convert("RGB"))
    return np.asarray(_reduced(image, side).convert("RGB"))


def _reduced(image: Image.Image, side: int) -> Image.Image:
    """Cells of pixels averaged while it is large: a copy of 256 megapixels would not fit beside it."""
    by = max(image.size) // (2 * side)
    return image.reduce(by) if by > 1 and image.mode in ("L", "RGB", "CMYK", "YCbCr") else image


def _from_deep(image: Image.Image) -> Pixels:
    """Grey samples deeper than 8 bits: 16-bit ones keep their scale, others are stretched to theirs."""
    samples = np.asarray(image).astype(np.float32)
    if image.mode.startswith("I;16") or (image.mode == "I" and 255 < samples.max(initial=0) <= 65_535):
        grey = samples / 257.0
    else:
        low, high = float(np.nanmin(samples)), float(np.nanmax(samples))
        grey = (samples - low) * (255.0 / max(high - low, 1e-9))
    return np.repeat(np.nan_to_num(grey).clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _shrink(rgb: Pixels, side: int) -> Pixels:
    height, width = rgb.shape[:2]
    longer = max(height, width)
    if longer <= side:
        return rgb
    size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8. Read after loading: Pillow turns TIFF and HEIF itself and drops the tag."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:
        # A damaged EXIF block says nothing about the pixels, which are fine.
        return 1
    return value if value in _UPRIGHT else 1


def _upright(rgb: Pixels, orientation: int) -> Pixels:
    if orientation == 1:
        return np.ascontiguousarray(rgb)
    turned = Image.fromarray(rgb).transpose(_UPRIGHT[orientation])
    return np.ascontiguousarray(np.asarray(turned))


def _reason(failure: Exception) -> str:
    text = str(failure).strip().splitlines()
    return (text[0] if text else type(failure).__name__)[:200].rstrip(".")
