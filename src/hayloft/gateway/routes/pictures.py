"""Renditions and IIIF as OpenAPI shows them. ``PictureFront`` answers these before FastAPI sees them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query, Response

from hayloft.errors import PhotoNotFound
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.routes.parameters import PathId
from hayloft.gateway.routes.responses import IMAGE, Responses
from hayloft.gateway.schema import Error

_COMMON: Final[Responses] = {
    304: {"description": "The client has it already (`If-None-Match`)."},
    404: {"model": Error, "description": "There is no such photo, or the cookie is wrong."},
    410: {"model": Error, "description": "The photo was deleted."},
    413: {"model": Error, "description": "The photo has too many pixels to be decoded."},
    415: {"model": Error, "description": "The photo cannot be decoded."},
    503: {"model": Error, "description": "Too much is being made; see `Retry-After`."},
}
_PICTURE: Final[Responses] = {
    200: {"description": "The picture.", "content": IMAGE},
    206: {"description": "The range asked for.", "content": IMAGE},
    400: {"model": Error, "description": "What is asked for makes no sense, or is beyond the bounds."},
    416: {"model": Error, "description": "The range is malformed or lies outside."},
    **_COMMON,
}
_INFORMATION: Final[Responses] = {
    200: {"description": "The information document.", "content": {"application/ld+json": {}}},
    **_COMMON,
}

Rendition = Annotated[Literal["large", "medium", "small", "thumb"], Path(description="Which of the sizes.")]
Form = Annotated[
    Literal["webp", "jpeg", "jpg"] | None, Query(alias="format", description="If not the one stored.")
]
Identifier = Annotated[
    str, Path(description="A photo's id, or id and cookie joined by a hyphen, which needs no key.")
]


def router(_gateway: Gateway) -> APIRouter:
    """Descriptions of what ``PictureFront`` answers."""
    routes = APIRouter(tags=["pictures"])

    @routes.get("/photo/{photo_id}/{cookie}/{rendition}", response_class=Response, responses=_PICTURE)
    async def rendition_by_link(
        photo_id: PathId, cookie: str, rendition: Rendition, form: Form = None
    ) -> Response:
        """A smaller size, upright and in sRGB. Also as `?size=` behind the photo's own address."""
        raise _no_picture(photo_id, cookie, rendition, form)

    for label in ("large", "medium", "small", "thumb"):
        _document_by_id(routes, label)

    @routes.get("/iiif/3/{identifier}", status_code=303, responses=_COMMON)
    async def iiif_photo(identifier: Identifier) -> Response:
        """Leads to the information document."""
        raise _no_picture(identifier)

    @routes.get("/iiif/3/{identifier}/info.json", response_class=Response, responses=_INFORMATION)
    async def iiif_information(identifier: Identifier) -> Response:
        """What can be ordered of a photo (IIIF Image API 3.0, level 2)."""
        raise _no_picture(identifier)

    @routes.get(
        "/iiif/3/{identifier}/{region}/{size}/{rotation}/{quality}.{format}",
        response_class=Response,
        responses=_PICTURE,
    )
    async def iiif_picture(
        identifier: Identifier,
        region: Annotated[str, Path(description="full, square, x,y,w,h or pct:x,y,w,h")],
        size: Annotated[str, Path(description="max, w, ,h pct:n w,h or !w,h; ^ before it enlarges")],
        rotation: Annotated[str, Path(description="Degrees clockwise; ! before it mirrors first.")],
        quality: Annotated[str, Path(description="default, color, gray or bitonal")],
        format: Annotated[str, Path(description="jpg, png or webp")],
    ) -> Response:
        """A picture to order (IIIF Image API 3.0, level 2)."""
        raise _no_picture(identifier, region, size, rotation, quality, format)

    return routes


def _document_by_id(routes: APIRouter, label: str) -> None:
    async def rendition(photo_id: PathId, form: Form = None) -> Response:
        raise _no_picture(photo_id, form)

    routes.add_api_route(
        f"/photo/{{photo_id}}/{label}",
        rendition,
        methods=["GET"],
        operation_id=f"get_{label}",
        response_class=Response,
        responses=_PICTURE,
        summary=f"The rendition {label}, by the photo's id",
    )


def _no_picture(*_given: object) -> PhotoNotFound:
    """``PictureFront`` answers all of these but what can name no photo."""
    return PhotoNotFound("No photo has this address.")
