"""An exact IIIF order to pixels: crop, scale, mirror and turn, quality, in this order (section 4.6).

The region is cut out of the picture as it lies in the file, shrunk on load as far as the order allows, and
only then converted and turned upright: a tile of a big photo costs its decoding and little more.
"""

from __future__ import annotations

from typing import Final

import pyvips

from hayloft.renditions.decode import Header, Source, decoding, in_srgb
from hayloft.renditions.iiif import Picture, Region

_SHRINKS: Final = (8, 4, 2, 1)
_BITONAL_THRESHOLD: Final = 128
_WHITE: Final = 255


def render(source: Source, picture: Picture) -> pyvips.Image:
    """The picture ordered, ready to be encoded.

    Raises:
        UnsupportedMedia: the photo cannot be decoded.
    """
    header = source.header
    whole = Region(x=0, y=0, width=header.width, height=header.height)
    if picture.region == whole:
        image = source.sized(picture.width, picture.height)
    else:
        image = _scaled_region(source, picture)
    with decoding():
        return _quality(_turned(image, picture), picture)


def _scaled_region(source: Source, picture: Picture) -> pyvips.Image:
    region = picture.region
    reduction = min(region.width / picture.width, region.height / picture.height)
    shrink = next((shrink for shrink in _SHRINKS if shrink <= reduction), 1)
    raw = source.shrunk(shrink)
    with decoding():
        place = _in_file(region, source.header)
        across, down = _file_size(source.header)
        place = _shrunk_place(place, raw.width / across, raw.height / down, raw.width, raw.height)
        part = raw.crop(place.x, place.y, place.width, place.height).copy_memory()
        upright = in_srgb(part).autorot()
        return upright.thumbnail_image(picture.width, height=picture.height, size="force").copy_memory()


def _file_size(header: Header) -> tuple[int, int]:
    """Width and height before the picture is turned upright."""
    return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)


def _in_file(region: Region, header: Header) -> Region:
    """Where a rectangle of the upright photo lies in the file (EXIF orientation: CIPA DC-008, 4.6.4 A)."""
    across, down = _file_size(header)
    turned = header.orientation >= 5
    x, y = (region.y, region.x) if turned else (region.x, region.y)
    width, height = (region.height, region.width) if turned else (region.width, region.height)
    if header.orientation in (2, 3, 7, 8):
        x = across - x - width
    if header.orientation in (3, 4, 6, 7):
        y = down - y - height
    return Region(x=x, y=y, width=width, height=height)


def _shrunk_place(place: Region, by_width: float, by_height: float, across: int, down: int) -> Region:
    """The rectangle in the shrunk picture; at least one pixel, never outside."""
    left, top = min(round(place.x * by_width), across - 1), min(round(place.y * by_height), down - 1)
    right = min(max(round((place.x + place.width) * by_width), left + 1), across)
    bottom = min(max(round((place.y + place.height) * by_height), top + 1), down)
    return Region(x=left, y=top, width=right - left, height=bottom - top)


def _turned(image: pyvips.Image, picture: Picture) -> pyvips.Image:
    if picture.mirrored:
        image = image.fliphor()
    if picture.degrees % 90 == 0:
        return image.rot(f"d{int(picture.degrees)}")
    if picture.quality in ("default", "color") and image.interpretation != "srgb":
        image = image.colourspace("srgb")
    if not image.hasalpha():
        image = image.bandjoin(_WHITE)
    # The corners are transparent; premultiplied, so that no dark seam shows where they begin.
    turned = image.premultiply().rotate(picture.degrees, background=[0] * image.bands)
    return turned.unpremultiply().cast("uchar")


def _quality(image: pyvips.Image, picture: Picture) -> pyvips.Image:
    if picture.quality in ("default", "color"):
        return image
    grey = image.colourspace("b-w")
    if picture.quality == "gray":
        return grey
    if grey.hasalpha():
        grey = grey.flatten(background=_WHITE)
    return grey >= _BITONAL_THRESHOLD
