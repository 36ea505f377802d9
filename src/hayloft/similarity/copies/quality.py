"""Whether there is something to recognise in a photo: the gate before all else.

A photo that is flat, dark or tiny has little of its own. A page of text has much, but the same letters as
every other page of its kind, and what makes it another page is smaller than what is compared here: two
forms filled in differently would pass for one. None of these is ever linked as a copy. Lines of text are
known by what a page is: ink on even paper, in many level rows with paper between them. A page seen askew is
not recognised as one and has to pass the proof as any photo has.
"""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import thresholds

Grey = NDArray[np.uint8]
"""``uint8[height, width]``."""


class Weakness(StrEnum):
    """Why a photo has little that could be recognised."""

    TINY = "tiny"
    FLAT = "flat"
    DARK = "dark"
    TEXT = "text"


def weakness_of(grey: Grey) -> Weakness | None:
    """What is wanting in a photo, upright, in grey."""
    if min(grey.shape) < thresholds.SIDE_PIXELS_MIN:
        return Weakness.TINY
    sample = shrink(grey, 96)
    if float(np.percentile(sample, 99)) < thresholds.BRIGHTNESS_MIN:
        return Weakness.DARK
    low, high = np.percentile(sample, [2, 98])
    if high - low < thresholds.CONTRAST_MIN:
        return Weakness.FLAT
    if _is_even(sample) and _is_text(shrink(grey, thresholds.TEXT_SIDE_PIXELS)):
        return Weakness.TEXT
    return None


def shrink(grey: Grey, side: int) -> Grey:
    """The picture with its longer side at most ``side`` pixels; each pixel is the mean of its area."""
    longer = max(grey.shape)
    if longer <= side:
        return np.ascontiguousarray(grey)
    return scaled(grey, side / longer, cv2.INTER_AREA)


def scaled(grey: Grey, scale: float, interpolation: int) -> Grey:
    """The picture larger or smaller by a factor."""
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=interpolation), dtype=np.uint8)


def _is_even(sample: Grey) -> bool:
    """Whether most of a picture has much the same level, as paper has."""
    near = np.convolve(np.bincount(sample.ravel(), minlength=256), np.ones(2 * thresholds.PAPER_LEVELS_MAX))
    return bool(near.max() >= thresholds.PAPER_SHARE_MIN * sample.size)


def _is_text(picture: Grey) -> bool:
    """Whether what is not paper lies in many level rows (or columns, if the page is turned)."""
    paper = np.asarray(cv2.medianBlur(picture, 31), dtype=np.uint8)
    ink = np.asarray(cv2.absdiff(picture, paper)) > thresholds.INK_LEVELS_MIN
    if not thresholds.INK_SHARE_MIN < float(ink.mean()) < thresholds.INK_SHARE_MAX:
        return False
    return any(_rows(ink.mean(axis=axis)) >= thresholds.TEXT_ROWS_MIN for axis in (1, 0))


def _rows(profile: NDArray[np.floating]) -> int:
    """How many rows of ink there are, evenly spaced, with next to no ink between them."""
    full = float(np.percentile(profile, 90))
    inked = np.concatenate([[False], profile > thresholds.TEXT_GAP_SHARE * full, [False]])
    starts = np.flatnonzero(~inked[:-1] & inked[1:])
    if len(starts) < thresholds.TEXT_ROWS_MIN:
        return 0
    steps = np.diff(starts)
    usual = float(np.median(steps))
    even = np.abs(steps - usual) <= max(1.5, thresholds.TEXT_STEP_TOLERANCE * usual)
    return int(even.sum()) + 1 if even.mean() >= thresholds.TEXT_STEPS_EVEN_MIN else 0
