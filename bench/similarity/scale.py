"""Copy queries at 10 thousand to a million photos, with invented keypoints of real statistics.

The photos beyond the real ones are made of real keypoints: each takes the code of a keypoint of some real
photo, turns over every bit with a chance of 12 % (what two sightings of one point differ in), and gets
the pose of another. So words are as unevenly used as real ones are.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import pipeline, record, spectrum, thresholds
from hayloft.similarity.copies.segment import Entries, Segment, merge
from hayloft.similarity.copies.voting import VotingIndex
from hayloft.similarity.methods import PdqMethod
from hayloft.types import PhotoId
from similarity.methods import Described, find

_BATCH_PHOTOS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How long a query takes at one size: the search for candidates, and all with hashes and proofs."""

    photos: int
    p50_ms: float
    p95_ms: float
    whole_p50_ms: float
    whole_p95_ms: float
    found: float
    """Share of queries whose photo is among the candidates."""
    proved: float
    """Share of queries whose photo is proved."""
    bytes_per_photo: float


def search(
    descriptions: list[bytes], queries: list[tuple[int, Described]], photos: int, seed: int
) -> Search:
    """Fill an index with the real photos and invented ones up to ``photos``, and time the queries.

    The records of invented photos are those of real ones, so that aligning costs what it costs.
    """
    rng = np.random.default_rng(seed)
    copies, records = pipeline.Copies(), [pipeline.stored(data) for data in descriptions]
    index = copies._index
    for place, data in enumerate(descriptions):
        index.add(place, record.decode(data))
    _fill(index, descriptions, photos - len(descriptions), rng)
    hashes = _hashes(photos, rng)

    def load(places: Collection[int]) -> dict[int, bytes]:
        return {place: records[place % len(records)] for place in places}

    candidates_ms, whole_ms, found, proved = [], [], 0, 0
    for place, described in queries:
        start = time.thread_time()
        candidates = index.candidates(record.decode(described.data), limit=thresholds.CANDIDATES_VERIFIED)
        candidates_ms.append((time.thread_time() - start) * 1e3)
        found += any(candidate.photo == place for candidate in candidates)
        start = time.thread_time()
        proved += place in find(copies, hashes, described, load)
        whole_ms.append((time.thread_time() - start) * 1e3)
    p50, p95 = np.percentile(candidates_ms, [50, 95])
    whole_p50, whole_p95 = np.percentile(whole_ms, [50, 95])
    return Search(
        photos=photos,
        p50_ms=float(p50),
        p95_ms=float(p95),
        whole_p50_ms=float(whole_p50),
        whole_p95_ms=float(whole_p95),
        found=found / len(queries),
        proved=proved / len(queries),
        bytes_per_photo=index.size_bytes / photos,
    )


def _hashes(photos: int, rng: np.random.Generator) -> PdqMethod:
    """As many hashes as there are photos, of chance."""
    hashes = PdqMethod()
    data = rng.integers(0, 256, (photos, 32), dtype=np.uint8)
    for place, one in enumerate(data):
        hashes._index.add(PhotoId(10**9 + place), one)
    return hashes


def _fill(index: VotingIndex, descriptions: list[bytes], count: int, rng: np.random.Generator) -> None:
    index._settle()
    codes = np.concatenate([record.kept(record.decode(d)).codes for d in descriptions])
    parts: list[Segment] = []
    for first in range(0, count, _BATCH_PHOTOS):
        photos = min(_BATCH_PHOTOS, count - first)
        ordinals = np.array([index._next_ordinal(10**9 + first + i) for i in range(photos)], np.uint32)
        parts.append(Segment.of(merge([_invented(codes, ordinals, rng)], index._alive)))
    if parts:
        index._append(_joined(parts))


def _invented(codes: spectrum.Codes, ordinals: NDArray[np.uint32], rng: np.random.Generator) -> Entries:
    n = len(ordinals) * thresholds.KEYPOINTS_KEPT
    drawn = codes[rng.integers(0, len(codes), n)]
    # Bits that are set in three random bytes at once: 12.5 % of them.
    noise = rng.integers(0, 256, (3, *drawn.shape), dtype=np.uint8)
    drawn = drawn ^ (noise[0] & noise[1] & noise[2])
    guise = spectrum.guises(drawn)
    words, signatures = spectrum.words_and_signatures(drawn, guise)
    owners = np.repeat(ordinals * np.uint32(4), thresholds.KEYPOINTS_KEPT) + guise.astype(np.uint32)
    return Entries(words, signatures, owners, rng.integers(0, 1 << 16, n).astype(np.uint16))


def _joined(parts: list[Segment]) -> Segment:
    """One segment of many, joined word range by word range so that it fits in memory twice."""
    total = sum(len(part) for part in parts)
    arrays: tuple[NDArray[Any], ...] = (
        np.empty(total, np.uint64),
        np.empty(total, np.uint32),
        np.empty(total, np.uint16),
    )
    words, at = [], 0
    edges = np.linspace(0, 1 << spectrum.WORD_BITS, 65).astype(int).tolist()
    for first, last in pairwise(edges):
        pieces = [part.entries(first, last) for part in parts]
        joined = [np.concatenate(columns) for columns in zip(*pieces, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        for array, column in zip(arrays, joined[1:], strict=True):
            array[at : at + len(order)] = column[order]
        words.append(np.bincount(joined[0].astype(np.int64) - first, minlength=last - first))
        at += len(order)
    table = np.concatenate([[0], np.cumsum(np.concatenate(words))]).astype(np.uint32)
    signatures, owners, poses = arrays
    return Segment(signatures=signatures, owners=owners, poses=poses, words=None, table=table)
