"""Similarity over HTTP: the wire contract's endpoints, and the rest of ``roles.Similarity``.

Any implementation can be served. ``GET /similar/{photo_id}`` and ``GET /health`` are the contract; what
else there is carries the protocol, method for method.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict

from hayloft import __version__, limits
from hayloft.roles import Similarity
from hayloft.similarity import payloads
from hayloft.types import PhotoId, Relation, Verdict
from hayloft.wire.asgi import application, read_body

K = Annotated[int, Query(ge=1, le=limits.NEIGHBOURS_MAX)]
Limit = Annotated[int, Query(ge=1, le=limits.PAGE_PHOTOS_MAX)]


class VerdictBody(BaseModel):
    """What a person says of a pair; null takes it back."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict | None


def similarity_application(similarity: Similarity) -> FastAPI:
    """The ASGI application that serves ``similarity``, which the caller closes."""
    app = application(title="Hayloft similarity", version=__version__)
    _add_status(app, similarity)
    _add_neighbours(app, similarity)
    _add_links(app, similarity)
    _add_groups(app, similarity)
    _add_verdicts(app, similarity)
    return app


def _add_status(app: FastAPI, similarity: Similarity) -> None:
    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Alive, how many photos can be found, and by what."""
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
        """How far ingest has got."""
        return payloads.status_to(await similarity.status())

    @app.post("/rebuild", status_code=202)
    async def rebuild() -> dict[str, Any]:
        """Make the indexes anew, in the background."""
        await similarity.rebuild()
        return {"status": "started"}


def _add_neighbours(app: FastAPI, similarity: Similarity) -> None:
    @app.get("/similar/{photo_id}")
    async def similar(
        photo_id: int, k: K = 5, min_score: float = 0.0, relation: Relation | None = None
    ) -> dict[str, Any]:
        """The photos nearest to one."""
        found = await similarity.similar(PhotoId(photo_id), k=k, score_min=min_score, relation=relation)
        return {"photo_id": photo_id, "similar": [payloads.neighbour_to(one) for one in found]}

    @app.post("/similar")
    async def similar_to(
        request: Request, k: K = 5, min_score: float = 0.0, relation: Relation | None = None
    ) -> dict[str, Any]:
        """The photos nearest to the image in the body, refused as soon as it is too large."""
        image = await read_body(request.receive, bytes_max=limits.UPLOAD_BYTES_MAX)
        found = await similarity.similar_to(image, k=k, score_min=min_score, relation=relation)
        return {"similar": [payloads.neighbour_to(one) for one in found]}

    @app.get("/search")
    async def search(q: str, k: K = 20) -> dict[str, Any]:
        """The photos that words describe best."""
        found = await similarity.search(q, k=k)
        return {"photos": [payloads.neighbour_to(one) for one in found]}


def _add_links(app: FastAPI, similarity: Similarity) -> None:
    @app.get("/photo/{photo_id}/links")
    async def links_of(photo_id: int) -> dict[str, Any]:
        """All links of one photo."""
        found = await similarity.links(PhotoId(photo_id))
        return {"photo_id": photo_id, "links": [payloads.link_to(link) for link in found]}

    @app.get("/links")
    async def all_links(
        relation: Relation | None = None, cursor: str | None = None, limit: Limit = 100
    ) -> dict[str, Any]:
        """One page of all links."""
        page = await similarity.all_links(relation=relation, cursor=cursor, limit=limit)
        return payloads.page_to(page)


def _add_groups(app: FastAPI, similarity: Similarity) -> None:
    @app.get("/groups")
    async def groups(
        relation: Relation | None = None, cursor: str | None = None, limit: Limit = 100
    ) -> dict[str, Any]:
        """One page of photos that are the same."""
        page = await similarity.groups(relation=relation, cursor=cursor, limit=limit)
        return payloads.groups_to(page)

    @app.get("/photo/{photo_id}/group")
    async def group_of(photo_id: int) -> dict[str, Any]:
        """The photos that are the same as this one."""
        return payloads.group_to(await similarity.group_of(PhotoId(photo_id)))


def _add_verdicts(app: FastAPI, similarity: Similarity) -> None:
    @app.get("/verdicts")
    async def verdicts(cursor: str | None = None, limit: Limit = 100) -> dict[str, Any]:
        """One page of what people said of pairs."""
        return payloads.verdicts_to(await similarity.verdicts(cursor=cursor, limit=limit))

    @app.put("/links/{a}/{b}/verdict")
    async def set_verdict(a: int, b: int, body: VerdictBody) -> dict[str, Any]:
        """Record what a person says of a pair."""
        link = await similarity.set_verdict(PhotoId(a), PhotoId(b), body.verdict)
        return {"link": None if link is None else payloads.link_to(link)}
