"""How the sandbox's requests and answers look as bytes: a line of JSON, then the images. Pure.

No pickle: what comes out of a process that handles hostile files is data, never something to be executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hayloft.config import RenditionSettings
from hayloft.renditions.iiif import Picture, Region
from hayloft.renditions.made import Made, Rendition
from hayloft.types import AlternateKey
from hayloft.wire.details import details_from_json, details_to_json


def encode_making(settings: RenditionSettings, pixels_max: int) -> bytes:
    """The head of a request for all renditions; the original's bytes follow."""
    return _line({"settings": settings.model_dump(), "pixels_max": pixels_max})


def encode_order(picture: Picture, settings: RenditionSettings, pixels_max: int) -> bytes:
    """The head of a request for a picture to order; the original's bytes follow."""
    head = {"settings": settings.model_dump(), "pixels_max": pixels_max, "picture": asdict(picture)}
    return _line(head)


def decode_request(request: bytes) -> tuple[bytes, RenditionSettings, int, Picture | None]:
    """The original, the settings, the largest number of pixels, and the picture if one is ordered."""
    line, _, original = request.partition(b"\n")
    head = json.loads(line)
    ordered = head.get("picture")
    picture = None
    if ordered is not None:
        picture = Picture(**{**ordered, "region": Region(**ordered["region"])})
    return original, RenditionSettings(**head["settings"]), int(head["pixels_max"]), picture


def encode_made(made: Made) -> bytes:
    """Details and renditions as an answer."""
    renditions = [
        {"key": int(one.alternate_key), "type": one.media_type, "size": len(one.data)}
        | {"width": one.width, "height": one.height}
        for one in made.renditions
    ]
    head = {"details": details_to_json(made.details), "renditions": renditions}
    return b"".join([_line(head), *(one.data for one in made.renditions)])


def decode_made(answer: bytes) -> Made:
    """Details and renditions from an answer."""
    line, _, images = answer.partition(b"\n")
    head = json.loads(line)
    renditions: list[Rendition] = []
    offset = 0
    for told in head["renditions"]:
        data = images[offset : offset + int(told["size"])]
        offset += len(data)
        renditions.append(
            Rendition(
                alternate_key=AlternateKey(told["key"]),
                media_type=str(told["type"]),
                data=data,
                width=int(told["width"]),
                height=int(told["height"]),
            )
        )
    return Made(details=details_from_json(head["details"]), renditions=tuple(renditions))


def _line(head: Mapping[str, Any]) -> bytes:
    return json.dumps(head).encode() + b"\n"
