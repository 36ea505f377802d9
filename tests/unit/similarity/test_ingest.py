"""Photos in, links out: duplicates, copies, what cannot be decoded, and deletions at every moment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from hayloft.errors import FormatTooNew, PhotoDeleted, PhotoNotFound, ReplicasFailed
from hayloft.similarity import announcer
from hayloft.similarity.fingerprint import Description
from hayloft.similarity.ingest import Ingest
from hayloft.similarity.local import LocalSimilarity
from hayloft.similarity.migrations import MIGRATIONS, open_upgraded
from hayloft.similarity.schema import metadata
from hayloft.types import Event, EventKind, PhotoId, Relation, Verdict
from similarity_samples import DISGUISES, InlineDecoder, World, jpeg, pixels, sample


@pytest_asyncio.fixture
async def world() -> World:
    return World()


@pytest_asyncio.fixture
async def similarity(world: World, tmp_path: Path) -> AsyncIterator[LocalSimilarity]:
    opened = await world.open(tmp_path)
    yield opened
    await opened.close()


def rows(folder: Path) -> dict[str, list[tuple]]:
    """Everything recorded, except numbers that only say in which order."""
    engine = create_engine(f"sqlite:///{folder}/similarity.sqlite")
    wanted = {
        "photos": "SELECT * FROM seen_photos ORDER BY photo",
        "fingerprints": "SELECT photo, method, quality, data FROM fingerprints ORDER BY photo, method",
        "links": "SELECT a, b, relation, score, method, evidence, announced FROM links ORDER BY a, b",
        "verdicts": "SELECT a, b, verdict FROM verdicts ORDER BY a, b",
    }
    with engine.connect() as connection:
        found = {name: [tuple(row) for row in connection.execute(text(q))] for name, q in wanted.items()}
    engine.dispose()
    return found


async def neighbours(similarity: LocalSimilarity, photo: int) -> dict[int, str]:
    found = await similarity.similar(PhotoId(photo), k=50)
    assert [one.distance for one in found] == sorted(one.distance for one in found)
    return {one.photo: one.relation.value for one in found}


@pytest.mark.parametrize("disguise", DISGUISES)
async def test_a_disguise_is_linked_as_a_copy(world, similarity, disguise) -> None:
    await similarity.ingest(world.uploaded(1, sample("astronaut.png")))
    await similarity.ingest(world.uploaded(2, sample("coffee.png")))
    await similarity.ingest(world.uploaded(3, DISGUISES[disguise](pixels("astronaut.png"))))
    assert await neighbours(similarity, 3) == {1: "copy"}
    (link,) = await similarity.links(PhotoId(1))
    assert (link.a, link.b, link.relation) == (1, 3, Relation.COPY)
    assert 0.5 < link.score <= 1.0
    assert (link.evidence["from"], link.evidence["to"]) == (3, 1)
    assert await similarity.links(PhotoId(2)) == ()


async def test_a_crop_is_a_copy_and_the_whole_photo_is_the_better_one(world, similarity) -> None:
    image = pixels("astronaut.png")
    await similarity.ingest(world.uploaded(1, jpeg(image[60:420, 60:420])))
    await similarity.ingest(world.uploaded(2, jpeg(image)))
    assert await neighbours(similarity, 1) == {2: "copy"}
    group = await similarity.group_of(PhotoId(1))
    assert (group.photos, group.best) == ((1, 2), 2)


async def test_equal_bytes_are_a_star_of_duplicates_and_cost_one_decode(world, tmp_path) -> None:
    decoder = InlineDecoder()
    similarity = await world.open(tmp_path, decoder=decoder)
    for photo in (5, 3, 9, 4):
        await similarity.ingest(world.uploaded(photo, sample("chelsea.png")))
    await similarity.ingest(world.uploaded(7, DISGUISES["half"](pixels("chelsea.png"))))
    assert decoder.described == 2
    links = (await similarity.all_links(relation=Relation.DUPLICATE, cursor=None, limit=10)).links
    assert [(link.a, link.b) for link in links] == [(3, 5), (5, 9), (4, 5)]
    assert await neighbours(similarity, 4) == {3: "duplicate", 5: "duplicate", 9: "duplicate", 7: "copy"}
    page = await similarity.groups(relation=None, cursor=None, limit=10)
    assert [group.photos for group in page.groups] == [(3, 4, 5, 7, 9)]
    page = await similarity.groups(relation=Relation.DUPLICATE, cursor=None, limit=10)
    assert [group.photos for group in page.groups] == [(3, 4, 5, 9)]
    await similarity.close()


async def test_the_same_events_again_change_nothing(world, similarity, tmp_path) -> None:
    events = [
        world.uploaded(1, sample("rocket.jpg")),
        world.uploaded(2, sample("rocket.jpg")),
        world.uploaded(3, DISGUISES["mirrored"](pixels("rocket.jpg"))),
        world.uploaded(4, b"not an image at all"),
        world.uploaded(5, b"not an image at all"),
        world.removed(2),
    ]
    handle = Ingest(similarity).handle
    for event in events:
        await handle(event)
    before, told = rows(tmp_path), len(world.announced)
    for event in [*events, *reversed(events)]:
        await handle(event)
    assert rows(tmp_path) == before
    assert len(world.announced) == told


async def test_what_cannot_be_decoded_is_marked_skipped_and_still_linked_by_its_bytes(
    world, similarity
) -> None:
    await similarity.ingest(world.uploaded(1, b"junk" * 100))
    await similarity.ingest(world.uploaded(2, b"junk" * 100))
    status = await similarity.status()
    assert (status.undecodable, status.total_indexed, status.trained) == (2, 0, False)
    assert await neighbours(similarity, 1) == {2: "duplicate"}


async def test_links_are_announced_once_each(world, similarity) -> None:
    await similarity.ingest(world.uploaded(1, sample("rocket.jpg")))
    await similarity.ingest(world.uploaded(2, sample("rocket.jpg")))
    ((kind, photo, payload),) = world.announced
    assert (kind, photo) == (EventKind.LINKED, 2)
    link = {"a": 1, "b": 2, "relation": "duplicate", "score": 1.0, "method": "sha256"}
    assert payload == {"links": [link]}


async def test_all_links_that_a_photo_brings_are_one_event(world, similarity, monkeypatch) -> None:
    monkeypatch.setattr(announcer, "BATCH", 3)
    for photo in range(1, 6):
        await similarity.ingest(world.uploaded(photo, sample("rocket.jpg")))
    assert [photo for _, photo, _ in world.announced] == [2, 3, 4, 5]
    assert all(told["links"] for _, _, told in world.announced)
    pairs = [(link["a"], link["b"]) for _, _, told in world.announced for link in told["links"]]
    assert len(pairs) == len(set(pairs))
    # News of several photos at once, some of them too many for one batch.
    world.announced.clear()
    append = similarity._announcer._append_event

    async def away(*_: object) -> int:
        raise ReplicasFailed

    similarity._announcer._append_event = away
    for photo in range(6, 9):
        with contextlib.suppress(ReplicasFailed):
            await similarity.ingest(world.uploaded(photo, sample("rocket.jpg")))
    similarity._announcer._append_event = append
    await similarity._announcer.announce()
    said = [photo for _, photo, _ in world.announced]
    assert said == [6, 7, 8]


async def test_a_link_whose_news_was_lost_is_announced_later(world, similarity) -> None:
    await similarity.ingest(world.uploaded(1, sample("rocket.jpg")))
    append, world.announced = similarity._announcer._append_event, []

    async def away(*_: object) -> int:
        raise ReplicasFailed

    similarity._announcer._append_event = away
    event = world.uploaded(2, sample("rocket.jpg"))
    with pytest.raises(ReplicasFailed):
        await similarity.ingest(event)
    similarity._announcer._append_event = append
    await similarity.ingest(event)
    assert [photo for _, photo, _ in world.announced] == [2]


async def test_unknown_and_deleted_photos(world, similarity) -> None:
    with pytest.raises(PhotoNotFound):
        await similarity.similar(PhotoId(1), k=5)
    await similarity.ingest(world.uploaded(1, sample("rocket.jpg")))
    await similarity.forget(PhotoId(1))
    with pytest.raises(PhotoDeleted):
        await similarity.similar(PhotoId(1), k=5)
    assert await similarity.links(PhotoId(1)) == ()


async def test_a_deletion_before_the_upload_is_ingested_leaves_nothing(world, similarity, tmp_path) -> None:
    await similarity.ingest(world.uploaded(1, sample("rocket.jpg")))
    upload = world.uploaded(2, DISGUISES["half"](pixels("rocket.jpg")))
    await similarity.forget(PhotoId(2))
    await similarity.ingest(upload)
    found = rows(tmp_path)
    assert {row[0] for row in found["fingerprints"]} == {1}
    assert found["links"] == []


class SlowDecoder(InlineDecoder):
    """Holds every photo until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()

    async def describe(self, data: bytes | memoryview, *, view=None) -> Description:
        self.started.set()
        await self.go_on.wait()
        return await super().describe(data, view=view)


