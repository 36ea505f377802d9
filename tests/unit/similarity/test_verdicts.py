"""People's verdicts win: over links, over groups, over whatever is computed later."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, insert

from hayloft.errors import InvalidRequest, PhotoDeleted
from hayloft.similarity import links, membership, records
from hayloft.similarity.grouping import regroup
from hayloft.similarity.groups import Edge, group
from hayloft.similarity.local import LocalSimilarity
from hayloft.similarity.schema import State, metadata, photos
from hayloft.types import Link, PhotoId, Relation, Verdict
from similarity_samples import DISGUISES, World, pixels, sample


@pytest_asyncio.fixture
async def world() -> World:
    return World()


@pytest_asyncio.fixture
async def similarity(world: World, tmp_path: Path) -> AsyncIterator[LocalSimilarity]:
    opened = await world.open(tmp_path)
    yield opened
    await opened.close()


async def members(similarity: LocalSimilarity, photo: int) -> tuple[int, ...]:
    return (await similarity.group_of(PhotoId(photo))).photos


async def test_different_cuts_a_copy_for_ever(world, similarity) -> None:
    await similarity.ingest(world.uploaded(1, sample("coffee.png")))
    await similarity.ingest(world.uploaded(2, DISGUISES["half"](pixels("coffee.png"))))
    link = await similarity.set_verdict(PhotoId(2), PhotoId(1), Verdict.DIFFERENT)
    assert link is not None
    assert link.verdict is Verdict.DIFFERENT
    assert await similarity.similar(PhotoId(1), k=5) == ()
    assert await members(similarity, 1) == (1,)
    # A third photo that is a copy of both does not bring them together.
    await similarity.ingest(world.uploaded(3, DISGUISES["grey"](pixels("coffee.png"))))
    assert 2 not in await members(similarity, 1)
    await similarity.set_verdict(PhotoId(1), PhotoId(2), None)
    assert await members(similarity, 1) == (1, 2, 3)


async def test_same_joins_what_no_computation_links(world, similarity) -> None:
    await similarity.ingest(world.uploaded(1, sample("coffee.png")))
    await similarity.ingest(world.uploaded(2, sample("rocket.jpg")))
    link = await similarity.set_verdict(PhotoId(1), PhotoId(2), Verdict.SAME)
    assert link is not None
    assert (link.relation, link.method, link.verdict) == (Relation.COPY, "verdict", Verdict.SAME)
    assert [one.photo for one in await similarity.similar(PhotoId(1), k=5)] == [2]
    assert await members(similarity, 2) == (1, 2)
    assert await similarity.set_verdict(PhotoId(1), PhotoId(2), None) is None
    assert await members(similarity, 2) == (2,)


async def test_a_verdict_may_come_before_the_photo(world, similarity) -> None:
    await similarity.set_verdict(PhotoId(1), PhotoId(2), Verdict.DIFFERENT)
    await similarity.ingest(world.uploaded(1, sample("coffee.png")))
    await similarity.ingest(world.uploaded(2, sample("coffee.png")))
    (link,) = await similarity.links(PhotoId(1))
    assert link.verdict is Verdict.DIFFERENT
    assert await members(similarity, 1) == (1,)


async def test_a_verdict_about_bytes_outlives_the_photo_it_was_given_on(world, similarity) -> None:
    await similarity.ingest(world.uploaded(1, sample("coffee.png")))
    await similarity.ingest(world.uploaded(2, DISGUISES["half"](pixels("coffee.png"))))
    await similarity.ingest(world.uploaded(3, sample("coffee.png")))
    await similarity.set_verdict(PhotoId(1), PhotoId(2), Verdict.DIFFERENT)
    await similarity.forget(PhotoId(1))
    assert await members(similarity, 3) == (3,)


async def test_a_verdict_on_one_photo_is_refused(similarity) -> None:
    with pytest.raises(InvalidRequest):
        await similarity.set_verdict(PhotoId(1), PhotoId(1), Verdict.SAME)


async def test_nothing_is_said_of_a_photo_that_was_deleted(world, similarity) -> None:
    """It would leave a link, and a verdict, to a photo of which nothing is to stay."""
    await similarity.ingest(world.uploaded(1, sample("coffee.png")))
    await similarity.ingest(world.uploaded(2, sample("rocket.jpg")))
    await similarity.forget(PhotoId(2))
    for verdict in (*Verdict, None):
        with pytest.raises(PhotoDeleted):
            await similarity.set_verdict(PhotoId(1), PhotoId(2), verdict)
    assert await similarity.links(PhotoId(1)) == ()
    assert (await similarity.verdicts(cursor=None, limit=9)).verdicts == ()


IDS = st.integers(1, 8)
PAIRS = st.tuples(IDS, IDS).filter(lambda pair: pair[0] < pair[1])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("link"), PAIRS, st.sampled_from(list(Relation))),
        st.tuples(st.just("verdict"), PAIRS, st.sampled_from([Verdict.SAME, Verdict.DIFFERENT, None])),
        st.tuples(st.just("unlink"), PAIRS, st.none()),
    ),
    max_size=25,
)


def apply(connection: Connection, step: tuple) -> None:
    kind, (a, b), value = step
    if kind == "verdict":
        links.set_verdict(connection, (PhotoId(a), PhotoId(b)), value, at_ms=0)
    elif kind == "link":
        link = Link(a=PhotoId(a), b=PhotoId(b), relation=value, score=0.9, method="test")
        links.put(connection, [link])
    else:
        known = links.between(connection, PhotoId(a), PhotoId(b))
        if known is not None and known.method == "test":
            links._replace(connection, (PhotoId(a), PhotoId(b)), None)
    regroup(connection, [PhotoId(a), PhotoId(b)])


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_groups_kept_up_to_date_are_those_made_anew(steps: list[tuple]) -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        for photo in range(1, 9):
            row = {**records.BLANK, "photo": photo, "state": State.INDEXED, "position": photo}
            connection.execute(insert(photos), {**row, "seen_at_ms": 0})
        for step in steps:
            apply(connection, step)
        verdicts = links.verdicts_of(connection, [PhotoId(i) for i in range(1, 9)])
        edges = [Edge(a=row.a, b=row.b, relation=None) for row in verdicts if row.verdict == "same"]
        found, _ = links.page(connection, relation=None, after=0, limit=1000)
        edges += [
            Edge(a=link.a, b=link.b, relation=link.relation, score=link.score)
            for _, link in found
            if link.relation is not Relation.SIMILAR
        ]
        different = {(row.a, row.b) for row in verdicts if row.verdict == "different"}
        wanted = group(edges, different)
        kept = {row.photo: row.group_id for row in records.rows_of(connection, list(range(1, 9)))}
        assert {photo: name for photo, name in kept.items() if name is not None} == wanted
        page = membership.page(connection, twins_only=False, after=0, limit=100)
        assert {g.group for g in page.groups} == set(wanted.values())
    engine.dispose()
