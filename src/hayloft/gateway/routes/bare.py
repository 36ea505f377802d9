"""Photo bytes and uploads as OpenAPI shows them. ``Front`` answers these before FastAPI sees them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response

from hayloft.errors import PhotoNotFound
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.routes.parameters import PathId
from hayloft.gateway.routes.responses import IMAGE, Responses
from hayloft.gateway.schema import Error, UploadedPhoto, UploadedPhotos

_READ: Final[Responses] = {
    200: {"description": "The photo.", "content": IMAGE},
    206: {"description": "The range asked for.", "content": IMAGE},
    304: {"description": "The client has it already (`If-None-Match`)."},
    404: {"model": Error, "description": "There is no such photo, or the cookie is wrong."},
    410: {"model": Error, "description": "It was deleted."},
    412: {"model": Error, "description": "`If-Match` names another photo."},
    416: {"model": Error, "description": "The range is malformed or lies outside."},
    503: {"model": Error, "description": "No replica could answer."},
}

_FILE: Final = {"type": "string", "format": "binary"}
_UPLOAD_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "array", "items": _FILE}},
                }
            },
            "image/*": {"schema": _FILE},
        },
    }
}
_UPLOAD: Final[Responses] = {
    201: {"model": UploadedPhoto | UploadedPhotos, "description": "Kept, on stable storage."},
    207: {"model": UploadedPhotos, "description": "Some of several files were not kept."},
    400: {"model": Error, "description": "No bytes, or a malformed request."},
    408: {"model": Error, "description": "The client stopped sending."},
    413: {"model": Error, "description": "Too many bytes or pixels."},
    415: {"model": Error, "description": "Not an image of a kind that is kept."},
    422: {"model": Error, "description": "The image ends too early."},
    503: {"model": Error, "description": "Too much is in flight; see `Retry-After`."},
    507: {"model": Error, "description": "The disk is full."},
}

_Text = Annotated[str | None, Header()]


def router(_gateway: Gateway) -> APIRouter:
    """Descriptions of what ``Front`` answers itself."""
    routes = APIRouter(tags=["photos"])

    @routes.post("/upload", status_code=201, responses=_UPLOAD, openapi_extra=_UPLOAD_BODY)
    async def upload(
        alt_key: Annotated[str, Query(description="orig, large, medium, small or thumb.")] = "orig",
        name: Annotated[str, Query(description="The file's name, for a raw body.")] = "",
        created_at: Annotated[
            str | None, Query(description="When it was first uploaded, if it comes from another library.")
        ] = None,
        idempotency_key: _Text = None,
    ) -> Response:
        """Keep one or several photos. What they are is decided by their content."""
        raise _unreachable(alt_key, name, created_at, idempotency_key)

    for path in ("/photo/{photo_id}", "/photo/{photo_id}/{cookie}"):
        for method in ("GET", "HEAD"):
            _document_read(routes, method, path)
    return routes


def _document_read(routes: APIRouter, method: str, path: str) -> None:
    linked = "cookie" in path
    name = f"{method.lower()}_photo{'_by_link' if linked else ''}"
    options: dict[str, Any] = {
        "methods": [method],
        "operation_id": name,
        "response_class": Response,
        "responses": _READ,
        "summary": "A photo, by its capability link" if linked else "A photo, by its id",
    }

    async def by_id(
        photo_id: PathId,
        range: _Text = None,
        if_none_match: _Text = None,
        if_match: _Text = None,
        if_range: _Text = None,
    ) -> Response:
        raise _unreachable(photo_id, range, if_none_match, if_match, if_range)

    async def by_link(
        photo_id: PathId,
        cookie: str,
        range: _Text = None,
        if_none_match: _Text = None,
        if_match: _Text = None,
        if_range: _Text = None,
    ) -> Response:
        raise _no_cookie(photo_id, cookie, range, if_none_match, if_match, if_range)

    if linked:
        routes.add_api_route(path, by_link, **options)
    else:
        routes.add_api_route(path, by_id, **options)


def _no_cookie(photo_id: str, cookie: str, *_given: object) -> PhotoNotFound:
    """``Front`` lets through what cannot be a cookie."""
    return PhotoNotFound(f"No photo has the address {photo_id[:32]}/{cookie[:32]}.")


def _unreachable(*_given: object) -> AssertionError:
    return AssertionError("unreachable: Front answers this")
