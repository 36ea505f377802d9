"""Several similarity processes over one PostgreSQL: what each must know of what the others do.

Each service has its own indexes, connections and folder, as processes have; the database alone is shared.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pytest
from sqlalchemy.engine import make_url

from hayloft.directory import migrations as directory_migrations
from hayloft.errors import PhotoDeleted
from hayloft.similarity import alike, shelf
from hayloft.similarity.embedders.builtin import BuiltinEmbedder
from hayloft.similarity.embedders.names import made
from hayloft.similarity.embedders.onnx import OnnxEmbedder
from hayloft.similarity.fingerprint import Description
from hayloft.similarity.local import LocalSimilarity
from hayloft.similarity.migrations import MIGRATIONS
from hayloft.types import PhotoId, Relation
from model_samples import COLOURS, picture_of, save_colours
from postgres_server import PostgresServer
from similarity_samples import DISGUISES, NAMES, InlineDecoder, World, pixels, sample

Open = Callable[..., Any]

WAITING_FOR_READERS = (2 + 0.95) / 3
"""Where a rebuild stands that has made the last of three indexes and cannot do away with the old one."""

END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = '{}' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.empty_database()


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture
async def start(world: World, tmp_path: Path, url: str) -> AsyncIterator[Open]:
    """Starts a service with a folder of its own name."""
    running: list[LocalSimilarity] = []

    async def start(name: str, **options: Any) -> LocalSimilarity:
        options.setdefault("embedder", BuiltinEmbedder())
        similarity = await world.open(tmp_path / name, url=url, **options)
        running.append(similarity)
        return similarity

    yield start
    for similarity in running:
        await similarity.close()


async def ask(url: str, query: str, *, before: str = "SELECT 1") -> list[Any]:
    """What the database says, past the product."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    try:
        await connection.execute(before)
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def neighbours(similarity: LocalSimilarity, photo: int) -> dict[int, str]:
    found = await similarity.similar(PhotoId(photo), k=50)
    return {one.photo: one.relation.value for one in found}


async def test_photos_taken_in_at_the_same_moment_by_two_meet(world: World, start: Open) -> None:
    one, other = await start("one"), await start("other")
    first = [world.uploaded(i, sample(name)) for i, name in enumerate(NAMES, start=1)]
    second = [world.uploaded(10 + i, DISGUISES["half"](pixels(n))) for i, n in enumerate(NAMES, start=1)]
    for mine, theirs in zip(first, second, strict=True):
        await asyncio.gather(one.ingest(mine), other.ingest(theirs))
    for photo in range(1, len(NAMES) + 1):
        (link,) = await one.links(PhotoId(photo))
        assert (link.a, link.b, link.relation) == (photo, 10 + photo, Relation.COPY)
        assert (await other.group_of(PhotoId(photo))).photos == (photo, 10 + photo)


async def test_one_photo_in_many_guises_through_two_processes_is_one_group(
    world: World, start: Open
) -> None:
    one, other = await start("one"), await start("other")
    guises = [*DISGUISES.values(), *[lambda _: sample("astronaut.png")] * 3]
    events = [world.uploaded(i, make(pixels("astronaut.png"))) for i, make in enumerate(guises)]
    await asyncio.gather(*((one, other)[i % 2].ingest(event) for i, event in enumerate(events)))
    assert (await one.group_of(PhotoId(0))).photos == tuple(range(len(events)))
    page = await other.all_links(relation=Relation.DUPLICATE, cursor=None, limit=99)
    assert len(page.links) == 2  # three with the same bytes: a star
    told = {(link["a"], link["b"]) for _, _, payload in world.announced for link in payload["links"]}
    page = await one.all_links(relation=None, cursor=None, limit=99)
    assert told == {(link.a, link.b) for link in page.links}


async def test_what_one_deletes_the_other_neither_finds_nor_links(world: World, start: Open) -> None:
    one, other = await start("one"), await start("other")
    await one.ingest(world.uploaded(1, sample("coffee.png")))
    await other.ingest(world.uploaded(2, sample("rocket.jpg")))
    assert 1 in await neighbours(other, 2)
    await other.forget(PhotoId(1))
    with pytest.raises(PhotoDeleted):
        await one.similar(PhotoId(1), k=5)
    await one.ingest(world.uploaded(3, DISGUISES["half"](pixels("coffee.png"))))
    assert await neighbours(one, 3) == {2: "similar"}
    assert await one.links(PhotoId(3)) == ()
    for similarity in (one, other):
        assert PhotoId(1) not in similarity._repertoire.methods[0]._copies


