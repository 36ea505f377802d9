"""Two bare fields under one headline are two photos; a field saved anew is one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from copy_samples import headlined, recoded
from hayloft.similarity.copies import overlay, pipeline, quality, texture


def field(seed, shape=(480, 640)):
    """Soil in furrows: too faint to be anything at a glance."""
    rng = np.random.default_rng(seed)
    furrows = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), 2, sigmaY=9)
    light = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), 90)
    grey = 130 + 3 * furrows / furrows.std() + 8 * light / np.abs(light).max()
    return np.clip(grey, 0, 255).astype(np.uint8)


def differs(a, b, *, negative=False):
    laid, _ = overlay.lay(quality.shrink(a, 320), quality.shrink(b, 320), np.eye(3))
    return texture.differs(laid, negative=negative)


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_two_fields_under_one_headline_are_no_copies(seed, monkeypatch):
    one, other = (pipeline.describe(headlined(field(seed + i))) for i in range(2))
    assert pipeline.compare(one, other) is None
    monkeypatch.setattr("hayloft.similarity.copies.texture.differs", lambda *_, **__: False)
    assert pipeline.compare(one, other) is not None, "nothing else stops it"


@pytest.mark.parametrize("level", [90, 50, 30])
def test_a_field_saved_anew_is_a_copy_with_and_without_the_headline(level):
    titled = headlined(field(1))
    again = recoded(titled, level)
    assert not differs(titled, again)
    assert pipeline.compare(pipeline.describe(titled), pipeline.describe(again)) is not None


def test_a_negative_has_the_same_texture_upside_down():
    grey = field(1)
    assert not differs(grey, 255 - grey, negative=True)
    assert differs(grey, 255 - grey)


@pytest.mark.parametrize(
    "lost", [np.full((480, 640), 130, np.uint8), cv2.GaussianBlur(field(1), (0, 0), 8)]
)
def test_a_picture_without_texture_says_nothing(lost):
    assert not differs(field(1), lost)
