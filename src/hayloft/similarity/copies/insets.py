"""Pictures set into both of two pictures at the same place: a leaflet's, a page's, a collage's.

Around an inset both pictures end: there are straight lines, an upright rectangle in one picture, most sides
of which the other shows as well (an inset may be longer than the other, or as bright as the paper at a
side). A sticker or a text laid over a copy has such a border in one of them at most, for in the other the
photo goes on. Insets that were turned are not found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import thresholds
from hayloft.similarity.copies.overlay import Image, Mask, Overlay, blur

Rectangles = NDArray[np.intp]
"""``intp[n, 4]``: left and right column, upper and lower row, all of them inside."""

_PLACES_MAX: Final = 3
_LINES_MAX: Final = 8
"""Places looked at, and lines on each side of one, the nearest first: bounds the time."""

_MARGIN: Final = 6
"""Pixels along the border that say nothing: they agree by the border itself."""


@dataclass(frozen=True, slots=True)
class _Lines:
    """The straight lines in a picture, give or take a pixel."""

    upright: Mask
    level: Mask
    upright_sums: NDArray[np.int32]
    """``int32[width, height + 1]``: how much of each column is a line, down to a row."""
    level_sums: NDArray[np.int32]
    """``int32[height, width + 1]``: how much of each row is one, up to a column."""


def replaced(overlay: Overlay, agrees: Mask, differs: Mask, area: int) -> bool:
    """Whether something else is set into both pictures at one place.

    ``area`` is what the two have in common as a whole, in pixels. What is smaller than
    ``thresholds.INSET_SHARE_MIN`` of it is not looked for.
    """
    places = _places(differs)
    if not places:
        return False
    lines = _lines(overlay.over), _lines(overlay.under)
    sums = [np.asarray(cv2.integral(mask.astype(np.uint8)), np.int32) for mask in (agrees, differs)]
    for place in places:
        for one, other in (lines, lines[::-1]):
            insets = _around(place, one)
            insets = insets[_areas(insets) >= thresholds.INSET_SHARE_MIN * area]
            if not len(insets):
                continue
            seen = _sides(insets, other) >= thresholds.INSET_SIDE_SEEN_MIN
            insets = insets[seen.sum(axis=0) >= thresholds.INSET_SIDES_SEEN_MIN]
            alike, other_things = (_within(insets, held) for held in sums)
            if (alike < thresholds.INSET_AGREES_MAX * (alike + other_things)).any():
                return True
    return False


def _places(differs: Mask) -> list[tuple[int, int, int, int]]:
    """Squares of nothing but what differs, as rectangles; those farthest from all else."""
    padded = np.pad(differs.astype(np.uint8), 1)
    depth = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 3))[1:-1, 1:-1].copy()
    places = []
    for _ in range(_PLACES_MAX):
        _, deepest, _, (x, y) = cv2.minMaxLoc(depth)
        if deepest < thresholds.INSET_DEPTH_PIXELS_MIN:
            break
        reach = int(deepest * 0.7)
        places.append((x - reach, x + reach, y - reach, y + reach))
        cv2.circle(depth, (x, y), int(2 * deepest) + 1, 0.0, -1)
    return places


def _lines(picture: Image) -> _Lines:
    smooth = blur(picture, 0.8)
    along, down = _slope(smooth, 1, 0), _slope(smooth, 0, 1)
    upright, level = _straight(along, down), _straight(down.T, along.T).T
    return _Lines(upright, level, _sums(upright.T), _sums(level))


def _slope(picture: Image, x: int, y: int) -> Image:
    return np.asarray(np.abs(cv2.Sobel(picture, cv2.CV_32F, x, y, scale=1 / 8)), dtype=np.float32)


def _straight(across: Image, along: Image) -> Mask:
    """Where an upright line passes, by the slopes across it and along it, in levels from pixel to pixel."""
    edges = ((across > thresholds.INSET_LINE_LEVELS_MIN) & (across > 2 * along)).astype(np.uint8)
    wider = cv2.dilate(edges, np.ones((1, 3), np.uint8))
    long = cv2.morphologyEx(wider, cv2.MORPH_OPEN, np.ones((thresholds.INSET_LINE_PIXELS, 1), np.uint8))
    return np.asarray(long) > 0


def _sums(lines: Mask) -> NDArray[np.int32]:
    return np.pad(np.cumsum(lines, axis=1, dtype=np.int32), ((0, 0), (1, 0)))


def _around(place: tuple[int, int, int, int], lines: _Lines) -> Rectangles:
    """The rectangles around a place all sides of which are lines."""
    left, right, upper, lower = place
    columns = lines.upright[upper : lower + 1].mean(axis=0) >= thresholds.INSET_SIDE_DRAWN_MIN
    rows = lines.level[:, left : right + 1].mean(axis=1) >= thresholds.INSET_SIDE_DRAWN_MIN
    sides = (
        left - _nearest(columns[left::-1]),
        right + _nearest(columns[right:]),
        upper - _nearest(rows[upper::-1]),
        lower + _nearest(rows[lower:]),
    )
    found = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 4)
    return found[(_sides(found, lines) >= thresholds.INSET_SIDE_DRAWN_MIN).all(axis=0)]


def _nearest(lines: Mask) -> Rectangles:
    """How far off the middles of the nearest lines are; each is some pixels thick."""
    starts, ends = np.flatnonzero(np.diff(lines, prepend=False, append=False)).reshape(-1, 2).T
    return ((starts + ends - 1) // 2)[:_LINES_MAX]


def _sides(rectangles: Rectangles, lines: _Lines) -> NDArray[np.float64]:
    """How much of each side is a line: ``float64[4, n]``."""
    left, right, upper, lower = rectangles.T
    return np.stack(
        [_drawn(lines.upright_sums, side, upper, lower) for side in (left, right)]
        + [_drawn(lines.level_sums, side, left, right) for side in (upper, lower)]
    )


def _drawn(
    sums: NDArray[np.int32], side: Rectangles, start: Rectangles, end: Rectangles
) -> NDArray[np.float64]:
    return np.asarray((sums[side, end + 1] - sums[side, start]) / (end + 1 - start))


def _areas(rectangles: Rectangles) -> Rectangles:
    left, right, upper, lower = rectangles.T
    return np.asarray((right + 1 - left) * (lower + 1 - upper))


def _within(rectangles: Rectangles, sums: NDArray[np.int32]) -> NDArray[np.int32]:
    """Pixels of a mask, by its integral, in each rectangle but for its margin; 0 if that is all of it."""
    left, right, upper, lower = (rectangles + np.array([_MARGIN, 1 - _MARGIN, _MARGIN, 1 - _MARGIN])).T
    right, lower = np.maximum(right, left), np.maximum(lower, upper)
    held = sums[lower, right] - sums[upper, right] - sums[lower, left] + sums[upper, left]
    return np.asarray(held)
