"""Whether a scene goes on beyond the edges of a photo that is laid into it.

A copy is cut from the other photo, or set into something else: one of the two ends where the shared part
ends. When each shows the same scene going on beyond the other's edge, the camera has moved between them.
Strips just within and just beyond an edge are compared; nothing here knows how well the rest agrees.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from hayloft.similarity.copies import thresholds
from hayloft.similarity.copies.geometry import Matrix, Points, transform
from hayloft.similarity.copies.overlay import Image, Mask, Overlay, blur, seen_from_source


def continues(overlay: Overlay, agrees: Mask, inside: Mask) -> float:
    """How much of a frame's edges the other photo's scene crosses although it should not, as a share.

    A scene may go on beyond one photo's edges, if that photo lies in the other as a whole: it is a
    crop. Not beyond the edges of both, and not beyond those of a photo of which a good part is missing
    in the other.
    """
    back = np.linalg.inv(overlay.matrix)
    seen = seen_from_source(overlay, agrees)
    lacks_over = _lacks(overlay.source_shows, seen_from_source(overlay, inside))
    lacks_under = _lacks(overlay.under_shows, inside)
    beyond_under = _crossed(overlay.source, overlay.source_shows, seen, overlay.under.shape, back)
    if not beyond_under and not lacks_over:
        return 0.0
    beyond_over = _crossed(overlay.under, overlay.under_shows, agrees, overlay.source.shape, overlay.matrix)
    return max(min(beyond_over, beyond_under), beyond_over * lacks_over, beyond_under * lacks_under)


def _lacks(there: Mask, inside: Mask) -> float:
    """0 if what a photo shows lies within the outline of what agrees, 1 if a good part does not."""
    share = int((there & inside).sum()) / max(int(there.sum()), 1)
    if share < thresholds.CONTAINER_SHARE_MAX:
        # A collage or a screen holds much besides, and a photo cut to its cell goes on beyond its rim.
        return 0.0
    whole, part = thresholds.WHOLE_SHARE_MIN, thresholds.PART_SHARE_MAX
    return min(1.0, max(0.0, (whole - share) / (whole - part)))


def _crossed(scene: Image, there: Mask, agrees: Mask, edge_shape: tuple[int, ...], matrix: Matrix) -> float:
    """The share of a frame's edges, laid into a scene, that the scene crosses without a break.

    Strips just within and just beyond an edge look alike if the scene goes on, and not if the frame was
    cut out and set into something else.
    """
    height, width = edge_shape
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)
    outline = transform(matrix, corners)
    centre = outline.mean(axis=0)
    smooth = blur(scene, 0.7)
    empty = not _shows_beyond(there, outline)
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


def _shows_beyond(there: Mask, outline: Points) -> bool:
    """Whether the scene outside of a frame shows anything: a border and a turned photo's corners do not."""
    outside = np.ones(there.shape, np.uint8)
    corners = np.clip(np.round(outline), -32_000, 32_000).astype(np.int32)
    beyond = cv2.fillConvexPoly(outside, corners, 0) > 0
    return int((there & beyond).sum()) > thresholds.BEYOND_SHARE_MIN * max(int(beyond.sum()), 1)


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
