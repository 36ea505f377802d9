"""Photos that look like one, stored or not."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request

from hayloft.errors import InvalidRequest, RoleUnavailable
from hayloft.gateway import presenting, sniff
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.receiving import Body, form_of
from hayloft.gateway.routes.parameters import Neighbours, PathId, ScoreMin, Words, photo_of
from hayloft.gateway.routes.responses import IMAGE, Responses
from hayloft.gateway.schema import (
    Error,
    FoundPhotos,
    SimilarityState,
    SimilarPhoto,
    SimilarPhotos,
    SimilarToPhoto,
)
from hayloft.roles import Similarity
from hayloft.types import Neighbour, Relation

_NOT_SEEN: Final[Responses] = {
    404: {"model": Error, "description": "There is no such photo, or it has not been looked at yet."}
}
_NO_WORDS: Final[Responses] = {501: {"model": Error, "description": "The model in use knows no words."}}
_BODY: Final = {"requestBody": {"required": True, "content": IMAGE}}


def router(gateway: Gateway) -> APIRouter:
    """Routes over neighbours."""
    routes = APIRouter(tags=["links"])

    @routes.get("/similar/{photo_id}", responses=_NOT_SEEN)
    async def similar(
        photo_id: PathId,
        k: Neighbours = 5,
        min_score: ScoreMin = 0.0,
        relation: Relation | None = None,
    ) -> SimilarToPhoto:
        """The photos nearest to one, nearest first, never the photo itself."""
        photo = photo_of(photo_id)
        found = await similarity_of(gateway).similar(photo, k=k, score_min=min_score, relation=relation)
        return SimilarToPhoto(photo_id=photo, similar=_presented(found))

    @routes.post("/similar", openapi_extra=_BODY)
    async def similar_to(
        request: Request,
        k: Neighbours = 5,
        min_score: ScoreMin = 0.0,
        relation: Relation | None = None,
    ) -> SimilarPhotos:
        """The photos nearest to an image that is not stored."""
        image = await _image(gateway, request)
        found = await similarity_of(gateway).similar_to(image, k=k, score_min=min_score, relation=relation)
        return SimilarPhotos(similar=_presented(found))

    @routes.get("/search", responses=_NO_WORDS)
    async def search(q: Words, k: Neighbours = 20) -> FoundPhotos:
        """The photos that words describe best, where the model in use knows words."""
        found = await similarity_of(gateway).search(q, k=k)
        return FoundPhotos(query=q, photos=_presented(found))

    @routes.get("/similarity/status")
    async def status() -> SimilarityState:
        """How far linking has got."""
        return SimilarityState(**presenting.similarity(await similarity_of(gateway).status()))

    @routes.post("/similarity/rebuild", status_code=202)
    async def rebuild() -> SimilarityState:
        """Make the indexes anew from what is recorded, in the background; the status says how far it is."""
        similarity = similarity_of(gateway)
        await similarity.rebuild()
        return SimilarityState(**presenting.similarity(await similarity.status()))

    return routes


def similarity_of(gateway: Gateway) -> Similarity:
    """The similarity role.

    Raises:
        RoleUnavailable: photos are not linked here.
    """
    if gateway.similarity is None:
        raise RoleUnavailable("Linking is turned off on this server.")
    return gateway.similarity


async def _image(gateway: Gateway, request: Request) -> bytes:
    """The image in a request's body, under the limits of an upload.

    Raises:
        InvalidRequest: the body is multipart.
    """
    upload = gateway.settings.upload
    form = form_of(dict(request.scope["headers"]), "")
    if form.multipart:
        raise InvalidRequest("Send the image as the body, with its media type.")
    with Body(form, request.receive, budget=gateway.budget, bytes_max=upload.bytes_max) as body:
        image = bytes(await body.whole())
    sniff.inspect(image, pixels_max=upload.pixels_max)
    return image


def _presented(found: tuple[Neighbour, ...]) -> list[SimilarPhoto]:
    return [SimilarPhoto(**presenting.neighbour(one)) for one in found]
