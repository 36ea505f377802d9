"""Two photos in one frame are two photos; a sticker on one makes no other photo of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from copy_samples import headlined
from hayloft.similarity.copies import contents, overlay, pipeline

SHAPE = 120, 160
EYE = np.eye(3)


def differ(agrees, inside, matrix=EYE):
    grey = np.full(SHAPE, 128, np.uint8)
    laid, _ = overlay.lay(grey, grey, matrix)
    return contents.differ(laid, agrees, np.ones(SHAPE, np.bool_), inside)


@pytest.mark.parametrize(("hole", "other"), [(70, True), (24, False)])
def test_what_differs_within_counts_by_its_size(hole, other):
    everywhere = np.ones(SHAPE, np.bool_)
    agrees = everywhere.copy()
    agrees[25 : 25 + hole, 40 : 40 + hole] = False
    assert differ(agrees, everywhere) is other


@pytest.mark.parametrize(("rows", "other"), [(30, True), (100, False)])
def test_what_differs_around_counts_where_little_agrees(rows, other):
    bar = np.zeros(SHAPE, np.bool_)
    bar[-rows:] = True
    assert differ(bar, bar) is other


def test_a_cell_of_a_collage_is_no_bar_that_two_photos_share():
    """Most of the collage does not lie on the photo at all."""
    third = np.diag([1 / 3, 1 / 3, 1])
    grey = np.full(SHAPE, 128, np.uint8)
    laid, _ = overlay.lay(grey, grey, third)
    part = laid.common.copy()
    part[: SHAPE[0] // 4] = False
    assert not contents.differ(laid, part, np.ones(SHAPE, np.bool_), part)


def under_a_headline(seed):
    """Haze with two things in it, and a channel's bars and badge over it."""
    rng = np.random.default_rng(seed)
    haze = cv2.GaussianBlur(rng.normal(size=(480, 640)).astype(np.float32), (0, 0), 60)
    grain = cv2.GaussianBlur(rng.normal(size=haze.shape).astype(np.float32), (0, 0), 1.2)
    grey = np.clip(150 + 25 * haze / np.abs(haze).max() + 3 * grain, 0, 255).astype(np.uint8)
    across, down = rng.integers((180, 110), (460, 240))
    for place, level, corners in ((across, int(rng.integers(20, 90)), 7), (640 - across, 240, 5)):
        thing = (place, down) + 60 * rng.normal(size=(corners, 2))
        cv2.fillConvexPoly(grey, cv2.convexHull(thing.astype(np.int32)), level, cv2.LINE_AA)
    return pipeline.describe(headlined(grey))


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_a_shared_headline_over_little_makes_no_copy(seed, monkeypatch):
    one, other = under_a_headline(seed), under_a_headline(seed + 1)
    assert pipeline.compare(one, other) is None
    monkeypatch.setattr("hayloft.similarity.copies.agreement.differ", lambda *_: False)
    assert pipeline.compare(one, other) is not None, "nothing else stops it"
