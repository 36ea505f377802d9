"""Whether the faint texture of two pictures, laid over each other, is the same.

Soil, grass, water, walls and grain are next to nothing at a glance, but no two photos share them. Where two
bare fields have the same logo, headline or frame, they are all that tells the photos apart; in a copy,
recompression leaves enough of them to be recognised. A picture that lost its texture says nothing.
"""

from __future__ import annotations

import cv2
import numpy as np

from hayloft.similarity.copies import thresholds
from hayloft.similarity.copies.overlay import Image, Mask, Overlay, blur


def differs(overlay: Overlay, *, negative: bool) -> bool:
    """Whether most of the faint texture that both pictures have is not the same.

    The pictures are of ``thresholds.PICTURE_SIDE_PIXELS``; ``negative`` says that one is the other's
    negative.
    """
    over, under = _texture(overlay.over), _texture(overlay.under)
    power_over, power_under = _mean(over * over), _mean(under * under)
    faint = _wide(
        overlay.common
        & (np.minimum(power_over, power_under) > thresholds.TEXTURE_LEVELS_MIN**2)
        & (np.maximum(power_over, power_under) < thresholds.STRUCTURE_LEVELS_MIN**2)
    )
    if faint.sum() <= thresholds.TEXTURE_SHARE_MIN * overlay.common.sum():
        return False
    correlation = _mean(over * under)[faint] / np.sqrt(power_over[faint] * power_under[faint])
    middle = float(np.median(-correlation if negative else correlation))
    return middle < thresholds.TEXTURE_CORRELATION_MIN


def _texture(picture: Image) -> Image:
    """What is finer than shapes and coarser than pixels and the blocks of JPEG."""
    fine, coarse = thresholds.TEXTURE_SIGMA_PIXELS
    return blur(picture, fine) - blur(picture, coarse)


def _mean(values: Image) -> Image:
    side = thresholds.TEXTURE_WINDOW_PIXELS
    return np.asarray(cv2.boxFilter(values, -1, (side, side)), dtype=np.float32)


def _wide(mask: Mask) -> Mask:
    side = thresholds.TEXTURE_SIDE_PIXELS
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    return np.asarray(opened) > 0
