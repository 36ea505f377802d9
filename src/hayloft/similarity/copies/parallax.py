"""How far parts of two pictures remain displaced when one lies on the other as well as can be.

Every disguise moves a photo as one plane. A second exposure, from elsewhere or of things that moved,
does not: whatever plane is chosen, near and far things remain displaced against it, by a fraction of a
pixel at least. So the plane is first fitted to the pixels themselves (the displacement of every
neighbourhood by Lucas and Kanade, IJCAI 1981, and from them, robustly, the homography), and what is
left is measured, weighted by how much structure says so.

Noise and compression displace as well, but without explaining the difference between the pictures (of
that, a displacement that is really there explains a good part, noise the share that chance would), and
every neighbourhood its own way, where things and depths are larger than neighbourhoods. Exposure, contrast
and filters are normalised away locally, the sharper picture is blurred to the other's detail, and what is
near a disagreement (a text, a sticker) is left out.
It does not know what a second exposure from the very same place differs in if nothing moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import thresholds
from hayloft.similarity.copies.geometry import Matrix, transform
from hayloft.similarity.copies.overlay import Image, Mask, Overlay, blur, laid

_WINDOW: Final = 13
"""Pixels of the neighbourhood whose displacement is taken: as long as a Gaussian of 3.7 pixels."""

_STEPS_MAX: Final = 4
_STEP_PIXELS_MIN: Final = 0.05
"""Times that the plane is fitted, unless its corners move by less than this."""

_GRID: Final = 4
_PLACES_MIN: Final = 24
"""Pixels between the neighbourhoods that are looked at, and how many there must be."""

_SHIFT_PIXELS_MAX: Final = 20.0
"""How far a fit may move a corner from where the points put it."""

_CLIP_PIXELS: Final = 2.0
"""Displacements are clipped here: beyond, the linear estimate says only that there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallax:
    """What is left when one picture lies on the other as well as a plane can."""

    drift_pixels: float
    """Root mean square displacement, in pixels of the coarser picture, weighted by structure."""
    explained: float
    """Share of the difference between the pictures that the displacements explain, 0 to 1."""
    shared: float
    """Correlation between the displacements of neighbours that have no pixel in common, −1 to 1."""
    blur_pixels: float
    """By how much the sharper picture was blurred: the coarser the noise, the more of it is explained."""

    @property
    def beyond_chance_pixels(self) -> float:
        """The drift that neither chance nor a plane not fitted to the last digit explains."""
        by_chance = thresholds.EXPLAINED_BY_CHANCE + thresholds.EXPLAINED_A_BLUR_PIXEL * self.blur_pixels
        excess = max(0.0, self.explained - by_chance) / max(self.explained, 1e-6)
        shared = min(1.0, max(0.0, self.shared) / thresholds.SHARED_MIN)
        drift = max(0.0, self.drift_pixels - thresholds.DRIFT_PIXELS_MIN)
        return drift * float(np.sqrt(excess)) * shared


@dataclass(frozen=True, slots=True)
class _Field:
    """The displacements of neighbourhoods on a grid; parallel arrays, one row a neighbourhood."""

    places: NDArray[np.float32]
    moved: NDArray[np.float32]
    """``float32[n, 2]``: from the lower picture to the one laid over it, in pixels."""
    weights: NDArray[np.float32]
    """The lesser eigenvalue of the structure tensor."""
    explains: NDArray[np.float32]
    differs: NDArray[np.float32]
    """Energy of the difference that the displacement explains, and all of it."""
    undisturbed: Mask
    """Far enough from what disagrees."""


def measure(overlay: Overlay, within: Mask, *, negative: bool) -> Parallax | None:
    """The parallax between two pictures laid over each other, within a mask of the lower one.

    None if there are too few neighbourhoods with structure in common to say anything.
    """
    source = 255 - overlay.source if negative else overlay.source
    matrix, blurs = overlay.matrix, (0.0, 0.0)
    field = None
    for step in range(_STEPS_MAX + 1):
        over = laid(source, overlay.under, matrix)
        field, agrees = _displacements(over, within, blurs)
        if field is None:
            return None
        if step == 0:
            blurs = _equalising(over, agrees)
        fitted = _fit(field) @ matrix
        shift = _corner_shift(fitted, matrix, source)
        if step == _STEPS_MAX or (step and shift < _STEP_PIXELS_MIN):
            break
        if _corner_shift(fitted, overlay.matrix, source) > _SHIFT_PIXELS_MAX:
            break
        matrix = fitted / fitted[2, 2]
    return None if field is None else _summed(field, max(blurs))


