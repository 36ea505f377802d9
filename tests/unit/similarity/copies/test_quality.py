"""Pages of text are told from photos, and are never taken for one another."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from copy_samples import DISGUISES, NAMES, photo
from hayloft.similarity.copies import pipeline
from hayloft.similarity.copies.quality import Weakness, weakness_of

WORDS = (
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "stones",
    "dry",
    "light",
)


def page(seed: int):
    rng = np.random.default_rng(seed)
    sheet = np.full((1100, 850), 245, np.uint8)
    cv2.putText(sheet, "ACME CORPORATION", (80, 80), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 20, 3, cv2.LINE_AA)
    for row in range(30):
        line = " ".join(rng.choice(WORDS, 8))
        cv2.putText(sheet, line, (60, 150 + row * 30), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 30, 1, cv2.LINE_AA)
    return sheet


VIEWS = {
    "as it is": lambda sheet: sheet,
    "recompressed": lambda sheet: cv2.imdecode(
        cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 0
    ),
    "negative": lambda sheet: 255 - sheet,
    "turned": lambda sheet: np.ascontiguousarray(np.rot90(sheet)),
    "smaller": lambda sheet: cv2.resize(sheet, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_page_is_known_by_its_rows(view):
    assert weakness_of(VIEWS[view](page(1))) is Weakness.TEXT


@pytest.mark.parametrize("name", NAMES)
def test_no_photo_and_no_disguise_of_one_is_a_page(name):
    assert weakness_of(photo(name)) is not Weakness.TEXT
    for disguise in DISGUISES.values():
        assert weakness_of(disguise(photo(name))) is not Weakness.TEXT


def test_pages_are_no_copies_whatever_finds_them():
    first, second = pipeline.describe(page(1)), pipeline.describe(page(2))
    assert pipeline.compare(first, second) is None
    assert pipeline.prove(first, second, np.eye(3)) is None
    assert pipeline.keypoints(first) == 0


def test_pages_seen_askew_are_no_copies_either():
    turn = cv2.getRotationMatrix2D((425, 550), 6, 1.0)
    askew = [cv2.warpAffine(page(seed), turn, (850, 1100), borderValue=245) for seed in (1, 2)]
    assert pipeline.compare(*(pipeline.describe(sheet) for sheet in askew)) is None
