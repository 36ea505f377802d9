"""The measurements that chose the thresholds of PDQ: ``python -m similarity hashes``.

A hash names candidates and decides nothing, so no half of the photos is kept from it: all are compared with
each other, and as many as are asked for with themselves in every disguise. A distance is the least of the
eight orientations, of 256 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hayloft.similarity import fingerprint, thresholds
from similarity import disguises, methods
from similarity.disguises import Picture
from similarity.photos import Photo

NEAREST: Final = 5
"""Pairs of different photos that are named."""

Disguise = Callable[[int, str], Picture]
"""A photo, by its place, in a disguise."""


def print_hashes(collection: Sequence[Photo], disguised: Disguise, queries: int) -> None:
    """Print how near different photos come, and how far disguises go."""
    described = [_describe(photo.picture) for photo in collection]
    quality = np.array([quality for _, quality in described])
    hashes = np.stack([hashes for hashes, _ in described])
    poor = quality < thresholds.PDQ_QUALITY_MIN
    print(f"\nPDQ: quality below {thresholds.PDQ_QUALITY_MIN:.0f} in {poor.mean():.1%} of the photos")
    _print_nearest(collection, hashes[~poor], np.flatnonzero(~poor))
    print(f"  bits between {min(queries, len(collection))} photos and themselves in disguise")
    print(f"  {'':30}{'median':>8}{'95 %':>8}{'most':>8}{'linked':>9}")
    for name in disguises.ALL:
        seen = [_describe(disguised(place, name)) for place in range(min(queries, len(collection)))]
        bits = np.array([_bits(hashes[place], one[0]) for place, one in enumerate(seen)])
        sure = np.array([one[1] >= thresholds.PDQ_QUALITY_MIN for one in seen]) & ~poor[: len(seen)]
        linked = (bits <= thresholds.PDQ_DISTANCE_BITS_MAX) & sure
        spread = f"{np.median(bits):8.0f}{np.percentile(bits, 95):8.0f}{bits.max():8d}"
        print(f"  {name:30}{spread}{linked.mean():9.2f}")


def _print_nearest(
    collection: Sequence[Photo], hashes: NDArray[np.uint8], places: NDArray[np.intp]
) -> None:
    """The different photos that come nearest; a photo's twins, at 0 bits, are not among them."""
    nearest: list[tuple[int, int, int]] = []
    for row in range(len(hashes) - 1):
        bits = _bits(hashes[row + 1 :], hashes[row])
        nearest += [(int(bits[i]), row, row + 1 + int(i)) for i in np.argsort(bits)[:NEAREST]]
        nearest = sorted(nearest)[:NEAREST]
    pairs = len(hashes) * (len(hashes) - 1) // 2
    print(f"  the nearest of {pairs:,} pairs of different photos")
    for bits_apart, one, other in nearest:
        names = (collection[places[i]].name for i in (one, other))
        print(f"    {bits_apart:4} bits  {' ~ '.join(names)}")


def _describe(picture: Picture) -> tuple[NDArray[np.uint8], float]:
    found = fingerprint.pdq(methods.decoded(picture))
    return np.asarray(fingerprint.hashes_of(found), dtype=np.uint8), found.quality


def _bits(stored: NDArray[Any], seen: NDArray[np.uint8]) -> Any:
    """Bits between upright hashes and the nearest orientation of what is seen.

    ``stored`` holds the eight hashes of one photo, or of each of several; the first is the upright one.
    """
    upright = stored[..., :1, :]
    return np.bitwise_count(upright ^ seen).sum(axis=-1).min(axis=-1)
