"""The two pieces of work that run inside the sandbox: make a photo's renditions, make a picture to order.

Plain functions of bytes and frozen values; ``answer`` is their door for the sandbox. They hold no state and
raise nothing but errors of ``errors.py``.
"""

from __future__ import annotations

from dataclasses import replace

from hayloft import limits
from hayloft.config import RenditionSettings
from hayloft.renditions import frames, metadata
from hayloft.renditions.decode import Source, decoding
from hayloft.renditions.iiif import Picture
from hayloft.renditions.iiif_render import render
from hayloft.renditions.made import Made, Rendition
from hayloft.renditions.placeholder import thumbhash
from hayloft.renditions.plan import plan
from hayloft.renditions.resize import MEDIA_TYPES, encode, rgba_for_placeholder, shrink_in_turn
from hayloft.types import RenditionSize


def make_renditions(
    original: bytes, settings: RenditionSettings, pixels_max: int = limits.IMAGE_PIXELS_MAX
) -> Made:
    """Decode a photo once and make all its renditions, its placeholder and its details.

    Raises:
        UnsupportedMedia: it cannot be decoded.
        ImageTooLarge: it declares more than ``pixels_max`` pixels.
    """
    source = Source(original, pixels_max=pixels_max)
    header = source.header
    planned = plan(header.width, header.height, settings)
    largest = source.sized(planned[0].width, planned[0].height)
    renditions: list[Rendition] = []
    with decoding():
        for wanted, image in shrink_in_turn(largest, planned):
            renditions.append(
                Rendition(
                    alternate_key=wanted.alternate_key,
                    media_type=MEDIA_TYPES[settings.format],
                    data=encode(image, settings.format, settings),
                    width=image.width,
                    height=image.height,
                )
            )
        placeholder = thumbhash(rgba_for_placeholder(image))
    found = metadata.details(header.exif, width=header.width, height=header.height, frames=header.frames)
    sizes = tuple(
        RenditionSize(alternate_key=one.alternate_key, width=one.width, height=one.height)
        for one in renditions
    )
    return Made(
        details=replace(found, placeholder=placeholder, renditions=sizes), renditions=tuple(renditions)
    )


def make_picture(
    original: bytes,
    picture: Picture,
    settings: RenditionSettings,
    pixels_max: int = limits.IMAGE_PIXELS_MAX,
) -> bytes:
    """One picture to order, encoded.

    Raises:
        UnsupportedMedia: the photo cannot be decoded.
        ImageTooLarge: it declares more than ``pixels_max`` pixels.
    """
    source = Source(original, pixels_max=pixels_max)
    with decoding():
        return encode(render(source, picture), picture.format, settings)


def answer(request: bytes) -> bytes:
    """Do what a request of ``frames`` asks for.

    Raises:
        UnsupportedMedia, ImageTooLarge: as the two above.
    """
    original, settings, pixels_max, picture = frames.decode_request(request)
    if picture is None:
        return frames.encode_made(make_renditions(original, settings, pixels_max))
    return make_picture(original, picture, settings, pixels_max)
