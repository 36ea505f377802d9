"""Whether two pictures that agree in part are one photo, or two photos that something was done to alike.

A logo, a headline, a frame or a screen agrees to the pixel wherever it is used, and around or within it the
photos may show so little that it is most of what there is to see. What tells is what differs and where. A
text or a sticker hides a part of a copy that is small or long, and what agrees spans the photo. Here a
large square in the middle of what agrees holds something else, or what agrees is a small part of both
pictures and the rest of both, though it lies on each other, differs, or another picture is set into each of
them (``insets``).

It looks at what at least one of the two shows: two blank photos in one frame are the same to it.
"""

from __future__ import annotations

import cv2
import numpy as np

from hayloft.similarity.copies import insets, thresholds
from hayloft.similarity.copies.overlay import Mask, Overlay, seen_from_source


def differ(overlay: Overlay, agrees: Mask, shows: Mask, inside: Mask) -> bool:
    """Whether the photos themselves differ, although what lies ``inside`` agrees for the most part.

    ``shows`` is where there is something to compare, ``agrees`` where that is the same, ``inside`` the
    outline of it; all of them in the frame of ``overlay.under``.
    """
    return (
        _differ_within(agrees, shows, inside)
        or _differ_around(overlay, agrees, shows, inside)
        or insets.replaced(overlay, agrees, shows & ~agrees & inside, int(inside.sum()))
    )


def _differ_within(agrees: Mask, shows: Mask, inside: Mask) -> bool:
    """Whether a large square within the outline shows hardly anything that agrees."""
    side = round(thresholds.CONTENT_SIDE_SHARE * float(np.sqrt(inside.sum())))
    if not 1 < side <= min(inside.shape):
        return False
    evidence = np.where(agrees, np.float32(-1), shows.astype(np.float32)) * inside
    balance = cv2.boxFilter(evidence, -1, (side, side), borderType=cv2.BORDER_CONSTANT)
    return float(np.asarray(balance).max()) > thresholds.CONTENT_DIFFERS_MIN


def _differ_around(overlay: Overlay, agrees: Mask, shows: Mask, inside: Mask) -> bool:
    """Whether what agrees is a small part of both photos, which lie on each other and differ elsewhere.

    A cell of a collage is a small part as well, but most of the collage lies beyond the photo.
    """
    parts = float(inside.mean()), float(seen_from_source(overlay, inside).mean())
    if max(parts) > thresholds.MINOR_SHARE_MAX:
        return False
    common = float(overlay.common.mean()), float(seen_from_source(overlay, overlay.common).mean())
    if min(common) < thresholds.LAID_SHARE_MIN:
        return False
    shown = int(shows.sum())
    return shown - int((agrees & shows).sum()) > thresholds.AROUND_DIFFERS_MIN * shown
