"""Finding candidates among millions of photos: keypoints vote for the photos that have the like of them.

An inverted index over the codes of ``spectrum``: twenty bits of a keypoint's canonical form are its
word, the next sixty-four its signature. A query looks its words up, and those that differ in its five
least certain bits, and compares signatures by Hamming distance. Each match votes for a photo in one
guise (mirror images and negatives share the words of the photo), one rotation and one scale; only votes
that agree in all of them add up (weak geometric consistency: Jégou, Douze and Schmid, ECCV 2008). A
keypoint votes once for a photo, and the less the more photos it matches, so that logos and letters,
which are everywhere, count little.

Photos are kept in segments: sorted arrays that never change, merged by size as a log-structured tree
is, so adding costs the same at any size; a removed photo is masked at once and dropped at the next
merge. Memory is 14 bytes a keypoint (3.6 kB a photo). The index is a projection: the caller's records
are the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import spectrum, storage, tally, thresholds
from hayloft.similarity.copies.features import Description
from hayloft.similarity.copies.geometry import Guise
from hayloft.similarity.copies.segment import Entries, Hits, Segment, merge, merge_segments


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A photo that may be a copy, and the guise in which the query would be in it."""

    photo: int
    guise: Guise
    votes: float
    """Weighted votes; comparable within one query."""


