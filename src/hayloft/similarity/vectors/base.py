"""The vectors that no longer change: a folder that is written once and opened without being read.

``photos.npy`` holds the photos in order, ``vectors.npy`` their vectors (float16) in the same order,
``graph.usearch`` a graph over their sketches (HNSW: Malkov and Yashunin, IEEE TPAMI 2020), ``sketch.npz``
how these are made. A search finds candidates in the graph and puts them in order by the vectors. All of
it is mapped into memory: what is looked at often stays there, and the vectors may be larger than memory.

It knows nothing of what has been removed since: its owner does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numkong
import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from hayloft.disk import sync_path
from hayloft.similarity.vectors import graph
from hayloft.similarity.vectors.sketch import Sketcher, insertion_order
from hayloft.types import PhotoId

EXPANSION_ADD: Final = 256
"""Twice as thorough as live, which takes twice as long: among a million, fewer queries come to another part
of the graph and find nothing there."""
EXPANSION_SEARCH: Final = 72
"""Among a million, what finds 0.97 of the ten nearest; ``make bench-vectors`` prints what others do."""
CANDIDATES: Final = 2
CANDIDATES_MORE: Final = 20
"""For ``k`` photos, ``CANDIDATES`` times ``k`` and so many more are looked at: among a million, hardly one
of the ten nearest has a sketch that is not among the first 40."""
FITTED_AGAIN: Final = 4
"""How many times as many vectors, until the directions of sketches are looked for again."""
GRAPH: Final = "graph.usearch"
BLOCK: Final = 20_000
"""Vectors in memory at once while a base is written."""

Photos = NDArray[np.uint64]
Vectors = NDArray[np.float16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The content of a base's folder."""

    photos: Photos
    vectors: Vectors
    sketcher: Sketcher
    fitted_among: int
    """Vectors there were when the directions of sketches were found."""
    neighbours: Any
    """The graph, searched by sketches, that answers with photos."""
    folder: Path

    @classmethod
    def opened(cls, folder: Path, *, dimensions: int) -> Base:
        """What was written to ``folder``.

        Raises:
            ValueError: it is missing, damaged, or of other dimensions.
        """
        try:
            photos = np.load(folder / "photos.npy", mmap_mode="r")
            vectors = np.load(folder / "vectors.npy", mmap_mode="r")
            with np.load(folder / "sketch.npz") as kept:
                sketcher, fitted_among = Sketcher(kept["matrix"]), int(kept["fitted_among"])
            neighbours = graph.mapped(folder / GRAPH)
        except (OSError, EOFError, KeyError, RuntimeError, BadZipFile) as error:
            raise ValueError(f"{folder.name} is not a whole base: {error}") from error
        if vectors.shape != (len(photos), dimensions) or len(neighbours) != len(photos):
            raise ValueError(f"{folder.name} is not a base of {dimensions} dimensions")
        neighbours.expansion_search = EXPANSION_SEARCH
        return cls(
            photos=photos,
            vectors=vectors,
            sketcher=sketcher,
            fitted_among=fitted_among,
            neighbours=neighbours,
            folder=folder,
        )

    def __len__(self) -> int:
        return len(self.photos)

    def __contains__(self, photo: int) -> bool:
        place = int(np.searchsorted(self.photos, np.uint64(photo)))
        return place < len(self.photos) and int(self.photos[place]) == photo

    def search(self, vector: NDArray[np.float32], *, k: int) -> list[tuple[PhotoId, float]]:
        """The ``k`` photos with the largest cosine, each with it, largest first."""
        looked_at = min(len(self.photos), CANDIDATES * k + CANDIDATES_MORE)
        found = self.neighbours.search(self.sketcher.sketch(vector), looked_at).keys
        vectors = self.vectors[np.searchsorted(self.photos, found)]
        # numpy takes ten times as long for numbers in half precision.
        cosines = np.asarray(numkong.cdist(vector.astype(np.float16)[None], vectors, "dot"))[0]
        best = np.argsort(-cosines)[:k]
        pairs = zip(found[best].tolist(), cosines[best].tolist(), strict=True)
        return [(PhotoId(photo), cosine) for photo, cosine in pairs]


