"""What the grid asks for: any stretch of the library, in as few bytes as lay it out.

Newest first, by offset, because a scroll bar jumps; only what a tile shows. Everything else the pages ask
of the gateway's public API.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query

from hayloft.gateway.gateway import Gateway
from hayloft.types import PhotoDetails, PhotoId, PhotoQuery, PhotoRecord, format_cookie

STRETCH_PHOTOS_MAX: Final = 500
"""Photos in one answer: some screens full."""


def router(gateway: Gateway) -> APIRouter:
    """The grid's own route over a gateway."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/gallery/photos")
    async def photos(
        offset: Annotated[int, Query(ge=0, lt=1 << 53)] = 0,
        limit: Annotated[int, Query(ge=1, le=STRETCH_PHOTOS_MAX)] = 120,
    ) -> dict[str, Any]:
        """A stretch of the library, newest first, and how long the library is."""
        page = await gateway.directory.photos(PhotoQuery(newest_first=True, offset=offset, limit=limit))
        told = await gateway.directory.details([record.photo for record in page.photos])
        return {"total": page.total, "photos": [_tile(record, told) for record in page.photos]}

    return routes


def _tile(record: PhotoRecord, told: Mapping[PhotoId, PhotoDetails]) -> dict[str, Any]:
    """A photo as the grid needs it; upright once ingest has looked at it."""
    details = told.get(record.photo) or PhotoDetails()
    return {
        "photo_id": record.photo,
        "cookie": format_cookie(record.cookie),
        "name": record.name,
        "width": details.width or record.width,
        "height": details.height or record.height,
        "placeholder": base64.b64encode(details.placeholder).decode(),
    }
