"""The Hamming index against a scan in plain Python."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hayloft.similarity import index as index_module
from hayloft.similarity.index import HammingIndex
from hayloft.types import PhotoId


def hash_near(base: bytes, flips: set[int]) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(base, np.uint8))
    bits[list(flips)] ^= 1
    return np.packbits(bits)


@given(
    st.lists(st.sets(st.integers(0, 255), max_size=60), min_size=1, max_size=40),
    st.integers(0, 64),
)
def test_finds_exactly_what_is_within_the_distance(flips: list[set[int]], distance: int) -> None:
    base = bytes(range(32))
    index = HammingIndex()
    for photo, flipped in enumerate(flips):
        index.add(PhotoId(photo), hash_near(base, flipped))
    query = np.frombuffer(base, np.uint8).reshape(1, 32)
    found = [(near.photo, near.distance_bits) for near in index.near(query, distance_bits_max=distance)]
    wanted = [(i, len(flipped)) for i, flipped in enumerate(flips) if len(flipped) <= distance]
    assert sorted(found) == sorted(wanted)
    assert [bits for _, bits in found] == sorted(bits for _, bits in found)


def test_the_nearest_query_is_named() -> None:
    index = HammingIndex()
    index.add(PhotoId(7), hash_near(bytes(32), {1, 2}))
    queries = np.stack([hash_near(bytes(32), set(range(9))), hash_near(bytes(32), {1})])
    (near,) = index.near(queries, distance_bits_max=31)
    assert (near.photo, near.distance_bits, near.query) == (7, 1, 1)


class IndexMachine(RuleBasedStateMachine):
    """Adds and removes, with compaction after every few removals, against a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.index = HammingIndex()
        self.model: dict[int, bytes] = {}

    @rule(photo=st.integers(0, 30), content=st.binary(min_size=32, max_size=32))
    def add(self, photo: int, content: bytes) -> None:
        self.index.add(PhotoId(photo), np.frombuffer(content, np.uint8))
        self.model.setdefault(photo, content)

    @rule(photo=st.integers(0, 30))
    def remove(self, photo: int) -> None:
        assert self.index.remove(PhotoId(photo)) == (self.model.pop(photo, None) is not None)

    @invariant()
    def agrees(self) -> None:
        assert len(self.index) == len(self.model)
        for photo, content in self.model.items():
            query = np.frombuffer(content, np.uint8).reshape(1, 32)
            found = {near.photo for near in self.index.near(query, distance_bits_max=0)}
            assert found == {p for p, c in self.model.items() if c == content}
            assert photo in found


def test_index_model(monkeypatch) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setattr(index_module, "_COMPACT_MIN", 2)
    run_state_machine_as_test(IndexMachine, settings=settings(max_examples=12, stateful_step_count=25))