async def test_the_heir_of_a_deleted_original_is_found_by_all(world: World, start: Open) -> None:
    one, other = await start("one"), await start("other")
    await one.ingest(world.uploaded(1, sample("chelsea.png")))
    await other.ingest(world.uploaded(2, sample("chelsea.png")))
    await one.forget(PhotoId(1))
    await other.ingest(world.uploaded(3, DISGUISES["mirrored"](pixels("chelsea.png"))))
    assert await neighbours(other, 3) == {2: "copy"}


async def test_a_deletion_in_one_while_the_other_decodes_leaves_nothing(
    world: World, start: Open, url: str
) -> None:
    class Held(InlineDecoder):
        started, go_on = asyncio.Event(), asyncio.Event()

        async def describe(self, data: Any, *, view: Any = None) -> Description:
            self.started.set()
            await self.go_on.wait()
            return await super().describe(data, view=view)

    one, other = await start("one"), await start("other", decoder=Held())
    await one.ingest(world.uploaded(1, sample("coffee.png")))
    taking_in = asyncio.create_task(
        other.ingest(world.uploaded(2, DISGUISES["half"](pixels("coffee.png"))))
    )
    await Held.started.wait()
    await one.forget(PhotoId(2))
    await one.forget(PhotoId(7))  # overtakes its upload
    Held.go_on.set()
    await taking_in
    await other.ingest(world.uploaded(7, DISGUISES["grey"](pixels("coffee.png"))))
    for table, column in (("fingerprints", "photo"), ("vectors", "photo"), ("links", "b")):
        rows = await ask(url, f"SELECT {column} FROM {table}")
        assert {row[0] for row in rows} <= {1}, table
    assert await neighbours(one, 1) == {}


async def test_a_process_that_was_away_catches_up_from_its_own_index(
    world: World, start: Open, tmp_path: Path, url: str
) -> None:
    one = await start("one")
    await one.ingest(world.uploaded(1, sample("coffee.png")))
    await one.ingest(world.uploaded(2, sample("rocket.jpg")))
    away = await world.open(tmp_path / "away", url=url, embedder=BuiltinEmbedder())
    await away.close()
    await one.forget(PhotoId(1))
    await one.ingest(world.uploaded(3, sample("chelsea.png")))
    back = await start("away")
    for photo, name in ((4, "coffee.png"), (5, "chelsea.png"), (6, "rocket.jpg")):
        await back.ingest(world.uploaded(photo, DISGUISES["rotated_90"](pixels(name))))
    links = (await back.all_links(relation=Relation.COPY, cursor=None, limit=9)).links
    assert {(link.a, link.b) for link in links} == {(3, 5), (2, 6)}


async def test_another_embedder_takes_over_and_the_old_index_goes(
    world: World, start: Open, tmp_path: Path, url: str
) -> None:
    similarity = await start("one")
    for photo, name in enumerate(COLOURS, start=1):
        await similarity.ingest(world.uploaded(photo, picture_of(name)))
    await similarity.use(OnnxEmbedder(save_colours(tmp_path / "colours.onnx")))
    await similarity.caught_up()
    for photo, name in enumerate(COLOURS, start=1):
        assert (await similarity.search(name, k=1))[0].photo == photo
    methods = await ask(url, "SELECT DISTINCT method FROM vectors")
    assert [row[0].split("/")[1] for row in methods] == ["colours"]
    indexes = await ask(url, "SELECT indexdef FROM pg_indexes WHERE tablename = 'vectors'")
    assert sum("hnsw" in row[0] for row in indexes) == 1


async def test_vectors_that_were_lost_come_back_from_what_is_recorded(
    world: World, start: Open, url: str
) -> None:
    similarity = await start("one")
    for photo, name in enumerate(NAMES, start=1):
        await similarity.ingest(world.uploaded(photo, sample(name)))
    before = await similarity.similar(PhotoId(1), k=9)
    assert len(before) == len(NAMES) - 1
    await ask(url, "DELETE FROM vectors WHERE photo > 2")
    await similarity.rebuild()
    await similarity.caught_up()
    assert await similarity.similar(PhotoId(1), k=9) == before


