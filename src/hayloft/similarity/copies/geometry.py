"""How one photo lies in another: the similarity, affine map or homography that many keypoints agree on.

Keypoints pair up when each is the other's nearest by code. One pair alone, by its positions, sizes and
directions, says how the whole photo would lie; the arrangement that most other pairs agree with is
refined, first to an affine map, then to a homography, keeping a refinement only where more pairs agree.
There is no randomness: every pair is tried. Arrangements that no camera, editor or screen makes
(folded, torn, squeezed to a line) are refused. Nothing here looks at pixels: agreeing points are not
yet a proof (``agreement``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import spectrum, thresholds
from hayloft.similarity.copies.features import Description

Matrix = NDArray[np.floating[Any]]
"""``float[3, 3]``: takes (x, y, 1) of the first photo to the second's, both in working pixels."""
Points = NDArray[np.float32]
_Fit = Callable[[Points, Points], Matrix | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guise:
    """Whether a photo is a mirror image, and whether a negative, of another."""

    mirrored: bool = False
    negative: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """An arrangement of one photo in another, and the points that agree with it."""

    matrix: Matrix
    guise: Guise
    agreeing: int
    """Pairs of keypoints that agree, at distinct places of both photos."""
    paired: int
    """Pairs of keypoints that were each other's nearest."""


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Keypoints of two photos that are each other's nearest; ``a`` as it would look in the guise."""

    a: Points
    b: Points
    turn: NDArray[np.float32]
    """Radians from a's direction to b's."""
    growth: NDArray[np.float32]
    """b's size over a's."""


def align(a: Description, b: Description, guise: Guise) -> Alignment | None:
    """The arrangement of ``a``, in this guise, in ``b`` that most points agree on; None if too few do."""
    pairs = _pair(a, b, guise)
    if len(pairs.a) < thresholds.AGREEING_POINTS_MIN:
        return None
    matrix, agreeing = _best_similarity(pairs)
    if int(agreeing.sum()) < thresholds.AGREEING_POINTS_MIN:
        # Most strangers end here; a finer fit would hardly ever bring them the points that they lack.
        return None
    for refine in (_fit_similarity, _fit_affine, _fit_homography):
        matrix, agreeing = _refined(pairs, matrix, agreeing, refine)
    count = _distinct(pairs, agreeing)
    if count < thresholds.AGREEING_POINTS_MIN:
        return None
    matrix = matrix @ _unmirror(a) if guise.mirrored else matrix
    if not plausible(matrix, a, b):
        return None
    return Alignment(matrix=matrix, guise=guise, agreeing=count, paired=len(pairs.a))


def plausible(matrix: Matrix, a: Description, b: Description) -> bool:
    """Whether a camera, an editor or a screen could have made this of a photo."""
    corners = _corners(a)
    depth = corners @ matrix[2, :2] + matrix[2, 2]
    if depth.min() <= 0 or depth.max() > thresholds.DEPTH_RATIO_MAX * depth.min():
        return False
    outline = transform(matrix, corners)
    if not cv2.isContourConvex(outline.astype(np.float32)):
        return False
    sides = np.linalg.norm(outline - np.roll(outline, -1, axis=0), axis=1)
    sides = sides / np.array([a.width, a.height, a.width, a.height])
    scale_min, scale_max = 1 / thresholds.SCALE_RATIO_MAX, thresholds.SCALE_RATIO_MAX
    inside = scale_min <= sides.min() and sides.max() <= scale_max
    area = abs(cv2.contourArea(outline.astype(np.float32)))
    squeezed = area < thresholds.SQUEEZE_MIN * a.width * a.height * float(sides.max()) ** 2
    return bool(inside and not squeezed and _overlap_is_seen(outline, b))


def transform(matrix: Matrix, points: NDArray[np.floating[Any]]) -> Points:
    """The places ``float32[n, 2]`` to which a matrix takes points ``[n, 2]``."""
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(moved[:, :2] / moved[:, 2:], dtype=np.float32)


def in_shares(matrix: Matrix, size_a: tuple[int, int], size_b: tuple[int, int]) -> Matrix:
    """A matrix between pixels of pictures ``(width, height)`` as one between shares of their sides.

    A share of a side is measured from its edge, a pixel's place is that of its centre.
    """
    shares = np.linalg.inv(_pixels(size_b)) @ matrix @ _pixels(size_a)
    return np.asarray(shares / shares[2, 2], dtype=np.float64)


def in_pixels(shares: Matrix, size_a: tuple[int, int], size_b: tuple[int, int]) -> Matrix:
    """The other way round."""
    matrix = _pixels(size_b) @ shares @ np.linalg.inv(_pixels(size_a))
    return np.asarray(matrix / matrix[2, 2], dtype=np.float64)


def _pixels(size: tuple[int, int]) -> Matrix:
    """From shares of the sides to pixels."""
    width, height = size
    return np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]])


def _overlap_is_seen(outline: Points, b: Description) -> bool:
    return bool(
        outline[:, 0].max() > 0
        and outline[:, 1].max() > 0
        and outline[:, 0].min() < b.width
        and outline[:, 1].min() < b.height
    )


def _corners(photo: Description) -> Points:
    return np.array([[0, 0], [photo.width, 0], [photo.width, photo.height], [0, photo.height]], np.float32)


