"""The proof: laid over each other, the two pictures themselves must be the same.

Agreeing points prove only that something is shared: a watermark, a frame, a status bar, a label, or the
place where both photos were taken. This module lays one small picture over the other and asks three
questions.

*Do they look the same where they overlap?* Both are compared by local normalised correlation, which
filters, exposure, recompression and a negative leave alone. Parts where neither shows anything say
nothing. Of the parts within the outline of what agrees, nearly all must agree; a text or a sticker may
hide the rest.

*Is it the photo, or only something laid over it?* What agrees must be most of what there is to see in
one of the two photos. A shared watermark, frame or status bar is a small share of both: the photos
below differ.

*Do both go on where the other one ends?* A copy is cut from the other photo, or set into something
else: one of the two ends where the shared part ends. When each photo shows the same scene going on
beyond the other's edge, the camera has moved between them: neighbours in a flight, in a panorama or in
a burst, however well the part in common agrees. (Two overlapping crops of one photo look like that too
and are not linked to each other, only to the photo itself: a wrong link costs a photo, this one is
found through the original.)

It does not know what a burst on a tripod differs in if nothing in it moved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import thresholds
from hayloft.similarity.copies.features import Description
from hayloft.similarity.copies.geometry import Alignment, Matrix, Points, transform

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]


class View(StrEnum):
    """How the pictures were looked at when they agreed best."""

    PLAIN = "plain"
    BLURRED = "blurred"
    """The sharper one blurred until both show the same detail."""
    LINES = "lines"
    """The darker side of edges in one against the other as it is, which is a drawing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What two pictures, laid over each other, have in common. Shares are 0 to 1."""

    view: View
    agreeing: int
    """Points that agreed with the alignment."""
    closeness: float
    """Median local correlation over the parts that show something, within what agrees."""
    unbroken: float
    """Share of the parts within the outline of what agrees that do agree."""
    share: float
    """Share of what there is to see in one of the photos (the larger of the two shares) that agrees."""
    continues: float
    """How far each photo's scene goes on beyond the other's edge, as a share of the edges; the lesser."""
    regions: tuple[Points, Points]
    """The outline of what agrees, in each photo: ``float32[n, 2]``, as shares of its width and height."""

    @property
    def score(self) -> float:
        """1 is the very same picture, ``thresholds.SCORE_MIN`` the least that a copy has.

        What a filter may take from closeness, an overlay from the unbroken part, a collage from the share
        and a small crop from the points, each on its own, is allowed; all of it together is not.
        """
        doubt = self.continues / thresholds.CONTINUES_LOSS
        doubt += (1 - self.closeness) / thresholds.CLOSENESS_LOSS[self.view]
        doubt += (1 - self.unbroken) / thresholds.UNBROKEN_LOSS
        doubt += max(0.0, 1 - self.agreeing / thresholds.POINTS_ENOUGH) * thresholds.POINTS_WEIGHT
        doubt += max(0.0, 1 - self.share / thresholds.SHARE_ENOUGH) * thresholds.SHARE_WEIGHT
        return max(0.0, 1 - doubt / 2)

    @property
    def proved(self) -> bool:
        """Whether one photo is a copy of the other, or of a part of it."""
        return self.score >= thresholds.SCORE_MIN


@dataclass(frozen=True, slots=True)
class _Overlay:
    """A picture (``over``) brought into the frame of another, coarser one (``under``)."""

    over: Image
    under: Image
    common: Mask
    """Where both are."""
    source: Image
    """``over`` in its own frame, blurred to the other's detail."""
    matrix: Matrix
    """From ``source`` to ``under``, in pixels."""


def compare(a: Description, b: Description, alignment: Alignment) -> Agreement | None:
    """Lay ``a`` over ``b`` as aligned; None if they share too little to say anything."""
    overlay, swapped = _overlay(a, b, alignment)
    if overlay.common.sum() < thresholds.COMMON_PIXELS_MIN:
        return None
    plain = _look(overlay, alignment, View.PLAIN, swapped)
    if plain is None or plain.proved or plain.continues > thresholds.CONTINUES_LOSS:
        return plain
    looks = [plain, _look(_equally_blurred(overlay), alignment, View.BLURRED, swapped)]
    if alignment.agreeing >= thresholds.POINTS_ENOUGH:
        looks += [_look(o, alignment, View.LINES, swapped) for o in _as_drawings(overlay)]
    return max((look for look in looks if look is not None), key=lambda look: look.score)


