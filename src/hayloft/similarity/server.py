"""Similarity over HTTP: the wire contract's endpoints, and the rest of ``roles.Similarity``.

``application`` serves any implementation. ``GET /similar/{photo_id}`` and ``GET /health`` are the contract;
what else there is carries the protocol, method for method.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict

from hayloft import __version__, limits
from hayloft.errors import UploadTooLarge
from hayloft.roles import Similarity
from hayloft.similarity import payloads
from hayloft.types import PhotoId, Relation, Verdict
from hayloft.wire.asgi import application as framed

K = Annotated[int, Query(ge=1, le=limits.NEIGHBOURS_MAX)]


class VerdictBody(BaseModel):
    """What a person says of a pair; null takes it back."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict | None


def application(similarity: Similarity) -> FastAPI:
    """The similarity service over ``similarity``, which the caller closes."""
    app = framed(title="Hayloft similarity", version=__version__)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        status = await similarity.status()
        return {
            "status": "ok",
            "service": "similarity",
            "trained": status.trained,
            "total_indexed": status.total_indexed,
            "embedder": status.embedder,
            "embedder_hint": status.embedder_hint,
        }

    @app.get("/status")
    async def status() -> dict[str, Any]:
        return payloads.status_to(await similarity.status())

    @app.get("/similar/{photo_id}")
    async def similar(
        photo_id: int, k: K = 5, min_score: float = 0.0, relation: Relation | None = None
    ) -> dict[str, Any]:
        found = await similarity.similar(PhotoId(photo_id), k=k, score_min=min_score, relation=relation)
        return {"photo_id": photo_id, "similar": [payloads.neighbour_to(one) for one in found]}

    @app.post("/similar")
    async def similar_to(
        request: Request, k: K = 5, min_score: float = 0.0, relation: Relation | None = None
    ) -> dict[str, Any]:
        image = await _body(request)
        found = await similarity.similar_to(image, k=k, score_min=min_score, relation=relation)
        return {"similar": [payloads.neighbour_to(one) for one in found]}

    @app.get("/search")
    async def search(q: str, k: K = 20) -> dict[str, Any]:
        found = await similarity.search(q, k=k)
        return {"photos": [payloads.neighbour_to(one) for one in found]}

    @app.get("/photo/{photo_id}/links")
    async def links_of(photo_id: int) -> dict[str, Any]:
        found = await similarity.links(PhotoId(photo_id))
        return {"photo_id": photo_id, "links": [payloads.link_to(link) for link in found]}

    @app.get("/links")
    async def all_links(
        relation: Relation | None = None,
        cursor: str | None = None,
        limit: Annotated[int, Query(ge=1, le=limits.PAGE_PHOTOS_MAX)] = 100,
    ) -> dict[str, Any]:
        page = await similarity.all_links(relation=relation, cursor=cursor, limit=limit)
        return payloads.page_to(page)

    @app.get("/groups")
    async def groups(
        relation: Relation | None = None,
        cursor: str | None = None,
        limit: Annotated[int, Query(ge=1, le=limits.PAGE_PHOTOS_MAX)] = 100,
    ) -> dict[str, Any]:
        page = await similarity.groups(relation=relation, cursor=cursor, limit=limit)
        return payloads.groups_to(page)

    @app.get("/photo/{photo_id}/group")
    async def group_of(photo_id: int) -> dict[str, Any]:
        return payloads.group_to(await similarity.group_of(PhotoId(photo_id)))

    @app.post("/rebuild", status_code=202)
    async def rebuild() -> dict[str, Any]:
        await similarity.rebuild()
        return {"status": "started"}

    @app.get("/verdicts")
    async def verdicts(
        cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=limits.PAGE_PHOTOS_MAX)] = 100
    ) -> dict[str, Any]:
        return payloads.verdicts_to(await similarity.verdicts(cursor=cursor, limit=limit))

    @app.put("/links/{a}/{b}/verdict")
    async def set_verdict(a: int, b: int, body: VerdictBody) -> dict[str, Any]:
        link = await similarity.set_verdict(PhotoId(a), PhotoId(b), body.verdict)
        return {"link": None if link is None else payloads.link_to(link)}

    return app


async def _body(request: Request) -> bytes:
    """The image in the request, refused as soon as it is too large."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limits.UPLOAD_BYTES_MAX:
            raise UploadTooLarge(limit_bytes=limits.UPLOAD_BYTES_MAX)
    return bytes(received)
