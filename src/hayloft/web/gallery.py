"""What the pages ask for beside the public API: each view in one answer, with only what it shows.

A page that put its views together itself would ask once for every photo on it. Everything here is read
from the same roles as the public API, and needs a key where that does.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query

from hayloft.errors import InvalidRequest, PhotoNotFound, RoleUnavailable
from hayloft.gateway import presenting
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.routes.parameters import Cursor, PathId, photo_of
from hayloft.gateway.routes.similar import similarity_of
from hayloft.types import (
    Link,
    PhotoDetails,
    PhotoGroup,
    PhotoId,
    PhotoQuery,
    PhotoRecord,
    PhotoStatus,
    format_cookie,
)

STRETCH_PHOTOS_MAX: Final = 500
"""Photos in one answer: some screens full."""

SAME_MILLISECOND_PHOTOS: Final = 100
"""Photos of one millisecond among which a photo's place is looked for."""

NEIGHBOURS: Final = 24
"""Photos that are merely alike, on a photo's page."""

Json = dict[str, Any]


def router(gateway: Gateway) -> APIRouter:
    """The pages' own routes over a gateway."""
    routes = APIRouter(prefix="/gallery", include_in_schema=False)

    @routes.get("/photos")
    async def photos(
        offset: Annotated[int, Query(ge=0, lt=1 << 53)] = 0,
        limit: Annotated[int, Query(ge=1, le=STRETCH_PHOTOS_MAX)] = 120,
    ) -> Json:
        """A stretch of the library, newest first, and how long the library is: a scroll bar jumps."""
        page = await gateway.directory.photos(PhotoQuery(newest_first=True, offset=offset, limit=limit))
        told = await gateway.directory.details([record.photo for record in page.photos])
        return {"total": page.total, "photos": [_tile(record, told) for record in page.photos]}

    @routes.get("/tiles")
    async def tiles(ids: Annotated[str, Query(max_length=20 * STRETCH_PHOTOS_MAX)]) -> Json:
        """The active ones among some photos."""
        return {"photos": list((await _tiles(gateway, _ids(ids))).values())}

    @routes.get("/around/{photo_id}")
    async def around(photo_id: PathId) -> Json:
        """The photos before and after one in the gallery's order; null at its ends."""
        record = await gateway.directory.photo(photo_of(photo_id))
        newer, older = await asyncio.gather(
            _beside(gateway, record, newest_first=False), _beside(gateway, record, newest_first=True)
        )
        return {"newer": newer, "older": older}

    @routes.get("/belongings/{photo_id}")
    async def belongings(photo_id: PathId) -> Json:
        """What a photo belongs with: its links, then neighbours that are not linked to it."""
        return await _belongings(gateway, photo_of(photo_id))

    @routes.get("/ingest")
    async def ingest() -> Json:
        """How far ingest has got; null while it does not answer, which a page need not call an error."""
        try:
            return {"status": presenting.similarity(await similarity_of(gateway).status())}
        except RoleUnavailable:
            return {"status": None}

    @routes.get("/groups")
    async def groups(cursor: Cursor = None, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Json:
        """Groups with their photos and the links inside them."""
        page = await similarity_of(gateway).groups(relation=None, cursor=cursor, limit=limit)
        told = await asyncio.gather(*(_group(gateway, group) for group in page.groups))
        return {
            "groups": [group for group in told if len(group["photos"]) > 1],
            "next_cursor": page.next_cursor,
            "total": page.total,
        }

    return routes


async def _beside(gateway: Gateway, record: PhotoRecord, *, newest_first: bool) -> PhotoId | None:
    """The next photo in one direction. Photos of the same millisecond come first in the listing: passed."""
    created = record.created_at_ms
    query = PhotoQuery(
        created_from_ms=None if newest_first else created,
        created_until_ms=created + 1 if newest_first else None,
        newest_first=newest_first,
        limit=SAME_MILLISECOND_PHOTOS,
    )
    place = (created, record.photo)
    for other in (await gateway.directory.photos(query)).photos:
        if (other.created_at_ms, other.photo) != place and newest_first == (
            (other.created_at_ms, other.photo) < place
        ):
            return other.photo
    return None


async def _belongings(gateway: Gateway, photo: PhotoId) -> Json:
    similarity = similarity_of(gateway)
    links = [presenting.photo_link(link, photo) for link in await similarity.links(photo)]
    linked = {link["photo_id"] for link in links}
    compared = True
    try:
        near = await similarity.similar(photo, k=NEIGHBOURS)
    except PhotoNotFound:  # not ingested yet, or never to be
        near, compared = (), bool(links)
    alike = [presenting.neighbour(one) for one in near if one.photo not in linked]
    found = [*links, *alike]
    shown = await _tiles(gateway, [PhotoId(one["photo_id"]) for one in found])
    return {
        "compared": compared,
        "found": [
            {"link": one, "other": shown[one["photo_id"]]} for one in found if one["photo_id"] in shown
        ],
    }


async def _group(gateway: Gateway, group: PhotoGroup) -> Json:
    shown = await _tiles(gateway, group.photos)
    links: dict[tuple[PhotoId, PhotoId], Link] = {}
    for photo in shown:
        for link in await similarity_of(gateway).links(PhotoId(photo)):
            if link.a in shown and link.b in shown:
                links[link.a, link.b] = link
    return {
        "best": group.best,
        "photos": list(shown.values()),
        "links": [presenting.link(link) for link in links.values()],
    }


async def _tiles(gateway: Gateway, photos: Iterable[PhotoId]) -> dict[int, Json]:
    """The active photos among these, in their order."""
    asked = list(dict.fromkeys(photos))
    records = await asyncio.gather(
        *(gateway.directory.photo(photo) for photo in asked), return_exceptions=True
    )
    active = [
        record
        for record in records
        if isinstance(record, PhotoRecord) and record.status is PhotoStatus.ACTIVE
    ]
    told = await gateway.directory.details([record.photo for record in active]) if active else {}
    return {record.photo: _tile(record, told) for record in active}


def _tile(record: PhotoRecord, told: Mapping[PhotoId, PhotoDetails]) -> Json:
    """A photo as the pages show it; upright once ingest has looked at it."""
    details = told.get(record.photo) or PhotoDetails()
    return {
        "photo_id": record.photo,
        "cookie": format_cookie(record.cookie),
        "name": record.name,
        "width": details.width or record.width,
        "height": details.height or record.height,
        "size": record.size,
        "placeholder": base64.b64encode(details.placeholder).decode(),
        "failed": bool(details.failure),
    }


def _ids(text: str) -> list[PhotoId]:
    ids = [photo_of(one) for one in text.split(",") if one]
    if len(ids) > STRETCH_PHOTOS_MAX:
        raise InvalidRequest(f"At most {STRETCH_PHOTOS_MAX} photos at once.")
    return ids
