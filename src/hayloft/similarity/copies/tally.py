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


_WEIGHTS: Final = np.exp(-((np.arange(65) / thresholds.VOTE_DISTANCE_SIGMA_BITS) ** 2))
"""Of a vote, by its distance in bits."""


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
    # A keypoint has one place in a bin; one sort of these brings the votes of each bin together as well.
    places = bins * (int(keypoints.max()) + 1) + keypoints
    order = np.argsort(places)
    bins, weights = bins[order], weights[order]
    once = _starts(places[order])
    weights, bins = np.maximum.reduceat(weights, once), bins[once]
    starts = _starts(bins)
    sums, groups = np.add.reduceat(weights, starts), bins[starts] // (_TURN_BINS * _GROWTH_BINS)
    starts = _starts(groups)
    best, groups = np.maximum.reduceat(sums, starts), groups[starts]
    order = np.argsort(-best, kind="stable")
    return groups[order], best[order]


def _starts(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where runs of equal numbers begin."""
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def _with_company(votes: Votes) -> Votes:
    """Without the votes that stand alone for their group; most do, by accident."""
    order = np.argsort(votes.groups)
    ordered = votes.groups[order]
    again = ordered[1:] == ordered[:-1]
    company = np.zeros(len(order), np.bool_)
    company[1:] |= again
    company[:-1] |= again
    kept = order[company]
    return Votes(
        keypoints=votes.keypoints[kept],
        distances=votes.distances[kept],
        groups=votes.groups[kept],
        turns=votes.turns[kept],
        growths=votes.growths[kept],
    )


def _binned(votes: Votes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Each vote in the four bins that overlap at it."""
    weight = _WEIGHTS[votes.distances]
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
