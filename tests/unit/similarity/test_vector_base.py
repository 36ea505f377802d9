"""The vectors that no longer change: found by sketches, ordered by themselves, merged, and damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hayloft.similarity.vectors import base
from hayloft.similarity.vectors.base import Base
from hayloft.similarity.vectors.sketch import LENGTH, Sketcher, insertion_order

DIMENSIONS = 400
PHOTOS = 3000


def vectors(count: int, seed: int) -> np.ndarray:
    """Clusters of ten, in directions of falling weight, as vectors of photos are; float16, unit length."""
    rng = np.random.default_rng(seed)
    scales = np.arange(1, DIMENSIONS + 1) ** -0.55
    clusters = rng.normal(size=(count // 10 + 1, DIMENSIONS)).repeat(10, axis=0)[:count]
    found = (clusters + 0.7 * rng.normal(size=(count, DIMENSIONS))) * scales
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found, dtype=np.float16)


@pytest.fixture(scope="module")
def everything() -> tuple[np.ndarray, np.ndarray]:
    photos = np.random.default_rng(5).permutation(10 * PHOTOS)[:PHOTOS].astype(np.uint64)
    return photos, vectors(PHOTOS, 1)


def written(folder: Path, **content: Any) -> Base:
    base.write(folder, **content)
    return Base.opened(folder, dimensions=DIMENSIONS)


def recall(opened: Base, photos: np.ndarray, kept: np.ndarray) -> float:
    queries = kept[::10].astype(np.float32)
    exact = np.argsort(-(queries @ kept.astype(np.float32).T), axis=1)[:, :10]
    found = [{photo for photo, _ in opened.search(query, k=10)} for query in queries]
    right = sum(len(one & set(photos[nearest].tolist())) for one, nearest in zip(found, exact, strict=True))
    return right / (10 * len(queries))


def test_the_nearest_are_found_with_their_cosines(tmp_path: Path, everything: Any) -> None:
    photos, kept = everything
    opened = written(tmp_path / "base", photos=photos, vectors=kept)
    assert opened.sketcher.length == LENGTH < DIMENSIONS
    assert recall(opened, photos, kept) > 0.97
    query = kept[7].astype(np.float32)
    exact = kept.astype(np.float32) @ query
    for photo, cosine in opened.search(query, k=10):
        assert cosine == pytest.approx(exact[photos.tolist().index(photo)], abs=1e-4)
    assert int(photos[0]) in opened
    assert int(photos.max()) + 1 not in opened


def test_a_merge_keeps_the_rest_and_the_directions(tmp_path: Path, everything: Any) -> None:
    photos, kept = everything
    first = written(tmp_path / "first", photos=photos[:2000], vectors=kept[:2000])
    dead = [*photos[:500].tolist(), 10**9]
    second = written(tmp_path / "second", photos=photos[2000:], vectors=kept[2000:], older=first, dead=dead)
    assert second.photos.tolist() == sorted(photos[500:].tolist())
    assert np.array_equal(second.vectors, kept[500:][np.argsort(photos[500:])])
    assert np.array_equal(second.sketcher.matrix, first.sketcher.matrix)
    assert recall(second, photos[500:], kept[500:]) > 0.97


def test_directions_are_looked_for_again_among_many_more(tmp_path: Path, everything: Any) -> None:
    photos, kept = everything
    first = written(tmp_path / "first", photos=photos[:600], vectors=kept[:600])
    second = written(
        tmp_path / "second", photos=photos[600:], vectors=kept[600:], older=first, dead=photos[:3].tolist()
    )
    assert (first.fitted_among, second.fitted_among) == (600, PHOTOS - 3)
    assert not np.array_equal(second.sketcher.matrix, first.sketcher.matrix)
    assert recall(second, photos[3:], kept[3:]) > 0.97


def test_a_photo_whose_vector_changed_has_the_new_one(tmp_path: Path, everything: Any) -> None:
    photos, kept = everything
    first = written(tmp_path / "first", photos=photos[:1000], vectors=kept[:1000])
    second = written(
        tmp_path / "second",
        photos=photos[:1],
        vectors=kept[2000:2001],
        older=first,
        dead=photos[:1].tolist(),
    )
    assert len(second) == 1000
    [(photo, cosine)] = second.search(kept[2000].astype(np.float32), k=1)
    assert photo == photos[0]
    assert cosine == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", ["photos.npy", "vectors.npy", "sketch.npz", "graph.usearch"])
@pytest.mark.parametrize("kept_share", [None, 0, 0.01, 0.5, 0.99])
def test_a_damaged_base_is_refused(
    tmp_path: Path, everything: Any, name: str, kept_share: float | None
) -> None:
    photos, kept = everything
    written(tmp_path / "base", photos=photos[:100], vectors=kept[:100])
    whole = (tmp_path / "base" / name).read_bytes()
    if kept_share is None:
        (tmp_path / "base" / name).unlink()
    else:
        (tmp_path / "base" / name).write_bytes(whole[: int(len(whole) * kept_share)])
    with pytest.raises(ValueError):
        Base.opened(tmp_path / "base", dimensions=DIMENSIONS)


def test_a_base_of_other_dimensions_is_refused(tmp_path: Path, everything: Any) -> None:
    photos, kept = everything
    written(tmp_path / "base", photos=photos[:100], vectors=kept[:100])
    with pytest.raises(ValueError, match="not a base of 401"):
        Base.opened(tmp_path / "base", dimensions=DIMENSIONS + 1)


def test_sketches_keep_cosines(everything: Any) -> None:
    _, kept = everything
    sketcher = Sketcher.fitted(kept)
    sketches = sketcher.sketches(kept.astype(np.float32)).astype(np.float32)
    assert np.abs(sketches).max(axis=1).tolist() == [127] * PHOTOS
    sketches /= np.linalg.norm(sketches, axis=1, keepdims=True)
    exact = kept[:100].astype(np.float32) @ kept.astype(np.float32).T
    assert np.abs(sketches[:100] @ sketches.T - exact).mean() < 0.03


def test_a_vector_of_zeros_has_a_sketch() -> None:
    sketcher = Sketcher.fitted(np.eye(8, dtype=np.float16))
    assert sketcher.sketch(np.zeros(8, np.float32)).tolist() == [0] * 8


def test_near_sketches_stand_insertion_order(everything: Any) -> None:
    _, kept = everything
    sketches = Sketcher.fitted(kept).sketches(
        kept.astype(np.float32)[np.random.default_rng(3).permutation(PHOTOS)]
    )
    order = insertion_order(sketches)
    assert sorted(order.tolist()) == list(range(PHOTOS))

    def apart(arranged: np.ndarray) -> float:
        return float(np.linalg.norm(np.diff(arranged.astype(np.float32), axis=0), axis=1).mean())

    assert apart(sketches[order]) < 0.9 * apart(sketches)


@pytest.mark.parametrize("photos", [0, 1, 64, 65, 200])
def test_alike_sketches_have_an_order_too(photos: int) -> None:
    assert sorted(insertion_order(np.ones((photos, 8), np.int8)).tolist()) == list(range(photos))