def write(
    folder: Path,
    *,
    photos: Photos,
    vectors: Vectors,
    older: Base | None = None,
    dead: Iterable[int] = (),
) -> None:
    """Write a base to ``folder``, durably: what ``older`` has, without the ``dead``, and these ``vectors``.

    ``photos`` are in any order, and none of them is in ``older``, unless among the dead.

    Raises:
        OSError: the disk is full, or fails.
    """
    gone = np.array([one for one in dead if older is not None and one in older], dtype=np.uint64)
    merged = _Merged.of(photos, vectors, older, gone)
    folder.mkdir()
    _save(folder / "photos.npy", merged.photos.shape, [merged.photos])
    _save(folder / "vectors.npy", (len(merged.photos), vectors.shape[1]), merged.blocks())
    stored = np.load(folder / "vectors.npy", mmap_mode="r")
    if older is None or len(stored) >= FITTED_AGAIN * older.fitted_among:
        sketcher, fitted_among = Sketcher.fitted(stored), len(stored)
        growing = graph.empty(sketcher.length, dtype="i8")
        photos, vectors = merged.photos, stored
    else:
        sketcher, fitted_among = older.sketcher, older.fitted_among
        growing = graph.read(older.folder / GRAPH)
        growing.remove(gone)
    growing.expansion_add = EXPANSION_ADD
    sketches = np.empty((len(photos), sketcher.length), np.int8)
    for at in range(0, len(photos), BLOCK):
        sketches[at : at + BLOCK] = sketcher.sketches(vectors[at : at + BLOCK].astype(np.float32))
    order = insertion_order(sketches)
    growing.add(photos[order], sketches[order], threads=1)
    growing.save(folder / GRAPH)
    np.savez(folder / "sketch.npz", matrix=sketcher.matrix, fitted_among=fitted_among)
    for path in (*folder.iterdir(), folder, folder.parent):
        sync_path(path)


@dataclass(frozen=True, slots=True)
class _Merged:
    """Two sets of vectors in the order of their photos, without copying them together."""

    photos: Photos
    origins: NDArray[np.int64]
    """Where each one's vector is: first all of ``older``, then the ``fresh``."""
    older: Vectors
    fresh: Vectors

    @classmethod
    def of(cls, photos: Photos, vectors: Vectors, older: Base | None, gone: Photos) -> _Merged:
        if older is None:
            order = np.argsort(photos)
            return cls(photos[order], order, vectors[:0], vectors)
        kept = np.flatnonzero(~np.isin(older.photos, gone))
        origins = np.concatenate([kept, len(older) + np.arange(len(photos))])
        together = np.concatenate([older.photos[kept], photos])
        order = np.argsort(together)
        return cls(together[order], origins[order], older.vectors, vectors)

    def blocks(self) -> Iterator[Vectors]:
        for at in range(0, len(self.origins), BLOCK):
            origins = self.origins[at : at + BLOCK]
            block = np.empty((len(origins), self.fresh.shape[1]), np.float16)
            fresh = origins >= len(self.older)
            block[~fresh] = self.older[origins[~fresh]]
            block[fresh] = self.fresh[origins[fresh] - len(self.older)]
            yield block


def _save(path: Path, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]) -> None:
    """As ``numpy.save``, in blocks; by plain writes, for a full disk fails those and kills who maps."""
    with path.open("wb") as file:
        for number, block in enumerate(blocks):
            if number == 0:
                described = {"descr": block.dtype.str, "fortran_order": False, "shape": shape}
                write_array_header_1_0(file, described)
            file.write(np.ascontiguousarray(block).data)
