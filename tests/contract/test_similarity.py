"""One suite over every similarity: in this process, over HTTP on a TCP port, and on a Unix socket.

What is promised in ``roles.Similarity`` is asked of all; what only the wire promises stands at the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hayloft.errors import (
    InvalidRequest,
    PhotoDeleted,
    PhotoNotFound,
    SearchNotConfigured,
    UnsupportedMedia,
)
from hayloft.roles import Similarity
from hayloft.similarity.client import SimilarityClient
from hayloft.similarity.embedders.builtin import BuiltinEmbedder
from hayloft.similarity.local import LocalSimilarity
from hayloft.similarity.server import similarity_application
from hayloft.testing.memory import MemorySimilarity
from hayloft.types import PhotoId, Relation, Verdict
from hayloft.wire.serving import AppServer
from similarity_samples import DISGUISES, World, pixels, sample

ASTRONAUT, SMALLER, TWIN, COFFEE, JUNK, GONE, UNKNOWN = (PhotoId(i) for i in range(11, 18))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One suite over every kind."""
    if "similarity" in metafunc.fixturenames:
        metafunc.parametrize("kind", KINDS, indirect=True)


def typed(local: LocalSimilarity, client: SimilarityClient, memory: MemorySimilarity) -> list[Similarity]:
    """Never called: has the type checker compare every implementation with the protocol."""
    return [local, client, memory]


async def filled(world: World, folder: Path, url: str | None) -> LocalSimilarity:
    local = await world.open(folder, url=url, embedder=BuiltinEmbedder())
    await local.ingest(world.uploaded(ASTRONAUT, sample("astronaut.png")))
    await local.ingest(world.uploaded(SMALLER, DISGUISES["half"](pixels("astronaut.png"))))
    await local.ingest(world.uploaded(TWIN, sample("astronaut.png")))
    await local.ingest(world.uploaded(COFFEE, sample("coffee.png")))
    await local.ingest(world.uploaded(JUNK, b"no image"))
    await local.ingest(world.uploaded(GONE, sample("rocket.jpg")))
    await local.forget(GONE)
    return local


@pytest.fixture
async def world() -> World:
    return World()


