"""One decoded picture to all of a photo's renditions, each from the next larger one.

Encoding drops every piece of metadata: a rendition is upright and in sRGB, needs no profile, and gives away
neither camera nor position. It knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import numpy as np
import pyvips
from numpy.typing import NDArray

from hayloft.config import RenditionSettings
from hayloft.renditions.placeholder import SIDE_PIXELS_MAX
from hayloft.renditions.plan import Planned

Format = Literal["webp", "jpeg", "png"]

MEDIA_TYPES: Final[dict[Format, str]] = {"webp": "image/webp", "jpeg": "image/jpeg", "png": "image/png"}

_WHITE: Final = 255


def shrink_in_turn(
    largest: pyvips.Image, planned: tuple[Planned, ...]
) -> Iterator[tuple[Planned, pyvips.Image]]:
    """Each planned rendition's picture, largest first; ``largest`` already has the first one's size."""
    image = largest
    for wanted in planned:
        if (image.width, image.height) != (wanted.width, wanted.height):
            image = image.thumbnail_image(wanted.width, height=wanted.height, size="force").copy_memory()
        yield wanted, image


def encode(image: pyvips.Image, form: Format, settings: RenditionSettings) -> bytes:
    """The picture as a file without any metadata. JPEG has no alpha: it is laid on white."""
    if form == "webp":
        return _bytes(
            image.webpsave_buffer(Q=settings.webp_quality, effort=settings.webp_effort, keep="none")
        )
    if form == "jpeg":
        opaque = image.flatten(background=_WHITE) if image.hasalpha() else image
        return _bytes(opaque.jpegsave_buffer(Q=settings.jpeg_quality, optimize_coding=True, keep="none"))
    return _bytes(image.pngsave_buffer(keep="none"))


def rgba_for_placeholder(image: pyvips.Image) -> NDArray[np.uint8]:
    """``uint8[height, width, 4]``, at most 100 pixels a side, straight alpha."""
    small = image.thumbnail_image(SIDE_PIXELS_MAX, height=SIDE_PIXELS_MAX, size="down")
    if small.interpretation != "srgb":
        small = small.colourspace("srgb")
    if not small.hasalpha():
        small = small.bandjoin(_WHITE)
    return np.asarray(small.numpy(), dtype=np.uint8)


def _bytes(encoded: Any) -> bytes:
    return bytes(encoded)
