"""ThumbHash against vectors of the reference algorithm, and what the bytes say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import rendition_samples as samples
from hayloft.config import RenditionSettings
from hayloft.renditions.jobs import make_renditions
from hayloft.renditions.placeholder import thumbhash


def test_vectors_of_the_reference_algorithm() -> None:
    # Made with the published algorithm (an independent implementation of it) from these very pixels.
    noise = np.random.default_rng(1).integers(0, 256, (33, 77, 4), dtype=np.uint8)
    assert thumbhash(noise).hex() == "e00782028008c6876087a655a0637e2ffb39646a57c6b8"


def test_vectors_with_ties() -> None:
    """Frequencies that are exactly zero may round either way; nothing else may differ."""
    y, x = np.mgrid[0:80, 0:50]
    full = np.full((80, 50), 255)
    waves = np.dstack([(x * 5) % 256, (y * 3) % 256, (x * y) % 256, full]).astype(np.uint8)
    wanted = nibbles(bytes.fromhex("1d080a2c1a700677777776777777a0900af877"))
    assert all(abs(a - b) <= 1 for a, b in zip(nibbles(thumbhash(waves)), wanted, strict=True))


def nibbles(data: bytes) -> list[int]:
    return [half for byte in data for half in (byte & 15, byte >> 4)]


def solid(colour: tuple[int, int, int, int], height: int = 20, width: int = 30) -> NDArray[np.uint8]:
    return np.full((height, width, 4), colour, dtype=np.uint8)


def average(data: bytes) -> tuple[float, float, float]:
    """The average colour, 0 to 1, as a ThumbHash decoder computes it from the header."""
    bits = int.from_bytes(data[:3], "little")
    light, p, q = (bits & 63) / 63, ((bits >> 6) & 63) / 31.5 - 1, ((bits >> 12) & 63) / 31.5 - 1
    blue = light - 2 / 3 * p
    red = (3 * light - blue + q) / 2
    return red, red - q, blue


def test_the_average_colour_can_be_read_back() -> None:
    for colour in samples.QUADRANTS:
        found = average(thumbhash(solid((*colour, 255))))
        assert all(abs(a - b / 255) < 0.04 for a, b in zip(found, colour, strict=True))


def test_proportions_and_transparency_are_kept() -> None:
    landscape = thumbhash(solid((90, 90, 90, 255)))
    portrait = thumbhash(solid((90, 90, 90, 255), height=30, width=20))
    assert landscape[4] >> 7 == 1
    assert portrait[4] >> 7 == 0
    assert landscape[2] >> 7 == 0
    assert thumbhash(solid((90, 90, 90, 128)))[2] >> 7 == 1


def test_a_clear_picture_has_one_too() -> None:
    assert len(thumbhash(solid((0, 0, 0, 0)))) >= 6


def test_every_photo_gets_one() -> None:
    details = make_renditions(samples.saved(samples.photo(), "JPEG"), RenditionSettings()).details
    assert 15 <= len(details.placeholder) <= 25