KINDS = ("local", "postgres", "tcp", "unix")


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Which similarity; chosen by the fixture of that name."""
    return getattr(request, "param", "local")


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest) -> str | None:
    """Where its database is, if not in a file."""
    return request.getfixturevalue("postgres").empty_database() if kind == "postgres" else None


@pytest.fixture
async def local(world: World, tmp_path: Path, url: str | None) -> AsyncIterator[LocalSimilarity]:
    opened = await filled(world, tmp_path, url)
    yield opened
    await opened.close()


@pytest.fixture
async def similarity(kind: str, local: LocalSimilarity, tmp_path: Path) -> AsyncIterator[Similarity]:
    if kind in ("local", "postgres"):
        yield local
        return
    uds = tmp_path / "s.sock" if kind == "unix" else None
    async with AppServer(similarity_application(local), uds=uds) as server:
        client = SimilarityClient(server.url, uds=uds)
        yield client
        await client.close()


async def test_similar_is_nearest_first_and_never_the_photo_itself(similarity: Similarity) -> None:
    found = await similarity.similar(ASTRONAUT, k=10)
    assert [(one.photo, one.relation) for one in found] == [
        (TWIN, Relation.DUPLICATE),
        (SMALLER, Relation.COPY),
        (COFFEE, Relation.SIMILAR),
    ]
    assert [one.distance for one in found] == sorted(one.distance for one in found)
    assert found[0].distance == 0.0
    assert found[0].method == "sha256"
    assert found[1].evidence["from"] == SMALLER
    assert 0.0 < found[1].score <= 1.0


async def test_similar_can_be_narrowed(similarity: Similarity) -> None:
    assert [one.photo for one in await similarity.similar(TWIN, k=1)] == [ASTRONAUT]
    only = await similarity.similar(ASTRONAUT, k=10, relation=Relation.COPY)
    assert [one.photo for one in only] == [SMALLER]
    sure = await similarity.similar(ASTRONAUT, k=10, score_min=0.9)
    assert COFFEE not in [one.photo for one in sure]


async def test_unknown_and_deleted(similarity: Similarity) -> None:
    with pytest.raises(PhotoNotFound):
        await similarity.similar(UNKNOWN, k=5)
    with pytest.raises(PhotoDeleted):
        await similarity.similar(GONE, k=5)
    assert await similarity.similar(JUNK, k=5) == ()
    assert await similarity.links(UNKNOWN) == ()


async def test_similar_to_an_image_that_is_not_stored(similarity: Similarity) -> None:
    found = await similarity.similar_to(DISGUISES["mirrored"](pixels("astronaut.png")), k=10)
    assert [(one.photo, one.relation.value) for one in found[:2]] == [
        (ASTRONAUT, "copy"),
        (SMALLER, "copy"),
    ]
    assert "from" not in found[0].evidence
    exact = await similarity.similar_to(sample("astronaut.png"), k=2)
    assert {(one.photo, one.relation.value) for one in exact} == {
        (ASTRONAUT, "duplicate"),
        (TWIN, "duplicate"),
    }
    with pytest.raises(UnsupportedMedia):
        await similarity.similar_to(b"no image", k=5)


async def test_words_find_nothing_without_a_model_that_knows_them(similarity: Similarity) -> None:
    with pytest.raises(SearchNotConfigured):
        await similarity.search("a red car", k=5)
    with pytest.raises(InvalidRequest):
        await similarity.search(" ", k=5)


async def test_links_of_a_photo_and_all_links(similarity: Similarity) -> None:
    links = await similarity.links(ASTRONAUT)
    assert [(link.a, link.b, link.relation.value) for link in links] == [
        (ASTRONAUT, TWIN, "duplicate"),
        (ASTRONAUT, SMALLER, "copy"),
    ]
    first = await similarity.all_links(relation=None, cursor=None, limit=1)
    assert (len(first.links), first.total) == (1, 2)
    second = await similarity.all_links(relation=None, cursor=first.next_cursor, limit=1)
    assert second.next_cursor is None
    assert {first.links[0].b, second.links[0].b} == {SMALLER, TWIN}
    copies = await similarity.all_links(relation=Relation.COPY, cursor=None, limit=10)
    assert [link.b for link in copies.links] == [SMALLER]
    with pytest.raises(InvalidRequest):
        await similarity.all_links(relation=None, cursor="elsewhere", limit=10)


async def test_groups_and_the_best_of_one(similarity: Similarity) -> None:
    page = await similarity.groups(relation=None, cursor=None, limit=10)
    assert [group.photos for group in page.groups] == [(ASTRONAUT, SMALLER, TWIN)]
    assert (page.groups[0].best, page.total, page.next_cursor) == (ASTRONAUT, 1, None)
    duplicates = await similarity.groups(relation=Relation.DUPLICATE, cursor=None, limit=10)
    assert [group.photos for group in duplicates.groups] == [(ASTRONAUT, TWIN)]
    assert (await similarity.group_of(SMALLER)).photos == (ASTRONAUT, SMALLER, TWIN)
    assert (await similarity.group_of(COFFEE)).photos == (COFFEE,)
    with pytest.raises(PhotoNotFound):
        await similarity.group_of(UNKNOWN)
    with pytest.raises(InvalidRequest):
        await similarity.groups(relation=Relation.SIMILAR, cursor=None, limit=10)


async def test_verdicts(similarity: Similarity) -> None:
    link = await similarity.set_verdict(SMALLER, ASTRONAUT, Verdict.DIFFERENT)
    assert link is not None
    assert (link.a, link.b, link.verdict) == (ASTRONAUT, SMALLER, Verdict.DIFFERENT)
    assert (await similarity.group_of(SMALLER)).photos == (SMALLER,)
    assert SMALLER not in [one.photo for one in await similarity.similar(ASTRONAUT, k=10)]
    link = await similarity.set_verdict(ASTRONAUT, COFFEE, Verdict.SAME)
    assert link is not None
    assert (await similarity.group_of(COFFEE)).photos == (ASTRONAUT, TWIN, COFFEE)
    page = await similarity.verdicts(cursor=None, limit=1)
    assert [(one.a, one.b, one.verdict) for one in page.verdicts] == [
        (ASTRONAUT, SMALLER, Verdict.DIFFERENT)
    ]
    page = await similarity.verdicts(cursor=page.next_cursor, limit=1)
    assert [(one.a, one.b, one.verdict) for one in page.verdicts] == [(ASTRONAUT, COFFEE, Verdict.SAME)]
    assert page.next_cursor is None
    assert await similarity.set_verdict(ASTRONAUT, COFFEE, None) is None
    # Said of a pair that nothing links: there is no link to show it, and it counts all the same.
    assert await similarity.set_verdict(ASTRONAUT, COFFEE, Verdict.DIFFERENT) is None
    assert len((await similarity.verdicts(cursor=None, limit=10)).verdicts) == 2
    with pytest.raises(InvalidRequest):
        await similarity.verdicts(cursor="4.x", limit=10)
    with pytest.raises(InvalidRequest):
        await similarity.set_verdict(COFFEE, COFFEE, Verdict.SAME)
    for verdict in (*Verdict, None):
        with pytest.raises(PhotoDeleted):
            await similarity.set_verdict(GONE, COFFEE, verdict)


async def test_status_and_rebuild(similarity: Similarity, local: LocalSimilarity) -> None:
    before = await similarity.similar(ASTRONAUT, k=10)
    await similarity.rebuild()
    await local.caught_up()
    status = await similarity.status()
    assert (status.trained, status.total_indexed, status.undecodable) == (True, 4, 1)
    assert (status.embedder, status.embedded, status.rebuilding) == ("builtin/1", 3, None)
    assert await similarity.similar(ASTRONAUT, k=10) == before


async def ask(server: AppServer, path: str, **options: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(server.url + path, **options) as answer:
        return answer.status, await answer.json()


async def test_the_wire_contract(local: LocalSimilarity) -> None:
    async with AppServer(similarity_application(local)) as server:
        status, body = await ask(server, f"/similar/{ASTRONAUT}?k=5")
        assert status == 200
        assert body["photo_id"] == ASTRONAUT
        assert [one["photo_id"] for one in body["similar"]] == [TWIN, SMALLER, COFFEE]
        assert all(isinstance(one["distance"], float) for one in body["similar"])
        status, body = await ask(server, "/health")
        assert (status, body["status"], body["service"]) == (200, "ok", "similarity")
        assert (body["trained"], body["total_indexed"], body["embedder"]) == (True, 4, "builtin/1")
        assert "hayloft models" in body["embedder_hint"]
        status, body = await ask(server, f"/similar/{UNKNOWN}")
        assert (status, body["code"]) == (404, "photo_not_found")
        for query in ("k=0", "k=nothing", "relation=cousin"):
            status, body = await ask(server, f"/similar/{ASTRONAUT}?{query}")
            assert (status, body["code"]) == (400, "invalid_request")


async def test_a_peer_that_only_keeps_the_contract_is_understood() -> None:
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/similar/{photo_id}")
    async def similar(photo_id: int) -> dict[str, Any]:
        return {"photo_id": photo_id, "similar": [{"photo_id": 5, "distance": 0.25}]}

    async with AppServer(app) as server:
        client = SimilarityClient(server.url)
        (found,) = await client.similar(PhotoId(1), k=5)
        await client.close()
    assert (found.photo, found.distance, found.relation) == (5, 0.25, Relation.SIMILAR)
