"""Which hashes are near: exact Hamming search over 256-bit hashes, in memory.

A projection of the database, built again at every start: at one million photos it takes 40 MB and a query
of all eight orientations takes 6 ms on one core, so nothing approximate is needed. Hashes lie in halves:
what is near is near in the first half, too, and next to nothing else is, so only that one is searched
through. It grows, and forgets photos at once: what was removed is never returned, its room is taken back
later. Knows photos by their ids only. Not thread-safe; its owner serialises calls.
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
_FIRST_BITS: Final = 128
_SECOND_WORDS: Final = (HASH_BITS - _FIRST_BITS) // 64
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
        self._first = faiss.IndexBinaryFlat(_FIRST_BITS)
        self._second = np.zeros((_COMPACT_MIN, _SECOND_WORDS), np.uint64)
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
        slot = self._slots[photo] = len(self._photos)
        if slot == len(self._second):
            self._second = np.concatenate([self._second, np.zeros_like(self._second)])
        first, self._second[slot] = _halves(np.asarray(hash_bits, dtype=np.uint8).reshape(1, -1))
        self._photos.append(photo)
        self._first.add(first)

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
        first, second = _halves(queries)
        # faiss returns what is closer than the radius, which it does not include.
        limits, distances, slots = self._first.range_search(first, distance_bits_max + 1)
        asked = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))
        rest = np.bitwise_count(self._second[slots] ^ second[asked]).sum(axis=1, dtype=np.int64)
        distances = distances.astype(np.int64) + rest
        within = np.flatnonzero(distances <= distance_bits_max)
        best: dict[int, tuple[int, int]] = {}
        for i in within.tolist():
            slot, found = int(slots[i]), (int(distances[i]), int(asked[i]))
            best[slot] = min(best.get(slot, found), found)
        for slot, (distance, query) in sorted(best.items(), key=lambda item: item[1]):
            photo = self._photos[slot]
            if self._slots.get(photo) == slot:
                yield Near(photo=photo, distance_bits=distance, query=query)

    def _compact(self) -> None:
        alive = sorted(self._slots.items(), key=lambda item: item[1])
        kept = np.array([slot for _, slot in alive], np.int64)
        index: Any = self._first  # its stubs do not know ``xb``
        first = faiss.vector_to_array(index.xb).reshape(-1, _FIRST_BITS // 8)[kept]
        self._first = faiss.IndexBinaryFlat(_FIRST_BITS)
        self._first.add(np.ascontiguousarray(first))
        room = np.zeros((max(_COMPACT_MIN, len(kept)), _SECOND_WORDS), np.uint64)
        room[: len(kept)] = self._second[kept]
        self._second = room
        self._photos = [photo for photo, _ in alive]
        self._slots = {photo: slot for slot, photo in enumerate(self._photos)}


def _halves(hashes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """``uint8[n, 32]`` as the bytes of the first half and the words of the second."""
    middle = _FIRST_BITS // 8
    second = np.ascontiguousarray(hashes[:, middle:]).view(np.uint64)
    return np.ascontiguousarray(hashes[:, :middle]), second