def _look(overlay: _Overlay, alignment: Alignment, view: View, swapped: bool) -> Agreement | None:
    # A drawing has dark lines whether or not the photo was negated before.
    negative = alignment.guise.negative and view is not View.LINES
    correlation, shows = _correlation(overlay, negative=negative)
    agrees = shows & (correlation > thresholds.CORRELATION_MIN)
    solid = _solid(agrees)
    outline = _outline(solid)
    if outline is None:
        return None
    inside = cv2.fillConvexPoly(np.zeros(shows.shape, np.uint8), outline, 1) > 0
    agreed, judged = int((agrees & inside).sum()), int((shows & inside).sum())
    regions = _regions(overlay, outline)
    return Agreement(
        view=view,
        agreeing=alignment.agreeing,
        closeness=float(np.median(correlation[agrees & inside])),
        unbroken=agreed / judged,
        share=_share(overlay, agrees & inside),
        continues=_continues(overlay, solid, inside),
        regions=(regions[1], regions[0]) if swapped else regions,
    )


def _equally_blurred(overlay: _Overlay) -> _Overlay:
    """The sharper picture blurred as much as makes it most like the other where both are."""
    inner = cv2.erode(overlay.common.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if not inner.any():
        return overlay
    over_is_sharper = _detail(overlay.over, inner) > _detail(overlay.under, inner)
    sharp, soft = (overlay.over, overlay.under) if over_is_sharper else (overlay.under, overlay.over)
    target = _detail(soft, inner)
    best = min(
        (_blur(sharp, sigma) for sigma in _BLURS), key=lambda image: abs(_detail(image, inner) - target)
    )
    if over_is_sharper:
        return replace(overlay, over=best)
    return replace(overlay, under=best)


_BLURS: Final = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0)


def _detail(image: Image, where: Mask) -> float:
    """Gradients against contrast: what blurring takes away and exposure does not."""
    x, y = cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)
    steepness = float(np.mean((np.asarray(x) ** 2 + np.asarray(y) ** 2)[where]))
    return float(np.sqrt(steepness / max(float(image[where].var()), 1.0)))


def _as_drawings(overlay: _Overlay) -> tuple[_Overlay, _Overlay]:
    """Each picture in turn as the drawing that the other may be."""
    return replace(overlay, over=_drawn(overlay.over)), replace(overlay, under=_drawn(overlay.under))


def _drawn(image: Image) -> Image:
    """A picture divided by its blurred self, light cut off: what sketch filters do (colour dodge)."""
    drawn = np.minimum((image + 8) / _blur(image + 8, 2.0), 1) * 100
    return np.asarray(drawn, dtype=np.float32)


def _overlay(a: Description, b: Description, alignment: Alignment) -> tuple[_Overlay, bool]:
    """Bring the finer picture into the coarser one's frame; True if that is ``b``."""
    matrix = _to_picture(b) @ alignment.matrix @ np.linalg.inv(_to_picture(a))
    over, under, swapped = a.picture, b.picture, False
    if _growth(matrix, over) > 1:
        matrix, over, under, swapped = np.linalg.inv(matrix), under, over, True
    matrix = matrix / matrix[2, 2]
    growth = _growth(matrix, over)
    source, ground = over.astype(np.float32), under.astype(np.float32)
    if growth < 1:
        # Shrinking averages; sampling alone would keep detail that the coarser picture cannot have.
        source = _blur(source, max(0.3, 0.5 * np.sqrt(1 / growth**2 - 1)))
    return _laid(source, ground, matrix), swapped


def _laid(source: Image, ground: Image, matrix: Matrix) -> _Overlay:
    size = (ground.shape[1], ground.shape[0])
    moved = np.asarray(cv2.warpPerspective(source, matrix, size), dtype=np.float32)
    inside = cv2.warpPerspective(np.ones_like(source), matrix, size)
    return _Overlay(moved, ground, np.asarray(inside) > 0.999, source, matrix)


def _to_picture(photo: Description) -> Matrix:
    """From working pixels to the small picture's, by the centres of pixels."""
    x, y = photo.picture.shape[1] / photo.width, photo.picture.shape[0] / photo.height
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _growth(matrix: Matrix, picture: NDArray[np.generic]) -> float:
    """How much longer lengths become at the picture's middle."""
    height, width = picture.shape
    x, y = width / 2, height / 2
    step = transform(matrix, np.array([[x, y], [x + 1, y], [x, y + 1]], np.float32))
    (ax, ay), (bx, by) = step[1] - step[0], step[2] - step[0]
    return float(np.sqrt(abs(ax * by - ay * bx)) + 1e-9)


def _blur(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(sigma)), dtype=np.float32)


