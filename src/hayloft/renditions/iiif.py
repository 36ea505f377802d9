"""IIIF Image API 3.0, level 2: requests to exact orders, and the information document. Pure.

A request names region, size, rotation, quality and format (section 4); ``parse`` checks all of it against
the photo's size and the server's bounds and says exactly what is to be made, so that no work is begun that
is not allowed. Two requests for the same picture have the same ``canonical`` form (section 4.7). Where the
specification leaves ``!w,h`` beyond the region open to two readings, this follows the official validator:
without ``^`` it is an error. See https://iiif.io/api/image/3.0/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal

from hayloft.errors import InvalidRequest

Quality = Literal["default", "color", "gray", "bitonal"]
Format = Literal["webp", "jpeg", "png"]

CONTEXT: Final = "http://iiif.io/api/image/3/context.json"
FORMATS: Final[dict[str, Format]] = {"jpg": "jpeg", "png": "png", "webp": "webp"}
QUALITIES: Final[tuple[Quality, ...]] = ("default", "color", "gray", "bitonal")
TILE_PIXELS: Final = 512
"""The side of the tiles that viewers are advised to ask for."""

_WHOLE: Final = r"[0-9]{1,9}"
_DECIMAL: Final = r"(?:[0-9]{1,9}(?:\.[0-9]{0,10})?|\.[0-9]{1,10})"
_REGION_PIXELS: Final = re.compile(f"({_WHOLE}),({_WHOLE}),({_WHOLE}),({_WHOLE})")
_REGION_PERCENT: Final = re.compile(f"pct:({_DECIMAL}),({_DECIMAL}),({_DECIMAL}),({_DECIMAL})")
_SIZE_PERCENT: Final = re.compile(f"pct:({_DECIMAL})")
_SIZE_PIXELS: Final = re.compile(f"(!?)({_WHOLE})?,({_WHOLE})?")
_ROTATION: Final = re.compile(f"(!?)({_DECIMAL})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The most that one picture to order may be."""

    side_max: int
    pixels_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A rectangle of the upright photo, in its pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An order that is exact and within bounds."""

    region: Region
    width: int
    """After scaling, before rotation."""
    height: int
    mirrored: bool
    degrees: float
    """Clockwise, 0 up to 360, after mirroring."""
    quality: Quality
    format: Format
    canonical: str
    """``region/size/rotation/quality.format``, the same for all requests for the same picture."""


def parse(
    region: str,
    size: str,
    rotation: str,
    quality_and_format: str,
    *,
    width: int,
    height: int,
    bounds: Bounds,
) -> Picture:
    """The picture that four path segments order of an upright photo of this size.

    Raises:
        InvalidRequest: a segment is malformed, outside the photo, or beyond the bounds.
    """
    place = _region(region, width, height)
    across, down, enlarged = _size(size, place, bounds)
    mirrored, degrees, turn = _rotation(rotation)
    quality, suffix = _quality_and_format(quality_and_format)
    whole = place == Region(x=0, y=0, width=width, height=height)
    largest = (across, down) == _within_bounds(place.width, place.height, bounds)
    canonical_size = "max" if largest else f"{'^' if enlarged else ''}{across},{down}"
    canonical_region = "full" if whole else f"{place.x},{place.y},{place.width},{place.height}"
    return Picture(
        region=place,
        width=across,
        height=down,
        mirrored=mirrored,
        degrees=degrees,
        quality=quality,
        format=FORMATS[suffix],
        canonical=f"{canonical_region}/{canonical_size}/{turn}/{_canonical(quality)}.{suffix}",
    )


def information(
    *, address: str, width: int, height: int, sizes: tuple[tuple[int, int], ...], bounds: Bounds
) -> dict[str, Any]:
    """The document at ``<address>/info.json`` (section 5); ``sizes`` are those that are stored already."""
    factors = [1]
    while max(width, height) > TILE_PIXELS * factors[-1]:
        factors.append(factors[-1] * 2)
    return {
        "@context": CONTEXT,
        "id": address,
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level2",
        "width": width,
        "height": height,
        "maxWidth": bounds.side_max,
        "maxHeight": bounds.side_max,
        "maxArea": bounds.pixels_max,
        "sizes": [{"width": across, "height": down} for across, down in sorted(set(sizes))],
        "tiles": [{"width": TILE_PIXELS, "height": TILE_PIXELS, "scaleFactors": factors}],
        "preferredFormats": ["webp"],
        "extraFormats": ["webp"],
        "extraQualities": ["bitonal"],
        "extraFeatures": [
            "canonicalLinkHeader",
            "mirroring",
            "profileLinkHeader",
            "rotationArbitrary",
            "sizeUpscaling",
        ],
    }


def _region(text: str, width: int, height: int) -> Region:
    if text == "full":
        return Region(x=0, y=0, width=width, height=height)
    if text == "square":
        side = min(width, height)
        return Region(x=(width - side) // 2, y=(height - side) // 2, width=side, height=side)
    if match := _REGION_PIXELS.fullmatch(text):
        x, y, across, down = (int(number) for number in match.groups())
    elif match := _REGION_PERCENT.fullmatch(text):
        fractions = [Fraction(number) / 100 for number in match.groups()]
        x, y = round(fractions[0] * width), round(fractions[1] * height)
        across, down = round(fractions[2] * width), round(fractions[3] * height)
    else:
        raise InvalidRequest("The region is full, square, x,y,w,h or pct:x,y,w,h.", region=text)
    across, down = min(across, width - x), min(down, height - y)
    if across <= 0 or down <= 0:
        raise InvalidRequest("The region has no pixel of the photo.", region=text)
    return Region(x=x, y=y, width=across, height=down)


def _size(text: str, place: Region, bounds: Bounds) -> tuple[int, int, bool]:
    """Width, height, and whether they are larger than the region."""
    may_enlarge = text.startswith("^")
    across, down = _wanted(text.removeprefix("^"), may_enlarge, place, bounds)
    enlarged = across > place.width or down > place.height
    if enlarged and not may_enlarge:
        raise InvalidRequest("The size is larger than the region; put ^ before it to enlarge.", size=text)
    if across < 1 or down < 1:
        raise InvalidRequest("The size has no pixel.", size=text)
    if max(across, down) > bounds.side_max or across * down > bounds.pixels_max:
        raise InvalidRequest(
            f"At most {bounds.side_max} pixels a side and {bounds.pixels_max} in all are made to order.",
            size=text,
            limit_pixels=bounds.pixels_max,
        )
    return across, down, enlarged


def _wanted(text: str, may_enlarge: bool, place: Region, bounds: Bounds) -> tuple[int, int]:
    if text == "max":
        if may_enlarge:
            return _fitted(place, bounds.side_max, bounds.side_max, bounds.pixels_max)
        return _within_bounds(place.width, place.height, bounds)
    if match := _SIZE_PERCENT.fullmatch(text):
        share = Fraction(match[1]) / 100
        return _scaled(place.width, share), _scaled(place.height, share)
    match = _SIZE_PIXELS.fullmatch(text)
    if match is None or (match[2] is None and match[3] is None):
        raise InvalidRequest("The size is max, w, ,h pct:n w,h or !w,h; ^ before it enlarges.", size=text)
    across, down = (None if number is None else int(number) for number in match.groups()[1:])
    if match[1]:
        if across is None or down is None:
            raise InvalidRequest("!w,h needs both.", size=text)
        return _fitted(place, across, down)
    if across is None:
        assert down is not None
        return max(_scaled(place.width, Fraction(down, place.height)), min(down, 1)), down
    if down is None:
        return across, max(_scaled(place.height, Fraction(across, place.width)), min(across, 1))
    return across, down


def _fitted(place: Region, across: int, down: int, pixels_max: int | None = None) -> tuple[int, int]:
    """The largest size with the region's proportions that fits into a box, never without pixels."""
    share = min(Fraction(across, place.width), Fraction(down, place.height))
    if pixels_max is not None:
        area = place.width * place.height
        share = min(share, Fraction((pixels_max / area) ** 0.5))
        width, height = int(place.width * share), int(place.height * share)
    else:
        width, height = _scaled(place.width, share), _scaled(place.height, share)
    some = min(across, down, 1)
    return max(width, some), max(height, some)