async def test_a_deletion_while_the_photo_is_decoded_leaves_nothing(world, tmp_path) -> None:
    decoder = SlowDecoder()
    similarity = await world.open(tmp_path, decoder=decoder)
    decoder.go_on.set()
    await similarity.ingest(world.uploaded(1, sample("rocket.jpg")))
    decoder.go_on.clear()
    decoder.started.clear()
    task = asyncio.create_task(
        similarity.ingest(world.uploaded(2, DISGUISES["half"](pixels("rocket.jpg"))))
    )
    await decoder.started.wait()
    await similarity.forget(PhotoId(2))
    decoder.go_on.set()
    await task
    await similarity.ingest(world.uploaded(3, DISGUISES["grey"](pixels("rocket.jpg"))))
    assert await neighbours(similarity, 3) == {1: "copy"}
    assert {row[0] for row in rows(tmp_path)["fingerprints"]} == {1, 3}
    await similarity.close()


async def test_deleting_the_original_hands_everything_to_its_oldest_twin(
    world, similarity, tmp_path
) -> None:
    await similarity.ingest(world.uploaded(1, sample("chelsea.png")))
    await similarity.ingest(world.uploaded(8, sample("chelsea.png")))
    await similarity.ingest(world.uploaded(4, sample("chelsea.png")))
    await similarity.ingest(world.uploaded(6, DISGUISES["rotated_90"](pixels("chelsea.png"))))
    await similarity.forget(PhotoId(1))
    assert await neighbours(similarity, 4) == {8: "duplicate", 6: "copy"}
    links = (await similarity.all_links(relation=None, cursor=None, limit=10)).links
    assert {(link.a, link.b): link.relation.value for link in links} == {
        (4, 8): "duplicate",
        (6, 8): "copy",
    }
    assert all(1 not in (link.evidence["from"], link.evidence["to"]) for link in links)
    assert (await similarity.group_of(PhotoId(8))).photos == (4, 6, 8)
    # The heir is found by what comes later, too.
    await similarity.ingest(world.uploaded(9, DISGUISES["grey"](pixels("chelsea.png"))))
    assert (await neighbours(similarity, 9))[8] == "copy"
    assert {row[0] for row in rows(tmp_path)["fingerprints"]} == {6, 8, 9}


