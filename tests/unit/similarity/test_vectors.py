"""The vector index: against an exact scan, over saves, merges, reopenings and crashes."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from hayloft.similarity.vectors import base
from hayloft.similarity.vectors import index as vectors
from hayloft.similarity.vectors.index import VectorIndex
from hayloft.types import PhotoId

DIMENSIONS = 16


def vector(seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=DIMENSIONS).astype(np.float32)
    return found / np.linalg.norm(found)


def nearest(index: VectorIndex, seed: int, k: int = 3) -> list[int]:
    return [photo for photo, _ in index.search(vector(seed), k=k)]


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "MERGE_AFTER", 5)
    monkeypatch.setattr(vectors, "SAVE_AFTER", 2)


def test_nearest_first_with_the_cosine(tmp_path: Path) -> None:
    index = VectorIndex(tmp_path, dimensions=DIMENSIONS)
    for photo in range(300):
        index.add(PhotoId(photo), vector(photo), photo + 1)
    exact = np.stack([vector(photo) for photo in range(300)]) @ vector(7)
    found = index.search(vector(7), k=10)
    assert found[0][0] == 7
    assert found[0][1] == pytest.approx(1.0, abs=2e-3)
    assert [photo for photo, _ in found] == np.argsort(-exact)[:10].tolist()
    assert (len(index), index.change) == (300, 300)


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    assert VectorIndex(tmp_path, dimensions=DIMENSIONS).search(vector(1), k=3) == []


def test_a_reopened_index_holds_what_was_saved_and_says_how_far_it_goes(tmp_path, small_steps) -> None:
    index = VectorIndex(tmp_path, dimensions=DIMENSIONS)
    for photo in range(20):
        index.add(PhotoId(photo), vector(photo), 100 + photo)
    index.remove(PhotoId(3))
    index.save()
    index.add(PhotoId(50), vector(50), 150)  # not saved: a crash
    again = VectorIndex(tmp_path, dimensions=DIMENSIONS)
    assert (len(again), again.change) == (19, 119)
    assert PhotoId(3) not in again
    assert PhotoId(50) not in again
    again.add(PhotoId(50), vector(50), 150)
    again.remove(PhotoId(4))
    again.save()
    third = VectorIndex(tmp_path, dimensions=DIMENSIONS)
    assert nearest(third, 50, 1) == [50]
    assert PhotoId(4) not in third
    assert sorted(path.name[:5] for path in tmp_path.iterdir()) == ["base-", "live-", "state"]


@pytest.mark.parametrize("damage", ["state", "missing", "dimensions"])
def test_a_damaged_index_starts_from_nothing(tmp_path: Path, damage: str) -> None:
    index = VectorIndex(tmp_path, dimensions=DIMENSIONS)
    index.add(PhotoId(1), vector(1), 1)
    index.save()
    if damage == "state":
        (tmp_path / "state.json").write_text("{")
    if damage == "missing":
        (tmp_path / json.loads((tmp_path / "state.json").read_text())["live"]).unlink()
    again = VectorIndex(tmp_path, dimensions=DIMENSIONS + (damage == "dimensions"))
    assert (len(again), again.change) == (0, 0)


def test_a_retired_index_never_writes_again(tmp_path: Path) -> None:
    old = VectorIndex(tmp_path, dimensions=DIMENSIONS)
    old.add(PhotoId(1), vector(1), 1)
    old.retire()
    fresh = VectorIndex(tmp_path, dimensions=DIMENSIONS)
    fresh.clear()
    fresh.add(PhotoId(2), vector(2), 2)
    fresh.save()
    old.save()
    assert nearest(old, 1, 1) == [1]
    assert nearest(VectorIndex(tmp_path, dimensions=DIMENSIONS), 2) == [2]


def test_the_index_and_the_runtime_of_models_can_be_loaded_in_this_order() -> None:
    code = "import hayloft.similarity.vectors.index, onnxruntime"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_changes_while_a_new_base_is_written_counts(
    tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = VectorIndex(tmp_path, dimensions=DIMENSIONS)
    for photo in range(20):
        index.add(PhotoId(photo), vector(photo), 1 + photo)
    write = base.write

    def busy(*args: Any, **kwargs: Any) -> None:
        write(*args, **kwargs)
        index.remove(PhotoId(3))
        index.add(PhotoId(4), vector(400), 40)
        index.add(PhotoId(30), vector(30), 41)

    monkeypatch.setattr(base, "write", busy)
    index.save()
    for one in (index, VectorIndex(tmp_path, dimensions=DIMENSIONS)):
        assert (len(one), one.change) == (20, 41)
        assert PhotoId(3) not in one
        assert one.search(vector(400), k=1) == [(4, pytest.approx(1.0, abs=2e-3))]
        assert nearest(one, 30, 1) == [30]
        assert one.search(vector(4), k=1)[0][1] < 0.99


def test_a_base_that_does_not_fit_leaves_the_older_one_and_no_rubbish(
    tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = VectorIndex(tmp_path, dimensions=DIMENSIONS)
    for photo in range(20):
        index.add(PhotoId(photo), vector(photo), 1 + photo)
    index.save()
    before = sorted(tmp_path.iterdir())
    for photo in range(20, 40):
        index.add(PhotoId(photo), vector(photo), 1 + photo)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(base, "sync_path", full)
    with pytest.raises(OSError, match="No space"):
        index.save()
    assert sorted(tmp_path.iterdir()) == before
    assert nearest(index, 30, 1) == [30]
    monkeypatch.undo()
    index.save()
    assert nearest(VectorIndex(tmp_path, dimensions=DIMENSIONS), 30, 1) == [30]


def test_an_index_whose_photos_are_all_gone_is_empty(tmp_path: Path, small_steps: None) -> None:
    index = VectorIndex(tmp_path, dimensions=DIMENSIONS)
    for photo in range(10):
        index.add(PhotoId(photo), vector(photo), 1 + photo)
    index.save()
    for photo in range(10):
        index.remove(PhotoId(photo))
    index.save()
    for one in (index, VectorIndex(tmp_path, dimensions=DIMENSIONS)):
        assert (len(one), one.change, one.search(vector(1), k=3)) == (0, 10, [])


class VectorMachine(RuleBasedStateMachine):
    """Everything that can be done to an index, against a dict; small enough for search to be exact."""

    folder: Path
    number = 0

    def __init__(self) -> None:
        super().__init__()
        VectorMachine.number += 1
        self.path = self.folder / str(VectorMachine.number)
        self.index = VectorIndex(self.path, dimensions=DIMENSIONS)
        self.model: dict[int, int] = {}
        self.saved: dict[int, int] = {}
        self.change = 0

    @rule(photo=st.integers(0, 30), seed=st.integers(0, 1000))
    def add(self, photo: int, seed: int) -> None:
        self.change += 1
        self.index.add(PhotoId(photo), vector(seed), self.change)
        self.model[photo] = seed

    @rule(photo=st.integers(0, 30))
    def remove(self, photo: int) -> None:
        self.index.remove(PhotoId(photo))
        self.model.pop(photo, None)

    @rule()
    def save(self) -> None:
        self.index.save()
        self.saved = dict(self.model)

    @rule()
    def crash(self) -> None:
        self.index = VectorIndex(self.path, dimensions=DIMENSIONS)
        self.model = dict(self.saved)

    @invariant()
    def agrees(self) -> None:
        assert len(self.index) == len(self.model)
        for photo, seed in self.model.items():
            found = dict(self.index.search(vector(seed), k=len(self.model)))
            assert found[PhotoId(photo)] == pytest.approx(1.0, abs=5e-3)
            assert set(found) <= set(self.model)


def test_vector_index_model(tmp_path: Path, small_steps: None) -> None:
    VectorMachine.folder = tmp_path
    run_state_machine_as_test(
        VectorMachine, settings=settings(max_examples=20, stateful_step_count=25, deadline=None)
    )