def _within_bounds(width: int, height: int, bounds: Bounds) -> tuple[int, int]:
    """The largest size that is neither enlarged nor beyond the bounds."""
    if max(width, height) <= bounds.side_max and width * height <= bounds.pixels_max:
        return width, height
    place = Region(x=0, y=0, width=width, height=height)
    return _fitted(place, bounds.side_max, bounds.side_max, bounds.pixels_max)


def _scaled(length: int, share: Fraction) -> int:
    return int(length * share + Fraction(1, 2))


def _rotation(text: str) -> tuple[bool, float, str]:
    match = _ROTATION.fullmatch(text)
    if match is None or (degrees := float(match[2])) > 360:
        raise InvalidRequest("The rotation is 0 to 360 degrees, ! before it mirrors first.", rotation=text)
    degrees %= 360
    return bool(match[1]), degrees, f"{match[1]}{degrees:.10f}".rstrip("0").rstrip(".")


def _quality_and_format(text: str) -> tuple[Quality, str]:
    name, _, suffix = text.partition(".")
    for quality in QUALITIES:
        if name == quality:
            break
    else:
        raise InvalidRequest(f"The quality is one of {', '.join(QUALITIES)}.", quality=name)
    if suffix not in FORMATS:
        raise InvalidRequest(f"The format is one of {', '.join(FORMATS)}.", format=suffix)
    return quality, suffix


def _canonical(quality: Quality) -> Quality:
    """Colour is what is served by default (section 4.7: the default's name is ``default``)."""
    return "default" if quality == "color" else quality