async def test_after_the_last_deletion_only_ids_remain(world, similarity, tmp_path) -> None:
    for photo, data in enumerate((sample("coffee.png"), sample("coffee.png"), b"junk"), start=1):
        await similarity.ingest(world.uploaded(photo, data))
    await similarity.ingest(world.uploaded(4, DISGUISES["half"](pixels("coffee.png"))))
    await similarity.set_verdict(PhotoId(1), PhotoId(4), Verdict.SAME)
    for photo in (4, 1, 2, 3):
        await similarity.forget(PhotoId(photo))
    found = rows(tmp_path)
    assert (found["fingerprints"], found["links"], found["verdicts"]) == ([], [], [])
    assert all(row[3] is None for row in found["photos"])
    assert (await similarity.groups(relation=None, cursor=None, limit=9)).total == 0


async def test_everything_is_there_after_a_restart(world, tmp_path) -> None:
    similarity = await world.open(tmp_path)
    await similarity.ingest(world.uploaded(1, sample("coffee.png")))
    await similarity.set_verdict(PhotoId(1), PhotoId(99), Verdict.DIFFERENT)
    await similarity.close()
    similarity = await world.open(tmp_path)
    await similarity.ingest(world.uploaded(2, DISGUISES["webp"](pixels("coffee.png"))))
    assert await neighbours(similarity, 2) == {1: "copy"}
    found = await similarity.similar_to(DISGUISES["mirrored"](pixels("coffee.png")), k=5)
    assert [one.photo for one in found] == [1, 2]
    await similarity.close()


async def test_an_event_without_facts_is_ingested_by_reading_the_photo(world, similarity) -> None:
    event = world.uploaded(1, sample("coffee.png"))
    bare = Event(position=1, kind=event.kind, photo=event.photo, at_ms=1, payload={"replicas": ["a"]})
    await similarity.ingest(bare)
    await similarity.ingest(world.uploaded(2, sample("coffee.png")))
    assert await neighbours(similarity, 2) == {1: "duplicate"}


async def test_what_is_not_about_originals_is_passed_by(world, similarity) -> None:
    handle = Ingest(similarity).handle
    event = world.uploaded(1, sample("coffee.png"))
    rendition = Event(
        position=1,
        kind=event.kind,
        photo=event.photo,
        at_ms=1,
        payload={**event.payload, "alt_key": "thumb"},
    )
    await handle(rendition)
    await handle(Event(position=2, kind=EventKind.LINKED, photo=PhotoId(1), at_ms=1))
    assert (await similarity.status()).total_indexed == 0


async def test_photos_that_arrive_together_meet_each_other(world, similarity) -> None:
    events = [world.uploaded(i, make(pixels("astronaut.png"))) for i, make in enumerate(DISGUISES.values())]
    twins = [world.uploaded(100 + i, sample("astronaut.png")) for i in range(4)]
    await asyncio.gather(*(similarity.ingest(event) for event in events + twins))
    group = await similarity.group_of(PhotoId(0))
    assert group.photos == (*range(len(DISGUISES)), 100, 101, 102, 103)


async def test_tables_are_those_that_migrations_make(tmp_path: Path) -> None:
    database = await open_upgraded(f"sqlite:///{tmp_path}/s.sqlite")
    options = {"version_table": MIGRATIONS.version_table}
    assert not await database.read(
        lambda c: compare_metadata(MigrationContext.configure(c, opts=options), metadata)
    )
    future = text(f"UPDATE {MIGRATIONS.version_table} SET version_num = 's9999'")
    await database.write(lambda c: c.execute(future))
    await database.close()
    with pytest.raises(FormatTooNew):
        await open_upgraded(f"sqlite:///{tmp_path}/s.sqlite")
