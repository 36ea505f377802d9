"""Events that a consumer could not deal with: what they are, why, and another try."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from hayloft.gateway import presenting
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.schema import ParkedInfo, ParkedList, Retried, RetryQuestion

Consumer = Annotated[
    str, Query(max_length=64, description="Who gave up: `similarity`, `renditions` or `deletes`.")
]


def router(gateway: Gateway) -> APIRouter:
    """Routes over parked events."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/events/parked")
    async def parked(consumer: Consumer = "similarity") -> ParkedList:
        """Events that were set aside after repeated failures, oldest first."""
        found = await gateway.directory.parked(consumer)
        return ParkedList(parked=[ParkedInfo(**presenting.parked(one)) for one in found])

    @routes.post("/events/parked/retry")
    async def retry(question: RetryQuestion) -> Retried:
        """Have one parked event, or all of a consumer's, delivered once more."""
        return Retried(retried=await gateway.directory.retry(question.consumer, question.position))

    return routes
