"""The proof: laid over each other, the two pictures themselves must be the same.

Agreeing points prove only that something is shared: a watermark, a frame, a status bar, a label, or the
place where both photos were taken. This module lays one picture over the other and asks four questions,
three of them at a glance (160 pixels), the last one closely.

*Do they look the same where they overlap?* Both are compared by local normalised correlation, which
filters, exposure, recompression and a negative leave alone. Parts where neither shows anything say
nothing. Of the parts within the outline of what agrees, nearly all must agree; a text or a sticker may
hide the rest.

*Is it the photo, or only something laid over it?* What agrees must be most of what there is to see in
one of the two photos. A shared watermark, frame or status bar is a small share of both: the photos
below differ. Where the photos show little it is a large one, and what tells is where they differ
(``contents``), and their faint texture, looked at closely (``texture``).

*Do both go on where the other one ends?* A copy is cut from the other photo, or set into something
else: one of the two ends where the shared part ends. When each photo shows the same scene going on
beyond the other's edge, the camera has moved between them: neighbours in a flight, in a panorama or in
a burst, however well the part in common agrees. (Two overlapping crops of one photo look like that too
and are not linked to each other, only to the photo itself: a wrong link costs a photo, this one is
found through the original.)

*Does one plane bring all of one onto the other?* Whatever is done to a photo moves it as one plane.
Between two exposures near and far things shift by different amounts, and things move (``parallax``).

It does not know what a burst on a tripod differs in if nothing in it moved, nor whether a drawing is one
of this exposure or the next: drawings are compared at a glance only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import parallax, texture, thresholds
from hayloft.similarity.copies.contents import differ
from hayloft.similarity.copies.edges import continues
from hayloft.similarity.copies.features import Description
from hayloft.similarity.copies.geometry import Alignment, Points, in_shares, transform
from hayloft.similarity.copies.overlay import Image, Mask, Overlay, blur, lay, seen_from_source
from hayloft.similarity.copies.parallax import detail
from hayloft.similarity.copies.quality import shrink


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
    parallax: float = 0.0
    """Pixels by which parts are displaced against each other beyond what chance explains."""
    contents_differ: bool = False
    """Whether what agrees lies on or around two different photos."""
    regions: tuple[Points, Points]
    """The outline of what agrees, in each photo: ``float32[n, 2]``, as shares of its width and height."""

    @property
    def score(self) -> float:
        """1 is the very same picture, ``thresholds.SCORE_MIN`` the least that a copy has.

        What a filter may take from closeness, an overlay from the unbroken part, a collage from the share
        and a small crop from the points, each on its own, is allowed; all of it together is not.
        """
        doubt = self.continues / thresholds.CONTINUES_LOSS
        doubt += self.parallax / thresholds.PARALLAX_LOSS_PIXELS
        doubt += (1 - self.closeness) / thresholds.CLOSENESS_LOSS[self.view]
        doubt += (1 - self.unbroken) / thresholds.UNBROKEN_LOSS
        doubt += max(0.0, 1 - self.agreeing / thresholds.POINTS_ENOUGH) * thresholds.POINTS_WEIGHT
        doubt += max(0.0, 1 - self.share / thresholds.SHARE_ENOUGH) * thresholds.SHARE_WEIGHT
        return max(0.0, 1 - doubt / 2)

    @property
    def proved(self) -> bool:
        """Whether one photo is a copy of the other, or of a part of it."""
        return self.score >= thresholds.SCORE_MIN and not self.contents_differ


def compare(
    a: Description, b: Description, alignment: Alignment, *, edges_tell: bool = True
) -> Agreement | None:
    """Lay ``a`` over ``b`` as aligned; None if they share too little to say anything.

    Without ``edges_tell`` two crops of one photo are the same, however the scene goes on beyond both:
    ``continues`` is 0, and displacements are looked at all the same.
    """
    matrix = in_shares(alignment.matrix, (a.width, a.height), (b.width, b.height))
    pictures = a.picture, b.picture
    small = [shrink(picture, thresholds.AGREEMENT_SIDE_PIXELS) for picture in pictures]
    overlay, swapped = lay(small[0], small[1], matrix)
    if overlay.common.sum() < thresholds.COMMON_PIXELS_MIN:
        return None
    found = _best_look(overlay, alignment, swapped, edges_tell)
    if found is None or not found.proved or found.view is View.LINES:
        return found
    overlay, swapped = lay(pictures[0], pictures[1], matrix)
    within = _filled(found.regions[0 if swapped else 1], overlay.under.shape)
    left = parallax.measure(overlay, within, negative=alignment.guise.negative)
    return replace(
        found,
        parallax=0.0 if left is None else left.beyond_chance_pixels,
        contents_differ=texture.differs(overlay, negative=alignment.guise.negative),
    )


def _best_look(overlay: Overlay, alignment: Alignment, swapped: bool, edges_tell: bool) -> Agreement | None:
    plain = _look(overlay, alignment, View.PLAIN, swapped, edges_tell)
    if plain is None or plain.score >= thresholds.SCORE_MIN or plain.continues > thresholds.CONTINUES_LOSS:
        return plain
    if plain.share < thresholds.LOOK_AGAIN_SHARE_MIN:
        return plain
    looks = [plain, _look(_equally_blurred(overlay), alignment, View.BLURRED, swapped, edges_tell)]
    if alignment.agreeing >= thresholds.POINTS_ENOUGH:
        looks += [_look(o, alignment, View.LINES, swapped, edges_tell) for o in _as_drawings(overlay)]
    return max((look for look in looks if look is not None), key=lambda look: look.score)


def _filled(region: Points, shape: tuple[int, ...]) -> Mask:
    corners = np.round(region * (shape[1], shape[0]) - 0.5).astype(np.int32)
    return np.asarray(cv2.fillConvexPoly(np.zeros(shape, np.uint8), corners, 1)) > 0


def _look(
    overlay: Overlay, alignment: Alignment, view: View, swapped: bool, edges_tell: bool
) -> Agreement | None:
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
    look = Agreement(
        view=view,
        agreeing=alignment.agreeing,
        closeness=float(np.median(correlation[agrees & inside])),
        unbroken=agreed / judged,
        share=_share(overlay, agrees & inside),
        continues=0.0,
        regions=(regions[1], regions[0]) if swapped else regions,
    )
    if view is not View.PLAIN and not look.proved:
        # Whatever the edges say: there is no other look that depends on them.
        return None
    if look.proved:
        look = replace(look, contents_differ=differ(overlay, agrees, shows, inside))
    if look.contents_differ or not edges_tell:
        return look
    return replace(look, continues=continues(overlay, solid, inside))


def _equally_blurred(overlay: Overlay) -> Overlay:
    """The sharper picture blurred as much as makes it most like the other where both are."""
    inner = cv2.erode(overlay.common.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if not inner.any():
        return overlay
    over_is_sharper = detail(overlay.over, inner) > detail(overlay.under, inner)
    sharp, soft = (overlay.over, overlay.under) if over_is_sharper else (overlay.under, overlay.over)
    target = detail(soft, inner)
    best = min(
        (blur(sharp, sigma) for sigma in _BLURS), key=lambda image: abs(detail(image, inner) - target)
    )
    if over_is_sharper:
        return replace(overlay, over=best)
    return replace(overlay, under=best)


_BLURS: Final = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0)


def _as_drawings(overlay: Overlay) -> tuple[Overlay, Overlay]:
    """Each picture in turn as the drawing that the other may be."""
    return replace(overlay, over=_drawn(overlay.over)), replace(overlay, under=_drawn(overlay.under))


def _drawn(image: Image) -> Image:
    """A picture divided by its blurred self, light cut off: what sketch filters do (colour dodge)."""
    drawn = np.minimum((image + 8) / blur(image + 8, 2.0), 1) * 100
    return np.asarray(drawn, dtype=np.float32)


def _correlation(overlay: Overlay, *, negative: bool) -> tuple[Image, Mask]:
    """Local normalised correlation, and where at least one picture shows something."""
    common = overlay.common.astype(np.float32)
    weight = np.maximum(blur(common, thresholds.WINDOW_SIGMA_PIXELS), 1e-3)

    def mean(values: Image) -> Image:
        blurred = blur(values * common, thresholds.WINDOW_SIGMA_PIXELS)
        return np.asarray(blurred / weight, dtype=np.float32)

    over, under = (
        blur(overlay.over, thresholds.SMOOTH_SIGMA_PIXELS),
        blur(overlay.under, thresholds.SMOOTH_SIGMA_PIXELS),
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
    if int(solid.sum()) < thresholds.COMMON_PIXELS_MIN:
        return None
    rows = np.flatnonzero(solid.any(axis=1))
    # Of each row only the outermost pixels can be corners.
    left, right = solid[rows].argmax(axis=1), solid.shape[1] - 1 - solid[rows, ::-1].argmax(axis=1)
    points = np.column_stack([np.concatenate([left, right]), np.concatenate([rows, rows])])
    return np.asarray(cv2.convexHull(points.astype(np.int32)[:, None]), dtype=np.int32)


def _share(overlay: Overlay, agrees: Mask) -> float:
    """What agrees, as a share of what the photo that has less besides shows in all."""
    below = int(overlay.under_shows.sum())
    shown = overlay.source_shows
    above = int(shown.sum())
    agrees_above = int((seen_from_source(overlay, agrees) & shown).sum())
    shares = (int(agrees.sum()) / max(below, 1), agrees_above / max(above, 1))
    return min(1.0, max(shares))


def _regions(overlay: Overlay, outline: NDArray[np.int32]) -> tuple[Points, Points]:
    """The outline in both photos, as shares of width and height: ``source``'s first."""
    under = outline.reshape(-1, 2).astype(np.float32)
    over = transform(np.linalg.inv(overlay.matrix), under)
    return _as_shares(over, overlay.source), _as_shares(under, overlay.under)


def _as_shares(points: Points, picture: Image) -> Points:
    height, width = picture.shape
    return np.clip((points + 0.5) / (width, height), 0, 1).astype(np.float32)