async def test_a_rebuild_says_how_far_it_is_in_making_the_index(
    world: World, start: Open, url: str
) -> None:
    """An index is not done before all who might still use the old one are gone: here, somebody stays."""
    similarity = await start("one")
    for photo, name in enumerate(NAMES, start=1):
        await similarity.ingest(world.uploaded(photo, sample(name)))
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    reader = await asyncpg.connect(plain)
    told: list[float] = []
    try:
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM links")
        await similarity.rebuild()
        async with asyncio.timeout(60):
            while not told or told[-1] < WAITING_FOR_READERS:
                await asyncio.sleep(0.01)
                now = (await similarity.status()).rebuilding
                assert now is not None
                told.append(now)
    finally:
        await reader.close()
    await similarity.caught_up()
    assert told == sorted(told)
    assert told[-1] < 1
    assert (await similarity.status()).rebuilding is None


async def test_what_a_rebuild_that_was_broken_off_left_behind_goes(
    world: World, start: Open, url: str
) -> None:
    similarity = await start("one")
    await similarity.ingest(world.uploaded(1, sample(NAMES[0])))
    index = similarity._repertoire._alike[0].index._index
    await ask(url, f"CREATE INDEX {index}_ccnew ON vectors (photo)")
    await ask(url, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}_ccnew'::regclass")
    await similarity.rebuild()
    await similarity.caught_up()
    left = await ask(url, "SELECT indexname FROM pg_indexes WHERE tablename = 'vectors'")
    assert {row[0] for row in left} == {"vectors_pkey", index}


async def test_a_photo_taken_in_again_by_the_same_method_keeps_one_vector(
    world: World, start: Open, url: str
) -> None:
    similarity = await start("one")
    rng = np.random.default_rng(1)
    name = "onnx/tried/1"
    first, second = (alike.fingerprint_of(name, rng.normal(size=8)) for _ in range(2))
    await similarity._database.write(lambda connection: shelf.put(connection, PhotoId(1), first))
    put = await similarity._database.write(lambda connection: shelf.put(connection, PhotoId(1), second))
    (row,) = await ask(url, f"SELECT change, photo, vector::text FROM vectors WHERE method = '{name}'")
    assert (row["change"], row["photo"]) == (put.change, 1)
    kept = np.array(json.loads(row["vector"]), np.float32)
    assert np.array_equal(kept, alike.vector_of(second))


async def test_searches_live_through_a_connection_that_breaks(world: World, start: Open, url: str) -> None:
    similarity = await start("one")
    for photo, name in enumerate(NAMES, start=1):
        await similarity.ingest(world.uploaded(photo, sample(name)))
    before = await similarity.similar(PhotoId(1), k=9)
    name = make_url(url).database
    await ask(url, END_OTHERS.format(name))
    assert await similarity.similar(PhotoId(1), k=9) == before
    assert await similarity.similar(PhotoId(1), k=70) == before  # more thorough, on the same connection
    await similarity.ingest(world.uploaded(77, picture_of("red")))
    assert 77 in await neighbours(similarity, 1)


async def test_searches_go_through_the_index(world: World, start: Open, url: str) -> None:
    similarity = await start("one")
    index = similarity._repertoire._alike[0].index
    zeros = "ARRAY[" + ",".join(["0.5"] * index._dimensions) + "]"
    query = index._nearest.replace("$1", zeros).replace("$2", "5")
    # With so few rows the planner reads all of them; it must be able to do otherwise.
    plan = "\n".join(
        row[0] for row in await ask(url, f"EXPLAIN {query}", before="SET enable_seqscan = off")
    )
    assert f"Index Scan using {index._index}" in plan


@pytest.mark.parametrize("directory_first", [True, False])
def test_it_shares_the_database_with_a_directory(url: str, directory_first: bool) -> None:
    steps = [directory_migrations.upgrade, MIGRATIONS.upgrade]
    for upgrade in steps if directory_first else reversed(steps):
        upgrade(url)
    tables = asyncio.run(ask(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
    assert {"photos", "seen_photos", "vectors"} <= {row[0] for row in tables}


async def test_two_that_catch_up_with_a_new_embedder_share_the_work(
    world: World, start: Open, tmp_path: Path
) -> None:
    one, other = await start("one", decoder=InlineDecoder()), await start("other", decoder=InlineDecoder())
    photos = range(1, 41)
    for photo in photos:
        await one.ingest(world.uploaded(photo, picture_of(list(COLOURS)[photo % 5]) + bytes([photo])))
    model = save_colours(tmp_path / "colours.onnx")
    await asyncio.gather(one.use(OnnxEmbedder(model)), other.use(OnnxEmbedder(model)))
    await asyncio.gather(one.caught_up(), other.caught_up())
    assert (await one.status()).embedded == len(photos)
    assert len(await other.search("red", k=8)) == 8
    assert {name for name in await one._database.read(shelf.counts_by_method) if made(name)} == {
        one._repertoire.embedder_name
    }
