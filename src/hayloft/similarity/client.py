"""``roles.Similarity``, spoken over HTTP to a service that keeps the wire contract, ours or another."""

from __future__ import annotations

from pathlib import Path

from hayloft.similarity import payloads
from hayloft.types import (
    GroupPage,
    Link,
    LinkPage,
    Neighbour,
    PhotoGroup,
    PhotoId,
    Relation,
    SimilarityStatus,
    Verdict,
    VerdictPage,
)
from hayloft.wire.breaker import Breaker
from hayloft.wire.session import Patience, Session


class SimilarityClient:
    """The similarity service at ``url``, or at the Unix socket ``uds`` when given."""

    def __init__(
        self,
        url: str = "http://localhost",
        *,
        uds: Path | None = None,
        patience: Patience | None = None,
        secret: bytes | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._session = Session(
            url, uds=uds, patience=patience, peer="The similarity role", secret=secret, breaker=breaker
        )

    async def similar(
        self, photo: PhotoId, *, k: int, score_min: float = 0.0, relation: Relation | None = None
    ) -> tuple[Neighbour, ...]:
        """The photos nearest to one."""
        answer = await self._session.request(
            "GET", f"/similar/{photo}", query=_query(k, score_min, relation)
        )
        return tuple(payloads.neighbour_from(one) for one in answer.json()["similar"])

    async def similar_to(
        self, image: bytes, *, k: int, score_min: float = 0.0, relation: Relation | None = None
    ) -> tuple[Neighbour, ...]:
        """The photos nearest to an image that is not stored."""
        answer = await self._session.request(
            "POST",
            "/similar",
            query=_query(k, score_min, relation),
            data=image,
            headers={"content-type": "application/octet-stream"},
            repeatable=True,
        )
        return tuple(payloads.neighbour_from(one) for one in answer.json()["similar"])

    async def search(self, words: str, *, k: int) -> tuple[Neighbour, ...]:
        """The photos that the words describe best."""
        answer = await self._session.request("GET", "/search", query={"q": words, "k": k})
        return tuple(payloads.neighbour_from(one) for one in answer.json()["photos"])

    async def links(self, photo: PhotoId) -> tuple[Link, ...]:
        """All links of one photo."""
        answer = await self._session.request("GET", f"/photo/{photo}/links")
        return tuple(payloads.link_from(link) for link in answer.json()["links"])

    async def all_links(self, *, relation: Relation | None, cursor: str | None, limit: int) -> LinkPage:
        """All links, in the order they were found."""
        return payloads.page_from(
            (
                await self._session.request("GET", "/links", query=_page_query(relation, cursor, limit))
            ).json()
        )

    async def groups(self, *, relation: Relation | None, cursor: str | None, limit: int) -> GroupPage:
        """Photos that are the same, all in all."""
        answer = await self._session.request("GET", "/groups", query=_page_query(relation, cursor, limit))
        return payloads.groups_from(answer.json())

    async def group_of(self, photo: PhotoId) -> PhotoGroup:
        """The photo's group."""
        answer = await self._session.request("GET", f"/photo/{photo}/group")
        return payloads.group_from(answer.json())

    async def rebuild(self) -> None:
        """Make the indexes anew, in the background."""
        await self._session.request("POST", "/rebuild", repeatable=True)

    async def verdicts(self, *, cursor: str | None, limit: int) -> VerdictPage:
        """All verdicts, by the ids of their pairs."""
        query = _page_query(None, cursor, limit)
        return payloads.verdicts_from((await self._session.request("GET", "/verdicts", query=query)).json())

    async def set_verdict(self, a: PhotoId, b: PhotoId, verdict: Verdict | None) -> Link | None:
        """Record a person's verdict on a pair."""
        body = {"verdict": None if verdict is None else verdict.value}
        answer = await self._session.request("PUT", f"/links/{a}/{b}/verdict", body=body)
        link = answer.json()["link"]
        return None if link is None else payloads.link_from(link)

    async def status(self) -> SimilarityStatus:
        """How far ingest has got."""
        return payloads.status_from((await self._session.request("GET", "/status")).json())

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def _query(k: int, score_min: float, relation: Relation | None) -> dict[str, str | int | float]:
    query: dict[str, str | int | float] = {"k": k, "min_score": score_min}
    return query if relation is None else {**query, "relation": relation.value}


def _page_query(relation: Relation | None, cursor: str | None, limit: int) -> dict[str, str | int | float]:
    query: dict[str, str | int | float] = {"limit": limit}
    if relation is not None:
        query["relation"] = relation.value
    return query if cursor is None else {**query, "cursor": cursor}