def _correlation(overlay: _Overlay, *, negative: bool) -> tuple[Image, Mask]:
    """Local normalised correlation, and where at least one picture shows something."""
    common = overlay.common.astype(np.float32)
    weight = np.maximum(_blur(common, thresholds.WINDOW_SIGMA_PIXELS), 1e-3)

    def mean(values: Image) -> Image:
        blurred = _blur(values * common, thresholds.WINDOW_SIGMA_PIXELS)
        return np.asarray(blurred / weight, dtype=np.float32)

    over, under = (
        _blur(overlay.over, thresholds.SMOOTH_SIGMA_PIXELS),
        _blur(overlay.under, thresholds.SMOOTH_SIGMA_PIXELS),
    )
    mean_over, mean_under = mean(over), mean(under)
    variance_over = np.maximum(mean(over * over) - mean_over**2, 0)
    variance_under = np.maximum(mean(under * under) - mean_under**2, 0)
    covariance = mean(over * under) - mean_over * mean_under
    floor = thresholds.STRUCTURE_LEVELS_MIN**2
    correlation: Image = covariance / np.sqrt((variance_over + floor / 4) * (variance_under + floor / 4))
    shows = overlay.common & ((variance_over > floor) | (variance_under > floor))
    return (-correlation if negative else correlation).astype(np.float32), shows


