"""A second exposure from a hand's breadth aside is the same scene, never the same photo."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from copy_samples import again, crop, photo, recoded
from hayloft.similarity.copies import overlay, parallax, pipeline, quality, thresholds

NAMES = ("astronaut", "chelsea", "coffee", "china.jpg")


def together(a, b):
    return pipeline.compare(pipeline.describe(a), pipeline.describe(b))


def between(a, b, shares=None):
    a, b = quality.shrink(a, 320), quality.shrink(b, 320)
    over, _ = overlay.lay(a, b, np.eye(3) if shares is None else shares)
    return parallax.measure(over, np.ones(over.under.shape, np.bool_), negative=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth_share", [0.012, 0.025])
def test_another_exposure_is_no_copy(name, depth_share):
    assert together(photo(name), again(photo(name), depth_share=depth_share)) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_same_light_and_noise_without_depth_is_a_copy(name):
    assert together(photo(name), again(photo(name), depth_share=0.0)) is not None


@pytest.mark.parametrize("name", NAMES)
def test_another_exposure_that_was_recompressed_and_shrunk_is_no_copy(name):
    seen = again(photo(name), depth_share=0.025)
    small = recoded(quality.shrink(seen, max(seen.shape) // 2), 50)
    assert together(photo(name), small) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_plane_leaves_nothing_displaced(name):
    grey = photo(name)
    height, width = grey.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    tilted = corners + np.array([[9, 4], [-5, 8], [-12, -3], [6, -7]], np.float32)
    seen = cv2.warpPerspective(grey, cv2.getPerspectiveTransform(corners, tilted), (width, height))
    # It starts from no tilt at all: the plane is found from the pixels.
    left = between(grey, recoded(seen, 60))
    assert left is not None
    assert left.beyond_chance_pixels < thresholds.PARALLAX_LOSS_PIXELS / 2


@pytest.mark.parametrize("name", NAMES)
def test_displacement_is_measured_in_pixels_and_noise_is_not_displacement(name):
    grey = photo(name)
    near = between(grey, again(grey, depth_share=0.0))
    far = between(grey, again(grey, depth_share=0.02))
    assert near is not None
    assert far is not None
    assert near.beyond_chance_pixels < thresholds.PARALLAX_LOSS_PIXELS < far.beyond_chance_pixels
    assert far.drift_pixels < 0.02 * 320 * 1.2


def test_pictures_without_structure_say_nothing():
    flat = np.full((200, 300), 120, np.uint8)
    assert between(flat, flat) is None


def test_of_two_shots_only_the_one_that_was_disguised_is_found():
    first, second = photo("china.jpg"), again(photo("china.jpg"), depth_share=0.02)
    stored = {0: pipeline.describe(first), 1: pipeline.describe(second)}
    copies = pipeline.Copies()
    for place, data in stored.items():
        copies.add(place, data)
    for place, grey in enumerate((first, second)):
        asked = pipeline.describe(recoded(quality.shrink(grey, 110), 40))
        found = copies.find(asked, lambda ids: {i: pipeline.stored(stored[i]) for i in ids})
        assert [copy.photo for copy in found] == [place]


@pytest.mark.parametrize("name", ["coffee", "china.jpg"])
def test_two_shots_are_told_apart_although_each_goes_on_beyond_the_other(name):
    """What is asked for shows only what both show, too small to tell: the shots themselves do."""
    whole = photo(name)
    shots = crop(whole, 0, 0, 0.85, 1), crop(again(whole, depth_share=0.01), 0.15, 0, 1, 1)
    stored = {place: pipeline.describe(grey) for place, grey in enumerate(shots)}
    copies = pipeline.Copies()
    for place, data in stored.items():
        copies.add(place, data)
    for place, grey in enumerate(shots):
        asked = pipeline.describe(recoded(quality.shrink(crop(grey, 0.2, 0, 0.8, 1), 110), 40))
        assert pipeline.compare(asked, pipeline.stored(stored[1 - place])) is not None
        found = copies.find(asked, lambda ids: {i: pipeline.stored(stored[i]) for i in ids})
        assert [copy.photo for copy in found] == [place]