class VotingIndex:
    """Which photos have keypoints like these. Not safe for concurrent use."""

    def __init__(self) -> None:
        self._photos = np.zeros(1024, np.int64)
        self._alive = np.zeros(1024, np.bool_)
        self._count = 0
        self._ordinals: dict[int, int] = {}
        self._segments: list[Segment] = []
        self._names: list[str] = []
        """Of the segments, in the same order; a name is never used for other contents."""
        self._fresh: list[Entries] = []

    def __len__(self) -> int:
        return len(self._ordinals)

    def __contains__(self, photo: int) -> bool:
        return photo in self._ordinals

    def __iter__(self) -> Iterator[int]:
        return iter(self._ordinals)

    @property
    def size_bytes(self) -> int:
        """Memory that the keypoints take, those of removed photos included until they are merged away."""
        fresh = sum(array.nbytes for entries in self._fresh for array in entries)
        return fresh + sum(segment.size_bytes for segment in self._segments)

    def add(self, photo: int, description: Description) -> None:
        """Make a photo findable by its first keypoints; one that is there already is replaced."""
        self.remove(photo)
        kept = slice(0, thresholds.KEYPOINTS_KEPT)
        codes = description.codes[kept]
        guise = spectrum.guises(codes)
        words, signatures = spectrum.words_and_signatures(codes, guise)
        owners = np.uint32(self._next_ordinal(photo) << 2) | guise.astype(np.uint32)
        poses = _poses(description.angles[kept], description.sizes[kept])
        self._fresh.append(Entries(words, signatures, owners, poses))
        if len(self._fresh) >= thresholds.FRESH_PHOTOS_MAX:
            self._settle()

    def remove(self, photo: int) -> bool:
        """Forget a photo; False if it was not there."""
        ordinal = self._ordinals.pop(photo, None)
        if ordinal is None:
            return False
        self._alive[ordinal] = False
        return True

    def candidates(self, query: Description, *, limit: int) -> list[Candidate]:
        """The photos with the most votes that agree, best first."""
        self._settle()
        probes = _Probes.of(query)
        hits = self._look_up(probes)
        votes = _votes(hits, probes, query, self._alive)
        groups, weights = tally.count(votes)
        return [
            Candidate(
                photo=int(self._photos[group >> 2]),
                guise=Guise(mirrored=bool(group & 1), negative=bool(group & 2)),
                votes=float(weight),
            )
            for group, weight in zip(groups[:limit].tolist(), weights[:limit], strict=True)
            if weight >= thresholds.VOTES_MIN
        ]

    def save(self, directory: Path) -> None:
        """Write the index to files; it is on the disk when this returns."""
        self._settle()
        named = list(zip(self._names, self._segments, strict=True))
        storage.save(directory, named, self._photos[: self._count], self._alive[: self._count])

    @classmethod
    def open(cls, directory: Path) -> VotingIndex:
        """The index last saved in a directory, its arrays mapped.

        Raises:
            storage.IndexUnreadable: there is none, or it is damaged.
        """
        index = cls()
        named, photos, alive = storage.load(directory)
        index._names, index._segments = [name for name, _ in named], [segment for _, segment in named]
        index._count = len(photos)
        room = np.zeros(max(1024, len(photos)), np.int64)
        index._photos, index._alive = room, np.zeros(len(room), np.bool_)
        index._photos[: len(photos)], index._alive[: len(photos)] = photos, alive
        ordinals = np.flatnonzero(alive)
        index._ordinals = dict(zip(photos[ordinals].tolist(), ordinals.tolist(), strict=True))
        return index

    def _next_ordinal(self, photo: int) -> int:
        if self._count == len(self._photos):
            self._photos = np.concatenate([self._photos, np.zeros_like(self._photos)])
            self._alive = np.concatenate([self._alive, np.zeros_like(self._alive)])
        ordinal = self._count
        self._photos[ordinal], self._alive[ordinal] = photo, True
        self._ordinals[photo] = ordinal
        self._count += 1
        return ordinal

    def _settle(self) -> None:
        """Make what was added a segment, and merge segments not much larger than the one after them."""
        if self._fresh:
            self._append(Segment.of(merge(self._fresh, self._alive)))
            self._fresh = []
        while self._last_two_are_near():
            newer, older = self._segments.pop(), self._segments.pop()
            del self._names[-2:]
            pieces = 1 + (len(newer) + len(older)) // thresholds.MERGE_ENTRIES_AT_ONCE
            self._append(merge_segments([older, newer], self._alive, pieces=pieces))

    def _append(self, segment: Segment) -> None:
        self._segments.append(segment)
        self._names.append(storage.new_name())

    def _last_two_are_near(self) -> bool:
        if len(self._segments) < 2:
            return False
        older, newer = self._segments[-2:]
        return len(older) < thresholds.MERGE_RATIO * len(newer)

    def _look_up(self, probes: _Probes) -> list[Hits]:
        """Words that are likely for their length first, until a query has compared all that it may."""
        lists = [segment.lists(probes.words) for segment in self._segments]
        lengths = sum((ends - starts for starts, ends in lists), np.zeros(len(probes.words), np.int64))
        chosen = _affordable(
            np.where(lengths > thresholds.LIST_ENTRIES_MAX, 0, lengths), probes.likelihoods
        )
        hits: list[Hits] = []
        for segment, (starts, ends) in zip(self._segments, lists, strict=True):
            ends = np.where(chosen, ends, starts)
            hits += segment.near(starts, ends, probes.signatures, thresholds.SIGNATURE_DISTANCE_BITS_MAX)
        return hits


