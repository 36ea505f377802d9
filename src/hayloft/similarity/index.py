"""Which hashes are near: exact Hamming search over 256-bit hashes, in memory.

A projection of the database, built again at every start: at one million photos it takes 40 MB and a query
of all eight orientations takes 10 ms on one core, so nothing approximate is needed. It grows, and forgets
photos at once: what was removed is never returned, its room is taken back later. Knows photos by their ids
only. Not thread-safe; its owner serialises calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from hayloft.types import PhotoId

HASH_BITS: Final = 256
_COMPACT_FRACTION: Final = 0.25
_COMPACT_MIN: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A photo within the distance asked for."""

    photo: PhotoId
    distance_bits: int
    query: int
    """Which of the queries was nearest to it."""


class HammingIndex:
    """Photos by their 256-bit hash."""

    def __init__(self) -> None:
        self._faiss = faiss.IndexBinaryFlat(HASH_BITS)
        self._photos: list[PhotoId] = []
        self._slots: dict[PhotoId, int] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, photo: PhotoId) -> bool:
        return photo in self._slots

    def add(self, photo: PhotoId, hash_bits: NDArray[np.uint8]) -> None:
        """Put a photo's hash, ``uint8[32]``, into the index; a photo that is there keeps its place."""
        if photo in self._slots:
            return
        self._slots[photo] = len(self._photos)
        self._photos.append(photo)
        self._faiss.add(np.ascontiguousarray(hash_bits, dtype=np.uint8).reshape(1, -1))

    def remove(self, photo: PhotoId) -> bool:
        """Forget a photo; False if it was not there."""
        if self._slots.pop(photo, None) is None:
            return False
        dead = len(self._photos) - len(self._slots)
        if dead > max(_COMPACT_MIN, _COMPACT_FRACTION * len(self._photos)):
            self._compact()
        return True

    def near(self, queries: NDArray[np.uint8], *, distance_bits_max: int) -> Iterator[Near]:
        """The photos within ``distance_bits_max`` of any of the ``uint8[n, 32]`` queries, nearest first."""
        # faiss returns what is closer than the radius, which it does not include.
        limits, distances, slots = self._faiss.range_search(
            np.ascontiguousarray(queries), distance_bits_max + 1
        )
        best: dict[int, tuple[int, int]] = {}
        for query in range(len(queries)):
            found = slice(int(limits[query]), int(limits[query + 1]))
            for slot, distance in zip(slots[found].tolist(), distances[found].tolist(), strict=True):
                best[slot] = min(best.get(slot, (HASH_BITS + 1, 0)), (int(distance), query))
        for slot, (distance, query) in sorted(best.items(), key=lambda item: item[1]):
            photo = self._photos[slot]
            if self._slots.get(photo) == slot:
                yield Near(photo=photo, distance_bits=distance, query=query)

    def _compact(self) -> None:
        alive = sorted(self._slots.items(), key=lambda item: item[1])
        index: Any = self._faiss  # its stubs do not know ``xb``
        stored = faiss.vector_to_array(index.xb).reshape(-1, HASH_BITS // 8)
        kept = np.ascontiguousarray(stored[[slot for _, slot in alive]])
        self._faiss = faiss.IndexBinaryFlat(HASH_BITS)
        self._faiss.add(kept)
        self._photos = [photo for photo, _ in alive]
        self._slots = {photo: slot for slot, photo in enumerate(self._photos)}
