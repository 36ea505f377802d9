"""A photo's details as JSON and back: one form for the database, the wire and the sandbox. Pure.

Also the name of the header that says which picture of a photo an answer of the renditions role holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from hayloft.types import AlternateKey, PhotoDetails, RenditionSize

CANONICAL: Final = "x-canonical"
"""The header that carries a picture's canonical order."""


def details_to_json(details: PhotoDetails) -> dict[str, Any]:
    """A photo's details as values that JSON knows."""
    told = asdict(details)
    told["placeholder"] = details.placeholder.hex()
    told["renditions"] = [[int(one.alternate_key), one.width, one.height] for one in details.renditions]
    return told


def details_from_json(told: Mapping[str, Any]) -> PhotoDetails:
    """A photo's details from what ``details_to_json`` made."""
    sizes = tuple(
        RenditionSize(alternate_key=AlternateKey(key), width=int(width), height=int(height))
        for key, width, height in told["renditions"]
    )
    values = {**told, "placeholder": bytes.fromhex(told["placeholder"]), "renditions": sizes}
    return PhotoDetails(**values)