def _summed(field: _Field, blur_pixels: float) -> Parallax:
    kept = field.undisturbed
    if kept.sum() < _PLACES_MIN:
        kept = np.ones_like(kept)
    lengths = np.maximum(np.linalg.norm(field.moved, axis=1), 1e-9)
    moved = field.moved * np.minimum(1, _CLIP_PIXELS / lengths)[:, None]
    weights = field.weights * kept
    weights = weights / weights.sum()
    energy = float((weights * (moved**2).sum(axis=1)).sum())
    differs = float((weights * field.differs).sum())
    explains = float((weights * field.explains).sum())
    return Parallax(
        drift_pixels=float(np.sqrt(energy)),
        explained=min(1.0, explains / max(differs, 1e-9)),
        shared=_shared(field.places, moved, weights),
        blur_pixels=blur_pixels,
    )


def _shared(places: NDArray[np.float32], moved: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """How alike the displacements of neighbours without a common pixel are: 0 chance, 1 the same."""
    rows, columns = (places.T[::-1] // _GRID).astype(np.int64)
    shape = (rows.max() + 1 + _APART, columns.max() + 1 + _APART)
    field, weight = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    field[rows, columns], weight[rows, columns] = moved, np.sqrt(weights)
    product = energy = 0.0
    for a, b in ((np.s_[:-_APART], np.s_[_APART:]), (np.s_[:, :-_APART], np.s_[:, _APART:])):
        both = weight[a] * weight[b]
        product += float((both * (field[a] * field[b]).sum(axis=-1)).sum())
        energy += float((both * ((field[a] ** 2).sum(axis=-1) + (field[b] ** 2).sum(axis=-1))).sum()) / 2
    return product / max(energy, 1e-9)


_APART: Final = 4
"""Steps of the grid to a neighbour that shares no pixel."""


def _displacements(over: Overlay, within: Mask, blurs: tuple[float, float]) -> tuple[_Field | None, Mask]:
    """One step of Lucas and Kanade on locally normalised pictures, and where they agree at all."""
    common = _float(over.common)
    share = _float(np.maximum(_mean(common), 1e-3))
    a = _local(over.over, common, share, blurs[0])
    b = _local(over.under, common, share, blurs[1])
    covariance = _mean(a.smooth * b.smooth * common) / share - a.mean * b.mean
    floor = thresholds.STRUCTURE_LEVELS_MIN**2
    correlation = covariance / np.sqrt((a.variance + floor / 4) * (b.variance + floor / 4))
    shows = over.common & ((a.variance > floor) | (b.variance > floor))
    agrees = np.asarray(shows & (correlation > thresholds.CORRELATION_MIN))
    kernel = np.ones((_WINDOW, _WINDOW), np.uint8)
    disturbed = np.asarray(cv2.dilate((shows & ~agrees).astype(np.uint8), kernel))
    inner = np.asarray(cv2.erode(common, np.ones((3, 3), np.uint8)), dtype=np.float32)
    return _solved(a.normal, b.normal, inner, agrees & within, disturbed == 0), agrees


@dataclass(frozen=True, slots=True)
class _Local:
    """A picture against its neighbourhoods."""

    smooth: Image
    mean: Image
    variance: Image
    normal: Image
    """Contrast made equal everywhere; little of it stays little."""


def _local(image: Image, common: Image, share: Image, blur_pixels: float) -> _Local:
    """``share`` is how much of each neighbourhood is in both pictures."""
    smooth = blur(image, float(np.hypot(blur_pixels, thresholds.PARALLAX_SMOOTH_SIGMA_PIXELS)))
    seen = smooth * common
    mean = _float(_mean(seen) / share)
    variance = _float(np.maximum(_mean(smooth * seen) / share - mean * mean, 0))
    normal = _float((smooth - mean) / np.sqrt(variance + thresholds.PARALLAX_NOISE_LEVELS**2))
    return _Local(smooth, mean, variance, normal)


def _solved(a: Image, b: Image, inner: Image, chosen: Mask, undisturbed: Mask) -> _Field | None:
    """The displacement of every chosen neighbourhood that has structure; None if too few have."""
    middle, difference = (a + b) / 2, b - a
    dx = _float(cv2.Sobel(middle, cv2.CV_32F, 1, 0, scale=1 / 8)) * inner
    dy = _float(cv2.Sobel(middle, cv2.CV_32F, 0, 1, scale=1 / 8)) * inner
    products = (dx * dx, dy * dy, dx * dy, dx * difference, dy * difference, difference**2 * inner)
    xx, yy, xy, xt, yt, tt = (_mean(_float(product))[_SAMPLED] for product in products)
    least = (xx + yy) / 2 - np.sqrt((xx - yy) ** 2 / 4 + xy**2)
    kept = chosen[_SAMPLED] & (least > thresholds.PARALLAX_STRUCTURE_MIN)
    if kept.sum() < _PLACES_MIN:
        return None
    xx, yy, xy, xt, yt = xx[kept], yy[kept], xy[kept], xt[kept], yt[kept]
    determinant = xx * yy - xy * xy
    x, y = (xy * yt - yy * xt) / determinant, (xy * xt - xx * yt) / determinant
    rows, columns = np.nonzero(kept)
    return _Field(
        places=_float(np.column_stack([columns, rows])) * _GRID + _GRID // 2,
        moved=_float(np.column_stack([x, y])),
        weights=_float(least[kept]),
        explains=_float(x * x * xx + 2 * x * y * xy + y * y * yy),
        differs=tt[kept],
        undisturbed=undisturbed[_SAMPLED][kept],
    )


_SAMPLED: Final = np.s_[_GRID // 2 :: _GRID, _GRID // 2 :: _GRID]


def _float(array: Any) -> Image:
    return np.asarray(array, dtype=np.float32)


def _mean(image: Image) -> Image:
    return np.asarray(cv2.blur(image, (_WINDOW, _WINDOW)), dtype=np.float32)


def _equalising(over: Overlay, agrees: Mask) -> tuple[float, float]:
    """By how much to blur either picture so that both show the same detail, judged where they agree."""
    inner = cv2.erode(agrees.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if inner.sum() < thresholds.COMMON_PIXELS_MIN:
        return 0.0, 0.0
    details = detail(over.over, inner), detail(over.under, inner)
    if min(details) > 0.9 * max(details):
        return 0.0, 0.0
    sharp = over.over if details[0] > details[1] else over.under
    sigma = min(_BLURS, key=lambda s: abs(detail(blur(sharp, s), inner) - min(details)))
    return (sigma, 0.0) if details[0] > details[1] else (0.0, sigma)


_BLURS: Final = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)


def detail(image: Image, where: Mask) -> float:
    """Gradients against contrast: what blurring takes away and exposure does not."""
    x, y = cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)
    steepness = float(np.mean((np.asarray(x) ** 2 + np.asarray(y) ** 2)[where]))
    return float(np.sqrt(steepness / max(float(image[where].var()), 1.0)))


def _fit(field: _Field) -> Matrix:
    """The small homography that most displacements agree with (iterated least squares, Tukey's weights)."""
    scale = float(field.places.max()) + 1
    x, y = (field.places / scale).T.astype(np.float64)
    u, v = np.clip(field.moved, -3, 3).T.astype(np.float64) / scale
    powers = np.stack([x, y, np.ones_like(x), x * x, x * y, y * y])
    count = 8 if len(x) >= _PERSPECTIVE_PLACES_MIN else 6
    along, down = _ALONG[:count], _DOWN[:count]
    solution = np.zeros(count)
    weights = np.minimum(field.weights, np.percentile(field.weights, 90)).astype(np.float64)
    tukey = np.ones_like(weights)
    for _ in range(_REWEIGHTED):
        each = powers * (weights * tukey)
        products = each @ powers.T
        normal = along @ products @ along.T + down @ products @ down.T
        right = along @ (each @ u) + down @ (each @ v)
        solution = np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(count), right)
        left = (u - solution @ along @ powers) ** 2 + (v - solution @ down @ powers) ** 2
        limit = max(4 * float(np.sqrt(np.median(left))), 0.3 / scale)
        tukey = np.maximum(1 - left / limit**2, 0) ** 2
    matrix = np.eye(3)
    matrix[:2] += solution[:6].reshape(2, 3)
    if count == 8:
        matrix[2, :2] = solution[6:]
    sized = np.diag([scale, scale, 1.0])
    return np.asarray(sized @ matrix @ np.linalg.inv(sized))


_ALONG: Final = np.zeros((8, 6))
_DOWN: Final = np.zeros((8, 6))
_ALONG[[0, 1, 2, 6, 7], [0, 1, 2, 3, 4]] = 1, 1, 1, -1, -1
_DOWN[[3, 4, 5, 6, 7], [0, 1, 2, 4, 5]] = 1, 1, 1, -1, -1
"""How the eight numbers of a homography close to 1 displace a place along x and y: factors of x, y, 1, x²,
xy and y². So the squares to be added up over all places are those of six numbers, not of sixteen.
"""

_REWEIGHTED: Final = 4
_PERSPECTIVE_PLACES_MIN: Final = 150


def _corner_shift(matrix: Matrix, other: Matrix, source: Image) -> float:
    height, width = source.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return float(np.linalg.norm(transform(matrix, corners) - transform(other, corners), axis=1).max())
