"""Links between photos, and people's verdicts on them."""

from __future__ import annotations

from fastapi import APIRouter

from hayloft import errors
from hayloft.gateway import presenting
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.routes.parameters import Cursor, Limit, PathId, photo_of
from hayloft.gateway.routes.responses import NO_LONGER, NO_PHOTO
from hayloft.gateway.routes.similar import similarity_of
from hayloft.gateway.schema import (
    GroupInfo,
    GroupList,
    LinkInfo,
    LinkList,
    PhotoLink,
    PhotoLinks,
    VerdictInfo,
    VerdictList,
    VerdictQuestion,
)
from hayloft.types import PhotoGroup, PhotoStatus, Relation


def router(gateway: Gateway) -> APIRouter:
    """Routes over links."""
    routes = APIRouter(tags=["links"])

    @routes.get("/photo/{photo_id}/links", responses=NO_PHOTO)
    async def photo_links(photo_id: PathId) -> PhotoLinks:
        """All links of one photo, best first."""
        photo = photo_of(photo_id)
        await gateway.directory.photo(photo)
        links = await similarity_of(gateway).links(photo)
        return PhotoLinks(
            photo_id=photo, links=[PhotoLink(**presenting.photo_link(k, photo)) for k in links]
        )

    @routes.get("/links")
    async def all_links(
        relation: Relation | None = None, cursor: Cursor = None, limit: Limit = 100
    ) -> LinkList:
        """All links, in the order they were found."""
        page = await similarity_of(gateway).all_links(relation=relation, cursor=cursor, limit=limit)
        return LinkList(
            links=[LinkInfo(**presenting.link(link)) for link in page.links],
            next_cursor=page.next_cursor,
            total=page.total,
        )

    @routes.get("/groups")
    async def groups(
        relation: Relation | None = None, cursor: Cursor = None, limit: Limit = 100
    ) -> GroupList:
        """Photos that are the same: connected by equal bytes, verified copies and people's word."""
        page = await similarity_of(gateway).groups(relation=relation, cursor=cursor, limit=limit)
        return GroupList(
            groups=[_group(group) for group in page.groups],
            next_cursor=page.next_cursor,
            total=page.total,
        )

    @routes.get("/photo/{photo_id}/group", responses=NO_LONGER)
    async def group(photo_id: PathId) -> GroupInfo:
        """The photos that are the same as this one; one that is like no other is a group of its own."""
        return _group(await similarity_of(gateway).group_of(photo_of(photo_id)))

    @routes.get("/verdicts")
    async def verdicts(cursor: Cursor = None, limit: Limit = 100) -> VerdictList:
        """What people said of pairs of photos, whether any computation links them or not."""
        page = await similarity_of(gateway).verdicts(cursor=cursor, limit=limit)
        return VerdictList(
            verdicts=[VerdictInfo(**presenting.verdict(one)) for one in page.verdicts],
            next_cursor=page.next_cursor,
        )

    @routes.put("/links/{a}/{b}/verdict", responses=NO_LONGER)
    async def verdict(a: PathId, b: PathId, question: VerdictQuestion) -> LinkInfo | None:
        """A person's word on two photos; it wins over every computation. Null takes it back."""
        first, second = sorted((photo_of(a), photo_of(b)))
        if first == second:
            raise errors.InvalidRequest("A verdict is on two different photos.")
        for photo in (first, second):
            record = await gateway.directory.photo(photo)
            if record.status is PhotoStatus.DELETED:
                raise errors.PhotoDeleted(photo_id=photo)
        link = await similarity_of(gateway).set_verdict(first, second, question.verdict)
        return LinkInfo(**presenting.link(link)) if link else None

    return routes


def _group(group: PhotoGroup) -> GroupInfo:
    return GroupInfo(group=group.group, photos=list(group.photos), best=group.best)
