"""Responses that several routes share, as OpenAPI shows them."""

from __future__ import annotations

from typing import Any, Final

from hayloft.gateway.schema import Error

Responses = dict[int | str, dict[str, Any]]
"""What a route may answer, by status, as FastAPI takes it."""

IMAGE: Final[dict[str, Any]] = {"image/*": {"schema": {"type": "string", "format": "binary"}}}
"""Content: the bytes of a picture of any kind."""

NO_PHOTO: Final[Responses] = {404: {"model": Error, "description": "There is no such photo."}}

NO_LONGER: Final[Responses] = {
    **NO_PHOTO,
    410: {"model": Error, "description": "The photo was deleted."},
}