def _affordable(lengths: NDArray[np.int64], likelihoods: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The lists to compare: all, or those that promise most for what they cost."""
    some = np.flatnonzero(lengths)
    if lengths.sum() > thresholds.ENTRIES_COMPARED_MAX:
        some = some[np.argsort(-likelihoods[some] / lengths[some], kind="stable")]
        some = some[np.cumsum(lengths[some]) <= thresholds.ENTRIES_COMPARED_MAX]
    chosen = np.zeros(len(lengths), np.bool_)
    chosen[some] = True
    return chosen


@dataclass(frozen=True, slots=True)
class _Probes:
    """What a query looks up: the word of each keypoint and those that it might be instead, in order."""

    words: NDArray[np.uint32]
    signatures: NDArray[np.uint64]
    keypoints: NDArray[np.int64]
    guises: NDArray[np.uint8]
    likelihoods: NDArray[np.float64]
    """How likely the keypoint's like has this word, against its having the keypoint's own."""

    @classmethod
    def of(cls, query: Description) -> _Probes:
        words, signatures, guises = _variants(query)
        order = np.argsort(words)
        return cls(
            words=words[order],
            signatures=signatures[order],
            keypoints=np.tile(np.arange(len(query)), len(_DOUBTS))[order],
            guises=guises[order],
            likelihoods=np.repeat(_LIKELIHOODS, len(query))[order],
        )


_DOUBTS: Final = tuple(
    doubts
    for count in range(spectrum.PROBED_BITS + 1)
    for doubts in combinations(range(spectrum.PROBED_BITS), count)
)
"""Which of the least certain bits are turned over."""

_LIKELIHOODS: Final = np.array(
    [thresholds.DOUBT_LIKELIHOOD / sum(d + 2 for d in doubts) ** 2 if doubts else 1.0 for doubts in _DOUBTS]
)
"""How often each is turned over rightly, against none."""


def _variants(
    query: Description,
) -> tuple[NDArray[np.uint32], NDArray[np.uint64], NDArray[np.uint8]]:
    """Word, signature and guise of all keypoints, under one doubt after the other."""
    guises = np.tile(spectrum.guises(query.codes), (len(_DOUBTS), 1))
    flips = np.zeros(guises.shape, np.uint32)
    for row, doubts in enumerate(_DOUBTS):
        for doubt in doubts:
            guises[row] ^= _GUISE_FLIPS[query.doubtful[:, doubt]]
            flips[row] ^= _WORD_FLIPS[query.doubtful[:, doubt]]
    in_guises = [
        spectrum.words_and_signatures(query.codes, np.full(len(query), guise, np.uint8))
        for guise in range(4)
    ]
    words = np.stack([words for words, _ in in_guises])
    signatures = np.stack([signatures for _, signatures in in_guises])
    at = guises, np.arange(len(query))
    return (words[at] ^ flips).ravel(), signatures[at].ravel(), guises.ravel()


_GUISE_FLIPS: Final = np.array([1, 2] + [0] * spectrum.WORD_BITS, np.uint8)
_WORD_FLIPS: Final = np.array([0, 0] + [1 << bit for bit in reversed(range(spectrum.WORD_BITS))], np.uint32)


def _poses(angles: NDArray[np.float32], sizes: NDArray[np.float32]) -> NDArray[np.uint16]:
    turn = np.round(angles * (256 / 360)).astype(np.int64) % 256
    size = np.clip(np.round(np.log2(np.maximum(sizes, 1e-3)) * 16) + 64, 0, 255).astype(np.int64)
    return np.asarray(turn << 8 | size, dtype=np.uint16)


def _votes(hits: list[Hits], probes: _Probes, query: Description, alive: NDArray[np.bool_]) -> tally.Votes:
    """What each hit says of the photo's arrangement. A mirror turns directions about the vertical axis."""
    nothing = Hits(
        np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.uint32), np.zeros(0, np.uint16)
    )
    probe, distances, owners, poses = (np.concatenate(a) for a in zip(nothing, *hits, strict=True))
    kept = alive[owners >> np.uint32(2)]
    probe, distances, owners, poses = probe[kept], distances[kept], owners[kept], poses[kept]
    keypoints = probes.keypoints[probe]
    own = _poses(query.angles, query.sizes).astype(np.int64)[keypoints]
    guise = (owners & np.uint32(3)).astype(np.int64) ^ probes.guises[probe]
    turn = own >> 8
    turn = np.where(guise & 1, 128 - turn, turn) + np.where(guise & 2, 128, 0)
    entry = poses.astype(np.int64)
    return tally.Votes(
        keypoints=keypoints,
        distances=distances,
        groups=(owners >> np.uint32(2)).astype(np.int64) * 4 + guise,
        turns=(entry >> 8) - turn,
        growths=(entry & 255) - (own & 255),
    )
