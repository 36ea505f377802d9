"""One picture laid over another: the finer brought into the coarser one's frame, pixel on pixel.

Shrinking averages, so that the finer picture keeps no detail that the coarser one cannot have. What is not
in both is masked. Pure geometry; what the pictures have in common is others' to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import thresholds
from hayloft.similarity.copies.geometry import Matrix, transform

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Overlay:
    """A picture (``over``) brought into the frame of another, coarser one (``under``)."""

    over: Image
    under: Image
    common: Mask
    """Where both are."""
    source: Image
    """``over`` in its own frame, blurred to the other's detail."""
    matrix: Matrix
    """From ``source`` to ``under``, in pixels."""

    @cached_property
    def under_shows(self) -> Mask:
        """Where there is something to see in ``under``."""
        return shows(self.under)

    @cached_property
    def source_shows(self) -> Mask:
        """Where there is something to see in ``source``."""
        return shows(self.source)


def lay(a: NDArray[np.uint8], b: NDArray[np.uint8], matrix: Matrix) -> tuple[Overlay, bool]:
    """Lay ``a`` over ``b`` by a matrix in shares of the sides, or ``b`` over ``a`` if that is the finer
    one; True if so.
    """
    matrix = _to_pixels(b) @ matrix @ np.linalg.inv(_to_pixels(a))
    over, under, swapped = a, b, False
    if growth(matrix, over) > 1:
        matrix, over, under, swapped = np.linalg.inv(matrix), under, over, True
    matrix = matrix / matrix[2, 2]
    shrinks = growth(matrix, over)
    source, ground = over.astype(np.float32), under.astype(np.float32)
    if shrinks < 1:
        source = blur(source, max(0.3, 0.5 * np.sqrt(1 / shrinks**2 - 1)))
    return laid(source, ground, matrix), swapped


def laid(source: Image, ground: Image, matrix: Matrix) -> Overlay:
    """A picture brought into another's frame, as it is."""
    size = (ground.shape[1], ground.shape[0])
    moved = np.asarray(cv2.warpPerspective(source, matrix, size), dtype=np.float32)
    inside = cv2.warpPerspective(np.ones_like(source), matrix, size)
    return Overlay(moved, ground, np.asarray(inside) > 0.999, source, matrix)


def _to_pixels(picture: NDArray[np.generic]) -> Matrix:
    """From shares of the sides to places of pixels' centres."""
    height, width = picture.shape
    return np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]], np.float64)


def growth(matrix: Matrix, picture: NDArray[np.generic]) -> float:
    """How much longer lengths become at the picture's middle."""
    height, width = picture.shape
    x, y = width / 2, height / 2
    step = transform(matrix, np.array([[x, y], [x + 1, y], [x, y + 1]], np.float32))
    (ax, ay), (bx, by) = step[1] - step[0], step[2] - step[0]
    return float(np.sqrt(abs(ax * by - ay * bx)) + 1e-9)


def blur(image: Image, sigma: float) -> Image:
    """Blurred by a Gaussian of ``sigma`` pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(sigma)), dtype=np.float32)


def shows(picture: Image) -> Mask:
    """Where there is something to see in a picture."""
    smooth = blur(picture, thresholds.SMOOTH_SIGMA_PIXELS)
    mean = blur(smooth, thresholds.WINDOW_SIGMA_PIXELS)
    variance = blur(smooth * smooth, thresholds.WINDOW_SIGMA_PIXELS) - mean * mean
    return np.asarray(variance > thresholds.STRUCTURE_LEVELS_MIN**2)


def seen_from_source(overlay: Overlay, mask: Mask) -> Mask:
    """A mask of the lower picture as seen from the one laid over it."""
    height, width = overlay.source.shape
    back = np.linalg.inv(overlay.matrix)
    moved = cv2.warpPerspective(mask.astype(np.uint8), back, (width, height), flags=cv2.INTER_NEAREST)
    return np.asarray(moved) > 0
