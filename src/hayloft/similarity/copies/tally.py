"""Counting votes: hits of single keypoints to candidates whose hits agree in guise, rotation and scale.

Every hit says for one photo in which guise, turned by how much and grown by how much the query would be
in it. Hits fall into overlapping bins of rotation and scale, so that a group that agrees is never cut
in two; a keypoint counts once in a bin, by its nearest hit, and less the more hits it has in all. Pure
arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import thresholds

_TURN_BINS: Final = 16
_GROWTH_BINS: Final = 64
_GROWTH_STEPS_PER_BIN: Final = 12
"""Sixteenths of an octave: a bin is three quarters of one wide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """Hits, one a row."""

    keypoints: NDArray[np.int64]
    """Which of the query's keypoints."""
    distances: NDArray[np.uint8]
    groups: NDArray[np.int64]
    """Ordinal of the photo × 4 + guise: 1 mirrored, 2 negative."""
    turns: NDArray[np.int64]
    """From the query's direction, in that guise, to the entry's, in 1/256 of a turn."""
    growths: NDArray[np.int64]
    """Logarithm of the entry's size over the query's, in 1/16 of an octave."""


def count(votes: Votes) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The groups that got more than one vote, and their weight; best first."""
    votes = _with_company(votes)
    if not len(votes.groups):
        return np.zeros(0, np.int64), np.zeros(0)
    bins, keypoints, weights = _binned(votes)
    order = np.lexsort((-weights, keypoints, bins))
    bins, keypoints, weights = bins[order], keypoints[order], weights[order]
    first = np.ones(len(bins), np.bool_)
    first[1:] = (bins[1:] != bins[:-1]) | (keypoints[1:] != keypoints[:-1])
    bins, weights = bins[first], weights[first]
    starts = np.flatnonzero(np.r_[True, bins[1:] != bins[:-1]])
    sums, groups = np.add.reduceat(weights, starts), bins[starts] // (_TURN_BINS * _GROWTH_BINS)
    order = np.lexsort((groups, -sums))
    sums, groups = sums[order], groups[order]
    _, best = np.unique(groups, return_index=True)
    best.sort()
    return groups[best], sums[best]


def _with_company(votes: Votes) -> Votes:
    """Without the votes that stand alone for their group; most do, by accident."""
    _, inverse, counts = np.unique(votes.groups, return_inverse=True, return_counts=True)
    kept = counts[inverse] > 1
    return Votes(
        keypoints=votes.keypoints[kept],
        distances=votes.distances[kept],
        groups=votes.groups[kept],
        turns=votes.turns[kept],
        growths=votes.growths[kept],
    )


def _binned(votes: Votes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Each vote in the four bins that overlap at it."""
    weight = np.exp(-((votes.distances / thresholds.VOTE_DISTANCE_SIGMA_BITS) ** 2))
    popular = np.bincount(votes.keypoints, minlength=1)[votes.keypoints]
    weight = weight / np.sqrt(popular)
    turn_steps = 256 // _TURN_BINS
    turn = (votes.turns % 256) // turn_steps
    next_turn = ((votes.turns + turn_steps // 2) % 256) // turn_steps
    next_turn = (turn + np.where(next_turn == turn, -1, 1)) % _TURN_BINS
    shifted = votes.growths + _GROWTH_BINS // 2 * _GROWTH_STEPS_PER_BIN
    growth = np.clip(shifted // _GROWTH_STEPS_PER_BIN, 0, _GROWTH_BINS - 1)
    upper = shifted % _GROWTH_STEPS_PER_BIN >= _GROWTH_STEPS_PER_BIN // 2
    next_growth = np.clip(growth + np.where(upper, 1, -1), 0, _GROWTH_BINS - 1)
    bins = [
        (votes.groups * _TURN_BINS + t) * _GROWTH_BINS + g
        for t in (turn, next_turn)
        for g in (growth, next_growth)
    ]
    return np.concatenate(bins), np.tile(votes.keypoints, 4), np.tile(weight, 4)
