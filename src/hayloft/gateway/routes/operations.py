"""What operators ask: health, readiness, totals, metrics."""

from __future__ import annotations

import asyncio

import structlog
from fastapi import APIRouter, Response

import hayloft
from hayloft.errors import HayloftError, RoleUnavailable
from hayloft.gateway import presenting
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.metrics import CONTENT_TYPE
from hayloft.gateway.schema import Health, Ready, SimilarityState, Statistics
from hayloft.roles import Store
from hayloft.types import DirectoryStatistics, SimilarityStatus, StoreHealth

HEALTH_SECONDS_MAX = 1.0
"""How long another role may take to say how it is before it is left out."""

_log = structlog.get_logger(__name__)


def router(gateway: Gateway) -> APIRouter:
    """Routes for operators."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/health")
    async def health() -> Health:
        """This process is alive; says of the roles behind it what is linked, and if uploads are refused."""
        status, refusal = await asyncio.gather(_similarity_status(gateway), _uploads_refused(gateway))
        return Health(
            status="ok",
            service="gateway",
            version=hayloft.__version__,
            trained=status is not None and status.trained,
            total_indexed=status.total_indexed if status else 0,
            embedder=status.embedder if status else "",
            embedder_hint=status.embedder_hint if status else "",
            uploads_refused=refusal,
        )

    @routes.get("/ready")
    async def ready() -> Ready:
        """The directory and at least one store answer."""
        await gateway.directory.statistics()
        if not await _healthy_stores(gateway):
            raise RoleUnavailable("No store answers.")
        return Ready(status="ready")

    @routes.get("/stats")
    async def stats() -> Statistics:
        """Totals of every part."""
        status = await _similarity_status(gateway)
        return Statistics(
            directory=presenting.directory(await gateway.directory.statistics()),
            stores=[presenting.store(health) for health in await _healthy_stores(gateway)],
            similarity=SimilarityState(**presenting.similarity(status)) if status else None,
        )

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """What all workers have counted, for Prometheus."""
        gateway.metrics.memory(gateway.budget.bytes_held)
        rendered = gateway.metrics.render(await _totals(gateway), await _healthy_stores(gateway))
        return Response(rendered, headers={"content-type": CONTENT_TYPE})

    return routes


async def _similarity_status(gateway: Gateway) -> SimilarityStatus | None:
    if gateway.similarity is None:
        return None
    try:
        async with asyncio.timeout(HEALTH_SECONDS_MAX):
            return await gateway.similarity.status()
    except (HayloftError, TimeoutError):
        return None


async def _uploads_refused(gateway: Gateway) -> str:
    try:
        async with asyncio.timeout(HEALTH_SECONDS_MAX):
            return (await gateway.directory.statistics()).uploads_refused
    except (HayloftError, TimeoutError):
        return "The directory does not answer."


async def _healthy_stores(gateway: Gateway) -> list[StoreHealth]:
    """The accounts of the stores that give one."""
    answers = await asyncio.gather(
        *(_health(store) for store in gateway.stores.values()), return_exceptions=True
    )
    for answer in answers:
        if isinstance(answer, BaseException):
            _log.warning("store does not answer", error=repr(answer))
    return [answer for answer in answers if isinstance(answer, StoreHealth)]


async def _health(store: Store) -> StoreHealth:
    """A store's account of itself; one that hangs must not make the gateway look as if it did."""
    async with asyncio.timeout(HEALTH_SECONDS_MAX):
        return await store.health()


async def _totals(gateway: Gateway) -> DirectoryStatistics | None:
    try:
        return await gateway.directory.statistics()
    except HayloftError as error:
        _log.warning("directory does not answer", error=error.message)
        return None
