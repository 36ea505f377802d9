"""Groups out of pairs: components, people's verdicts, and the best photo of a group."""

from hypothesis import given
from hypothesis import strategies as st

from hayloft.similarity.groups import Edge, Member, View, best, cropped, group
from hayloft.types import Relation

IDS = st.integers(0, 14)
PAIRS = st.tuples(IDS, IDS).filter(lambda pair: pair[0] < pair[1])
EDGES = st.lists(
    st.builds(
        lambda pair, relation, score: Edge(a=pair[0], b=pair[1], relation=relation, score=score),
        PAIRS,
        st.sampled_from([None, Relation.DUPLICATE, Relation.COPY]),
        st.sampled_from([0.5, 0.9, 1.0]),
    ),
    max_size=25,
)


def components(edges: list[Edge]) -> set[frozenset[int]]:
    """By flooding, the slow and obvious way."""
    around: dict[int, set[int]] = {}
    for edge in edges:
        around.setdefault(edge.a, set()).add(edge.b)
        around.setdefault(edge.b, set()).add(edge.a)
    found = set()
    for start in around:
        seen, frontier = {start}, [start]
        while frontier:
            for other in around[frontier.pop()] - seen:
                seen.add(other)
                frontier.append(other)
        found.add(frozenset(seen))
    return found


def sets(groups: dict[int, int]) -> set[frozenset[int]]:
    members: dict[int, set[int]] = {}
    for photo, name in groups.items():
        members.setdefault(name, set()).add(photo)
    assert all(name == min(photos) for name, photos in members.items())
    return {frozenset(photos) for photos in members.values()}


@given(EDGES)
def test_without_verdicts_groups_are_components(edges: list[Edge]) -> None:
    assert sets(group(edges, set())) == components(edges)


@given(EDGES, st.sets(PAIRS, max_size=8))
def test_verdicts_win(edges: list[Edge], different: set[tuple[int, int]]) -> None:
    groups = group(edges, different)
    for a, b in different:
        assert a not in groups or groups[a] != groups.get(b)
    # Nothing is joined that is not connected, and whatever stays apart does so for a verdict's sake.
    whole = components(edges)
    for photos in sets(groups):
        assert len(photos) > 1
        assert any(photos <= component for component in whole)
    for edge in edges:
        one, other = groups.get(edge.a, edge.a), groups.get(edge.b, edge.b)
        if one != other:
            ones = {p for p, g in groups.items() if g == one} | {edge.a}
            others = {p for p, g in groups.items() if g == other} | {edge.b}
            assert any((min(a, b), max(a, b)) in different for a in ones for b in others)


@given(EDGES, st.sets(PAIRS, max_size=8), st.randoms())
def test_the_order_of_edges_does_not_matter(edges, different, random) -> None:
    shuffled = edges.copy()
    random.shuffle(shuffled)
    assert group(shuffled, different) == group(edges, different)


def test_a_persons_word_is_taken_before_a_computations() -> None:
    edges = [
        Edge(a=1, b=2, relation=Relation.DUPLICATE),
        Edge(a=2, b=3, relation=None),
    ]
    assert group(edges, {(1, 3)}) == {2: 2, 3: 2}


def member(photo: int, **values: float) -> Member:
    facts = {"width": 100, "height": 100, "sharpness": 50.0, "size_bytes": 1000, "position": photo} | values
    return Member(photo=photo, **facts)


def test_the_fullest_view_is_best_then_the_largest_then_the_sharpest_then_the_oldest() -> None:
    assert best([member(1, cropped=0.5, width=900), member(2)]) == 2
    assert best([member(1), member(2, width=200)]) == 2
    assert best([member(1, sharpness=10.0), member(2)]) == 2
    assert best([member(1, sharpness=49.0), member(2)]) == 1
    assert best([member(1, size_bytes=900), member(2)]) == 2
    assert best([member(2), member(1)]) == 1


def test_crops_of_crops_add_up() -> None:
    views = [
        View(one=1, other=2, share_of_one=0.5, share_of_other=1.0),  # 2 shows half of what 1 shows
        View(one=3, other=2, share_of_one=1.0, share_of_other=0.5),  # 3 shows half of what 2 shows
    ]
    assert cropped(views) == {1: 0.0, 2: 0.5, 3: 0.75}
    assert cropped([]) == {}
