"""The pixels that an embedder wants to see, cut out of a decoded photo. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from hayloft.similarity.decode import Pixels

Fit = Literal["crop", "stretch", "pad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPlan:
    """How a photo becomes ``side`` × ``side`` pixels."""

    side: int
    fit: Fit = "crop"
    """``crop``: the centre; ``pad``: all of it on black; ``stretch``: all of it, out of shape."""
    margin: float = 1.0
    """For ``crop``: how much larger the shorter side is made than the view (256 / 224 is common)."""


def cut(rgb: Pixels, plan: ViewPlan) -> Pixels:
    """The view, ``uint8[side, side, 3]``, of ``uint8[height, width, 3]``."""
    height, width = rgb.shape[:2]
    if plan.fit == "stretch":
        return _resize(rgb, plan.side, plan.side)
    if plan.fit == "crop":
        # The square first: scaling a strip by its short side would make it huge.
        shorter = min(height, width)
        large = round(plan.side * plan.margin)
        return _centre(_resize(_centre(rgb, shorter), large, large), plan.side)
    scale = plan.side / max(height, width)
    return _centre(_resize(rgb, max(1, round(width * scale)), max(1, round(height * scale))), plan.side)


def _resize(rgb: Pixels, width: int, height: int) -> Pixels:
    smaller = width * height < rgb.shape[0] * rgb.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=interpolation), dtype=np.uint8)


def _centre(rgb: Pixels, side: int) -> Pixels:
    """The middle of ``rgb``; on black where it is smaller than ``side``."""
    view = np.zeros((side, side, 3), np.uint8)
    height, width = min(side, rgb.shape[0]), min(side, rgb.shape[1])
    y, x = (rgb.shape[0] - height) // 2, (rgb.shape[1] - width) // 2
    top, left = (side - height) // 2, (side - width) // 2
    view[top : top + height, left : left + width] = rgb[y : y + height, x : x + width]
    return view