def _unmirror(photo: Description) -> Matrix:
    return np.array([[-1.0, 0.0, photo.width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def _pair(a: Description, b: Description, guise: Guise) -> _Pairs:
    codes = spectrum.disguise(a.codes, mirrored=guise.mirrored, negative=guise.negative)
    likeness = spectrum.unpack(codes) @ spectrum.unpack(b.codes).T
    if not likeness.size:
        nothing = np.zeros((0, 2), np.float32)
        return _Pairs(nothing, nothing, nothing[:, 0], nothing[:, 0])
    nearest = likeness.argmax(axis=1)
    i = np.arange(len(codes))
    close = likeness[i, nearest] >= spectrum.BITS - 2 * thresholds.PAIR_DISTANCE_BITS_MAX
    kept = i[(likeness.argmax(axis=0)[nearest] == i) & close]
    j = nearest[kept]
    positions, angles = a.positions[kept].copy(), a.angles[kept].copy()
    if guise.mirrored:
        positions[:, 0] = a.width - 1 - positions[:, 0]
        angles = 180 - angles
    if guise.negative:
        angles = angles + 180
    return _Pairs(positions, b.positions[j], np.radians(b.angles[j] - angles), b.sizes[j] / a.sizes[kept])


def _best_similarity(pairs: _Pairs) -> tuple[Matrix, NDArray[np.bool_]]:
    """The similarity that one pair implies and most others agree with, judged loosely."""
    cos, sin = pairs.growth * np.cos(pairs.turn), pairs.growth * np.sin(pairs.turn)
    x, y = pairs.a.T
    shift_x, shift_y = pairs.b[:, 0] - (cos * x - sin * y), pairs.b[:, 1] - (sin * x + cos * y)
    error_x = np.outer(cos, x) - np.outer(sin, y) + shift_x[:, None] - pairs.b[:, 0]
    error_y = np.outer(sin, x) + np.outer(cos, y) + shift_y[:, None] - pairs.b[:, 1]
    tolerance = thresholds.POINT_TOLERANCE_LOOSE_PIXELS * np.maximum(1, pairs.growth)[:, None]
    close = np.hypot(error_x, error_y) < tolerance
    # A pair whose own turn or growth is far from the hypothesis agrees by place alone, by accident.
    turned = np.cos(pairs.turn[None, :] - pairs.turn[:, None]) > np.cos(np.radians(35))
    grown = np.abs(np.log(pairs.growth[None, :] / pairs.growth[:, None])) < np.log(1.7)
    agree = close & turned & grown
    best = int(agree.sum(axis=1).argmax())
    matrix = np.array(
        [[cos[best], -sin[best], shift_x[best]], [sin[best], cos[best], shift_y[best]], [0, 0, 1]],
        np.float64,
    )
    return matrix, agree[best]


def _refined(
    pairs: _Pairs, matrix: Matrix, agreeing: NDArray[np.bool_], fit: _Fit
) -> tuple[Matrix, NDArray[np.bool_]]:
    """Fit to the points that agree and look again who agrees, as long as there are not fewer of them."""
    before = _agreeing(pairs, matrix, thresholds.POINT_TOLERANCE_PIXELS).sum()
    for tolerance in (thresholds.POINT_TOLERANCE_LOOSE_PIXELS, thresholds.POINT_TOLERANCE_PIXELS, 0.0):
        fitted = fit(pairs.a[agreeing], pairs.b[agreeing])
        if fitted is None:
            break
        now = _agreeing(pairs, fitted, max(tolerance, thresholds.POINT_TOLERANCE_PIXELS))
        if now.sum() < max(thresholds.AGREEING_POINTS_MIN, 0.9 * before):
            break
        matrix, agreeing = fitted, now
    return matrix, agreeing


def _agreeing(pairs: _Pairs, matrix: Matrix, tolerance: float) -> NDArray[np.bool_]:
    growth = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    error = np.linalg.norm(transform(matrix, pairs.a) - pairs.b, axis=1)
    return np.asarray(error < tolerance * max(1.0, growth))


def _fit_similarity(a: Points, b: Points) -> Matrix | None:
    """Least squares in closed form, as complex numbers: b = z a + t."""
    if len(a) < 2:
        return None
    p, q = a.astype(np.float64) @ (1, 1j), b.astype(np.float64) @ (1, 1j)
    centred = p - p.mean()
    power = float((abs(centred) ** 2).sum())
    if power < 1e-9:
        return None
    z = (centred.conj() * (q - q.mean())).sum() / power
    t = q.mean() - z * p.mean()
    return np.array([[z.real, -z.imag, t.real], [z.imag, z.real, t.imag], [0.0, 0.0, 1.0]])


def _fit_affine(a: Points, b: Points) -> Matrix | None:
    if len(a) < thresholds.AFFINE_POINTS_MIN:
        return None
    rows = np.column_stack([a, np.ones(len(a))]).astype(np.float64)
    solution, _, rank, _ = np.linalg.lstsq(rows, b.astype(np.float64), rcond=None)
    return None if rank < 3 else np.vstack([solution.T, [0.0, 0.0, 1.0]])


def _fit_homography(a: Points, b: Points) -> Matrix | None:
    if len(a) < thresholds.HOMOGRAPHY_POINTS_MIN:
        return None
    matrix, _ = cv2.findHomography(a, b, 0)
    return None if matrix is None else np.asarray(matrix, dtype=np.float64)


def _distinct(pairs: _Pairs, agreeing: NDArray[np.bool_]) -> int:
    """Agreeing pairs at distinct places: one spot with several directions counts once."""
    places = [np.unique(points[agreeing] // _SPOT_PIXELS, axis=0) for points in (pairs.a, pairs.b)]
    return min(len(spots) for spots in places)


_SPOT_PIXELS: Final = 3
