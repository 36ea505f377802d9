"""A sorted, immutable part of the voting index: every keypoint of some photos, ordered by word.

Four parallel arrays, 14 bytes a keypoint, plus a table of where each word begins once a segment is
large. The arrays may be mapped files. Whose keypoint an entry is, is said by an ordinal that only the
index can resolve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import spectrum

_WORDS: Final = 1 << spectrum.WORD_BITS
_TABLE_ENTRIES_MIN: Final = _WORDS // 2
"""Entries from which a table of word starts (4 MiB) is smaller than the words themselves, twice over."""

_EVERY_WORD: Final = np.arange(_WORDS + 1, dtype=np.uint32)

_ENTRIES_AT_ONCE: Final = 1 << 16
"""Entries compared at once: what is made of them (half a megabyte an array) stays in a core's cache."""


class Entries(NamedTuple):
    """Keypoints as parallel arrays of one length."""

    words: NDArray[np.uint32]
    signatures: NDArray[np.uint64]
    owners: NDArray[np.uint32]
    """Ordinal of the photo × 4 + guise of the keypoint."""
    poses: NDArray[np.uint16]
    """Direction in 1/256 of a turn × 256 + size in 1/16 of an octave."""


class Hits(NamedTuple):
    """Entries near enough to what was looked up, as parallel arrays."""

    probes: NDArray[np.int64]
    distances: NDArray[np.uint8]
    owners: NDArray[np.uint32]
    poses: NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Entries in the order of their words."""

    signatures: NDArray[np.uint64]
    owners: NDArray[np.uint32]
    poses: NDArray[np.uint16]
    words: NDArray[np.uint32] | None
    """The words in order, in a small segment."""
    table: NDArray[np.uint32] | None
    """``uint32[2**20 + 1]``: where each word begins, in a large one."""

    @classmethod
    def of(cls, entries: Entries) -> Segment:
        """A segment of entries that are in order."""
        words, signatures, owners, poses = entries
        large = len(words) >= _TABLE_ENTRIES_MIN
        table = (
            np.searchsorted(words, np.arange(_WORDS + 1, dtype=np.uint32)).astype(np.uint32)
            if large
            else None
        )
        return cls(
            signatures=signatures, owners=owners, poses=poses, words=None if large else words, table=table
        )

    def __len__(self) -> int:
        return len(self.signatures)

    @property
    def size_bytes(self) -> int:
        """Memory, or length of the files, that the segment takes."""
        arrays = (self.signatures, self.owners, self.poses, self.words, self.table)
        return sum(array.nbytes for array in arrays if array is not None)

    def lists(self, words: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the list of each word starts and ends; several times quicker if the words are in order."""
        if self.table is not None:
            return self.table[words].astype(np.int64), self.table[words + np.uint32(1)].astype(np.int64)
        assert self.words is not None
        return np.searchsorted(self.words, words, "left"), np.searchsorted(self.words, words, "right")

    def entries(self, first: int = 0, last: int = _WORDS) -> Entries:
        """The entries whose words lie in ``first`` … ``last`` − 1."""
        if self.table is not None:
            start, end = int(self.table[first]), int(self.table[last])
            edges = self.table[first : last + 1].astype(np.int64)
            counts = edges[1:] - edges[:-1]
            words = np.repeat(np.arange(first, last, dtype=np.uint32), counts)
        else:
            assert self.words is not None
            start, end = (int(np.searchsorted(self.words, np.uint32(edge))) for edge in (first, last))
            words = self.words[start:end]
        return Entries(words, self.signatures[start:end], self.owners[start:end], self.poses[start:end])

    def near(
        self,
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        signatures: NDArray[np.uint64],
        distance_bits_max: int,
    ) -> Iterator[Hits]:
        """The entries of lists ``starts`` … ``ends`` near each one's signature; ``probes`` counts lists.

        Lists are read in the order given: in the order of their words, memory is read from front to back.
        """
        probes = np.flatnonzero(ends > starts)
        lengths = (ends - starts)[probes]
        through = np.cumsum(lengths)
        total = int(through[-1]) if len(probes) else 0
        cuts = np.searchsorted(through, np.arange(0, total, _ENTRIES_AT_ONCE), "right")
        for first, last in pairwise([*np.unique(cuts).tolist(), len(probes)]):
            some = slice(first, last)
            yield self._near(
                probes[some], starts[probes[some]], lengths[some], signatures, distance_bits_max
            )

    def _near(
        self,
        probes: NDArray[np.int64],
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        signatures: NDArray[np.uint64],
        distance_bits_max: int,
    ) -> Hits:
        through = np.cumsum(lengths)
        at = np.repeat(starts - (through - lengths), lengths)
        at += np.arange(len(at))
        differing = self.signatures[at]
        differing ^= np.repeat(signatures[probes], lengths)
        distances = np.bitwise_count(differing)
        found = np.flatnonzero(distances <= distance_bits_max)
        at = at[found]
        asked = probes[np.searchsorted(through, found, "right")]
        return Hits(asked, distances[found], self.owners[at], self.poses[at])


def merge(parts: Sequence[Entries], alive: NDArray[np.bool_]) -> Entries:
    """The entries of several parts in the order of their words, without those of removed photos."""
    joined = Entries(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    kept = alive[joined.owners >> np.uint32(2)]
    order = np.argsort(joined.words, kind="stable")
    order = order[kept[order]]
    return Entries(*(array[order] for array in joined))


def merge_segments(segments: Sequence[Segment], alive: NDArray[np.bool_], *, pieces: int = 1) -> Segment:
    """Several segments as one, ``pieces`` parts of the words at a time to bound the memory it takes."""
    edges = np.linspace(0, _WORDS, pieces + 1).astype(np.int64)
    merged = [
        merge([segment.entries(first, last) for segment in segments], alive)
        for first, last in pairwise(edges.tolist())
    ]
    return Segment.of(Entries(*(np.concatenate(arrays) for arrays in zip(*merged, strict=True))))
