"""Photos as records: listing, looking up, deleting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request

from hayloft.errors import InvalidRequest
from hayloft.gateway import presenting
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.moments import moment_ms
from hayloft.gateway.routes.parameters import Cursor, Limit, Moment, PathId, photo_of
from hayloft.gateway.routes.responses import NO_PHOTO, Responses
from hayloft.gateway.schema import (
    DeletedPhoto,
    Details,
    Error,
    KnownAnswer,
    KnownQuestion,
    PhotoInfo,
    PhotoList,
)
from hayloft.types import PhotoDetails, PhotoId, PhotoQuery, PhotoRecord, PhotoStatus

_INVALID: Final[Responses] = {400: {"model": Error, "description": "A parameter makes no sense."}}

_DIGEST_CHARACTERS: Final = 64


def router(gateway: Gateway) -> APIRouter:
    """Routes over photos' records."""
    routes = APIRouter(tags=["photos"])

    @routes.get("/photo/{photo_id}/info", responses=NO_PHOTO)
    async def info(photo_id: PathId, request: Request) -> PhotoInfo:
        """What is known of a photo, a deleted one included."""
        record = await gateway.directory.photo(photo_of(photo_id))
        told = await gateway.directory.details([record.photo])
        return _info(gateway, record, _base(gateway, request), told)

    @routes.delete("/photo/{photo_id}", responses=NO_PHOTO)
    async def delete(photo_id: PathId) -> DeletedPhoto:
        """Delete a photo for good. Again is no error."""
        done = await gateway.deletions.delete(photo_of(photo_id))
        return DeletedPhoto(
            status="deleted", photo_id=done.photo, failed_replicas=list(done.failed_replicas)
        )

    @routes.get("/photos", responses=_INVALID)
    async def listing(
        request: Request,
        cursor: Cursor = None,
        limit: Limit = 100,
        status: Annotated[
            Literal["active", "deleted", "alloc", "any"], Query(description="Which photos.")
        ] = "active",
        media_type: Annotated[str | None, Query(max_length=255)] = None,
        from_: Annotated[Moment, Query(alias="from", description="Created at or after.")] = None,
        until: Annotated[Moment, Query(description="Created before.")] = None,
        order: Literal["asc", "desc"] = "asc",
        sha256: Annotated[str | None, Query(description="Hexadecimal digest of the bytes.")] = None,
        details: Annotated[bool, Query(description="Say what the photos' files say, too.")] = False,
    ) -> PhotoList:
        """Photos, one page at a time."""
        query = PhotoQuery(
            status=None if status == "any" else PhotoStatus(status),
            media_type=media_type,
            created_from_ms=moment_ms("from", from_),
            created_until_ms=moment_ms("until", until),
            sha256=None if sha256 is None else _digest(sha256),
            newest_first=order == "desc",
            cursor=cursor,
            limit=limit,
        )
        return await _listed(gateway, query, _base(gateway, request), details=details)

    @routes.post("/photos/known", responses=_INVALID)
    async def known(question: KnownQuestion) -> KnownAnswer:
        """Which bytes are here already, by their SHA-256."""
        digests = [_digest(text) for text in question.sha256]
        found = await gateway.directory.known(digests)
        return KnownAnswer(known={digest.hex(): photo for digest, photo in found.items()})

    return routes


async def _listed(gateway: Gateway, query: PhotoQuery, base: str, *, details: bool) -> PhotoList:
    page = await gateway.directory.photos(query)
    wanted = [record.photo for record in page.photos] if details else []
    told = await gateway.directory.details(wanted) if wanted else {}
    return PhotoList(
        photos=[_info(gateway, record, base, told) for record in page.photos],
        next_cursor=page.next_cursor,
        total=page.total,
    )


def _info(
    gateway: Gateway, record: PhotoRecord, base: str, told: Mapping[PhotoId, PhotoDetails]
) -> PhotoInfo:
    details = told.get(record.photo)
    if details is None:
        return PhotoInfo(**presenting.photo(record, base))
    # Whoever got here has shown a key, where there are keys; without any, everyone is the public.
    show_position = gateway.access.required or not gateway.settings.renditions.strip_gps
    shown = presenting.details(details, record, base, show_position=show_position)
    return PhotoInfo(**presenting.photo(record, base), details=Details(**shown))


def _base(gateway: Gateway, request: Request) -> str:
    headers = dict(request.scope["headers"])
    return presenting.base_url(gateway.settings.public_url, request.scope["scheme"], headers)


def _digest(text: str) -> bytes:
    try:
        if len(text) == _DIGEST_CHARACTERS:
            return bytes.fromhex(text)
    except ValueError:
        pass
    raise InvalidRequest(f"A SHA-256 digest has {_DIGEST_CHARACTERS} hexadecimal digits.", field="sha256")