def _solid(agrees: Mask) -> Mask:
    """What agrees in one piece: small pieces agree by accident, far from where the photo ends."""
    opened = cv2.morphologyEx(agrees.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    _, labels, numbers, _ = cv2.connectedComponentsWithStats(opened)
    areas = numbers[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    large = areas >= thresholds.PIECE_SHARE_MIN * areas.max()
    large[0] = False
    return np.asarray(large[labels])


def _outline(solid: Mask) -> NDArray[np.int32] | None:
    """The convex outline of what agrees."""
    points = cv2.findNonZero(solid.astype(np.uint8))
    if points is None or len(points) < thresholds.COMMON_PIXELS_MIN:
        return None
    return np.asarray(cv2.convexHull(points), dtype=np.int32)


def _shows(picture: Image) -> Mask:
    smooth = _blur(picture, thresholds.SMOOTH_SIGMA_PIXELS)
    mean = _blur(smooth, thresholds.WINDOW_SIGMA_PIXELS)
    variance = _blur(smooth * smooth, thresholds.WINDOW_SIGMA_PIXELS) - mean * mean
    return np.asarray(variance > thresholds.STRUCTURE_LEVELS_MIN**2)


def _share(overlay: _Overlay, agrees: Mask) -> float:
    """What agrees, as a share of what the photo that has less besides shows in all."""
    below = int(_shows(overlay.under).sum())
    shown = _shows(overlay.source)
    above = int(shown.sum())
    agrees_above = int((_seen_from_source(overlay, agrees) & shown).sum())
    shares = (int(agrees.sum()) / max(below, 1), agrees_above / max(above, 1))
    return min(1.0, max(shares))


def _continues(overlay: _Overlay, agrees: Mask, inside: Mask) -> float:
    """How much of a frame's edges the other photo's scene crosses although it should not, as a share.

    A scene may go on beyond one photo's edges, if that photo lies in the other as a whole: it is a
    crop. Not beyond the edges of both, and not beyond those of a photo of which a good part is missing
    in the other.
    """
    back = np.linalg.inv(overlay.matrix)
    seen = _seen_from_source(overlay, agrees)
    beyond_over = _crossed(overlay.under, agrees, overlay.source.shape, overlay.matrix)
    beyond_under = _crossed(overlay.source, seen, overlay.under.shape, back)
    lacks_over = _lacks(overlay.source, _seen_from_source(overlay, inside))
    lacks_under = _lacks(overlay.under, inside)
    return max(min(beyond_over, beyond_under), beyond_over * lacks_over, beyond_under * lacks_under)


def _lacks(picture: Image, inside: Mask) -> float:
    """0 if what a photo shows lies within the outline of what agrees, 1 if a good part does not."""
    shows = _shows(picture)
    share = int((shows & inside).sum()) / max(int(shows.sum()), 1)
    if share < thresholds.CONTAINER_SHARE_MAX:
        # A collage or a screen holds much besides, and a photo cut to its cell goes on beyond its rim.
        return 0.0
    whole, part = thresholds.WHOLE_SHARE_MIN, thresholds.PART_SHARE_MAX
    return min(1.0, max(0.0, (whole - share) / (whole - part)))


def _seen_from_source(overlay: _Overlay, mask: Mask) -> Mask:
    height, width = overlay.source.shape
    back = np.linalg.inv(overlay.matrix)
    moved = cv2.warpPerspective(mask.astype(np.uint8), back, (width, height), flags=cv2.INTER_NEAREST)
    return np.asarray(moved) > 0


def _crossed(scene: Image, agrees: Mask, edge_shape: tuple[int, ...], matrix: Matrix) -> float:
    """The share of a frame's edges, laid into a scene, that the scene crosses without a break.

    Strips just within and just beyond an edge look alike if the scene goes on, and not if the frame was
    cut out and set into something else.
    """
    height, width = edge_shape
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)
    outline = transform(matrix, corners)
    centre = outline.mean(axis=0)
    smooth = _blur(scene, 0.7)
    empty = not _shows_beyond(scene, outline)
    near = np.asarray(cv2.dilate(agrees.astype(np.float32), np.ones((5, 5), np.uint8)), dtype=np.float32)
    crossed = total = 0.0
    for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        length = float(np.linalg.norm(end - start))
        steps = min(max(2, int(length)), _STEPS_MAX)
        total += length
        line = start + (end - start) * np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        outward = np.array([end[1] - start[1], start[0] - end[0]], np.float32) / max(length, 1e-6)
        if outward @ (start - centre) < 0:
            outward = -outward
        crossed += _crossings(smooth, near, line, outward, empty) * length / steps
    return crossed / total


def _shows_beyond(scene: Image, outline: Points) -> bool:
    """Whether the scene outside of a frame shows anything: a border and a turned photo's corners do not."""
    outside = np.ones(scene.shape, np.uint8)
    corners = np.clip(np.round(outline), -32_000, 32_000).astype(np.int32)
    beyond = cv2.fillConvexPoly(outside, corners, 0) > 0
    return int((_shows(scene) & beyond).sum()) > thresholds.BEYOND_SHARE_MIN * max(int(beyond.sum()), 1)


def _crossings(scene: Image, near: Image, line: Points, outward: Points, empty: bool) -> float:
    within, between, beyond, far = (line + outward * d for d in _STRIPS)
    height, width = scene.shape
    seen = (far >= 0).all(axis=1) & (far[:, 0] <= width - 1) & (far[:, 1] <= height - 1)
    seen &= _sample(near, line - outward) > 0
    if seen.sum() < thresholds.EDGE_PIXELS_MIN:
        return 0.0
    strips = [_sample(scene, strip) for strip in (within, between, beyond)]
    return float((seen & _goes_on(strips, seen, empty)).sum())


_STEPS_MAX: Final = 4096

_STRIPS: Final = (-2.0, 0.5, 2.0, 3.0)
"""Pixels from an edge: strips within, on and beyond it, and what must still be seen beyond."""


def _sample(image: Image, points: Points) -> Image:
    x, y = np.ascontiguousarray(points.T.astype(np.float32))
    values = cv2.remap(image, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, dtype=np.float32).ravel()


def _goes_on(strips: list[Image], seen: Mask, empty: bool) -> Mask:
    """Where lines of samples within, on and beyond an edge are one scene: alike, and equally bright.

    A border, the gap of a collage, or another photo differs from the strip within in its mean at least.
    Where nothing shows (sky, an unsharp background), equal brightness is enough, if the scene is not
    empty beyond.
    """
    kernel = np.ones(min(thresholds.EDGE_WINDOW_PIXELS, len(seen)), np.float32)
    weight = seen.astype(np.float32)
    total = np.maximum(np.convolve(weight, kernel, mode="same"), 1)

    def mean(values: Image) -> Image:
        return np.asarray(np.convolve(values * weight, kernel, mode="same") / total, dtype=np.float32)

    a, middle, b = strips
    mean_a, mean_middle, mean_b = mean(a), mean(middle), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    shows = np.minimum(variance_a, variance_b) > thresholds.EDGE_LEVELS_MIN**2
    contrast = np.sqrt(np.maximum(np.maximum(variance_a, variance_b), 1e-3))
    covariance = mean(a * b) - mean_a * mean_b
    alike = covariance > thresholds.EDGE_CORRELATION_MIN * np.sqrt(
        np.maximum(variance_a * variance_b, 1e-6)
    )
    step = np.maximum(abs(mean_a - mean_b), abs(mean_middle - (mean_a + mean_b) / 2))
    crosses = shows & alike & (step < thresholds.EDGE_STEP_MAX * contrast)
    if empty:
        return np.asarray(crosses)
    flat = contrast < thresholds.STRUCTURE_LEVELS_MIN
    return np.asarray(crosses | (flat & (step < thresholds.EDGE_STEP_LEVELS_MAX)))


def _regions(overlay: _Overlay, outline: NDArray[np.int32]) -> tuple[Points, Points]:
    """The outline in both photos, as shares of width and height: ``source``'s first."""
    under = outline.reshape(-1, 2).astype(np.float32)
    over = transform(np.linalg.inv(overlay.matrix), under)
    return _as_shares(over, overlay.source), _as_shares(under, overlay.under)


def _as_shares(points: Points, picture: Image) -> Points:
    height, width = picture.shape
    return np.clip((points + 0.5) / (width, height), 0, 1).astype(np.float32)
