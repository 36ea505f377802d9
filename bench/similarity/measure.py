"""From scores to figures: the threshold that keeps 99 % precision, and what is recalled at it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A disguised photo, and how a method scored the photos for it."""

    disguise: str
    photo: int
    true_score: float
    """Of the photo that was disguised; minus infinity if it was not named."""
    wrong_scores: NDArray[np.float64]
    """The highest scores of other photos."""
    wrong_photos: NDArray[np.int64]


def query(disguise: str, photo: int, partners: list[int], scores: NDArray[np.float64]) -> Query:
    """What the scores of all photos say; ``partners`` may be in the picture too, so they are not wrong."""
    others = scores.copy()
    others[[photo, *partners]] = -np.inf
    worst = np.argsort(-others, kind="stable")[:20]
    worst = worst[np.isfinite(others[worst])]
    return Query(
        disguise=disguise,
        photo=photo,
        true_score=float(scores[photo]),
        wrong_scores=others[worst],
        wrong_photos=worst.astype(np.int64),
    )


def threshold(queries: list[Query], precision: float = 0.99) -> float:
    """The lowest score at which, over all queries, this share of links is right."""
    right = np.array([q.true_score for q in queries])
    wrong = np.concatenate([q.wrong_scores for q in queries])
    scores = np.unique(right[np.isfinite(right)])
    right, wrong = np.sort(right), np.sort(wrong)
    hits = len(right) - np.searchsorted(right, scores)
    misses = len(wrong) - np.searchsorted(wrong, scores)
    good = hits >= precision * (hits + misses)
    return float(scores[good].min()) if good.any() else np.inf


def recalls(queries: list[Query], limit: float) -> dict[str, float]:
    """For each disguise the share of queries whose photo scores at least ``limit``."""
    names = dict.fromkeys(q.disguise for q in queries)
    return {
        name: float(np.mean([q.true_score >= limit for q in queries if q.disguise == name]))
        for name in names
    }


def false_links(queries: list[Query], limit: float) -> int:
    """Wrong photos that score at least ``limit``."""
    return int(sum((q.wrong_scores >= limit).sum() for q in queries))
