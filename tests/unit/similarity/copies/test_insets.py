"""Another photo in the same leaflet makes another leaflet; a sticker on a photo makes no other photo."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from copy_samples import photo, recoded
from hayloft.similarity.copies import insets, overlay, pipeline

SHAPE = 160, 120


def leaflet(shown, place=(40, 150), size=(300, 200)):
    """A page of 560 x 720 pixels with printed matter and a photo."""
    rng = np.random.default_rng(3)
    page = np.full((720, 560), 232, np.uint8)
    for _ in range(90):
        cv2.circle(
            page, rng.integers(0, (560, 720)).tolist(), int(rng.integers(3, 9)), 205, -1, cv2.LINE_AA
        )
    cv2.putText(page, "THIS WEEK ONLY", (40, 90), 0, 1.8, 70, 5, cv2.LINE_AA)
    for i, line in enumerate(("two for one", "fresh today", "no more than")):
        cv2.putText(page, line, (360, 190 + 60 * i), 0, 0.8, 60, 2, cv2.LINE_AA)
    for i, line in enumerate(("open from eight to ten", "corner of mill lane", "shop.example")):
        cv2.putText(page, line, (50, 560 + 50 * i), 0, 1.0, 80, 2, cv2.LINE_AA)
    cv2.circle(page, (480, 620), 50, 60, -1, cv2.LINE_AA)
    left, top = place
    page[top : top + size[1], left : left + size[0]] = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
    return page


def together(a, b):
    return pipeline.compare(pipeline.describe(a), pipeline.describe(b))


@pytest.mark.parametrize("sizes", [((300, 200), (300, 200)), ((300, 200), (300, 240))])
@pytest.mark.parametrize(("one", "other"), [("chelsea", "coffee"), ("astronaut", "china.jpg")])
def test_another_photo_in_a_leaflet_makes_no_copy(one, other, sizes, monkeypatch):
    pages = [leaflet(photo(name), size=size) for name, size in zip((one, other), sizes, strict=True)]
    assert together(*pages) is None
    monkeypatch.setattr("hayloft.similarity.copies.contents.insets.replaced", lambda *_: False)
    monkeypatch.setattr("hayloft.similarity.copies.contents._differ_within", lambda *_: False)
    assert together(*pages) is not None, "nothing else stops it"


@pytest.mark.parametrize("name", ["chelsea", "coffee", "astronaut"])
def test_a_leaflet_saved_anew_is_a_copy(name):
    page = leaflet(photo(name))
    assert together(page, recoded(page, 40)) is not None


def boxed(*, level, box=(30, 70, 50, 100)):
    """Something with a border of its own, on noise that is the same each time."""
    rng = np.random.default_rng(1)
    page = cv2.GaussianBlur(rng.normal(size=SHAPE).astype(np.float32), (0, 0), 4)
    page = 150 + 25 * page / page.std()
    left, right, upper, lower = box
    page[upper:lower, left:right] = level
    return np.clip(page, 0, 255).astype(np.uint8)


def replaced(one, other, place=(30, 70, 50, 100)):
    laid, _ = overlay.lay(one, other, np.eye(3))
    differs = np.zeros(SHAPE, np.bool_)
    left, right, upper, lower = place
    differs[upper + 4 : lower - 4, left + 4 : right - 4] = True
    return insets.replaced(laid, ~differs, differs, SHAPE[0] * SHAPE[1])


def test_a_border_in_both_is_an_inset():
    assert replaced(boxed(level=20), boxed(level=240))
    assert replaced(boxed(level=20), boxed(level=240, box=(30, 70, 50, 92)))


def test_a_border_in_one_is_a_sticker():
    plain = boxed(level=20, box=(0, 0, 0, 0))
    assert not replaced(boxed(level=20), plain)
    assert not replaced(plain, boxed(level=240))


def test_what_is_small_is_no_inset():
    small = 30, 46, 50, 66
    assert not replaced(boxed(level=20, box=small), boxed(level=240, box=small), small)


def test_nothing_differs_nothing_is_replaced():
    page = boxed(level=20)
    laid, _ = overlay.lay(page, page, np.eye(3))
    none = np.zeros(SHAPE, np.bool_)
    assert not insets.replaced(laid, ~none, none, SHAPE[0] * SHAPE[1])
