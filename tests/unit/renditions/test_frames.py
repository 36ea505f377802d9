"""Requests and answers survive the way into the sandbox and back."""

from __future__ import annotations

import rendition_samples as samples
from hayloft.config import RenditionSettings
from hayloft.renditions import frames
from hayloft.renditions.iiif import Bounds, parse
from hayloft.renditions.jobs import answer, make_picture, make_renditions

PHOTO = samples.saved(samples.photo(), "JPEG", exif=samples.exif_block().tobytes())
SETTINGS = RenditionSettings(thumb=100, small=200, medium=300, large=400, format="jpeg")


def test_all_renditions() -> None:
    made = frames.decode_made(answer(frames.encode_making(SETTINGS, 10**8) + PHOTO))
    assert made == make_renditions(PHOTO, SETTINGS)
    assert [one.width for one in made.renditions] == [400, 300, 200, 100]
    assert made.details.camera_model == "Canon EOS R5"
    assert made.details.latitude is not None


def test_a_picture_to_order() -> None:
    bounds = Bounds(side_max=4096, pixels_max=10**7)
    picture = parse("10,10,300,200", "100,", "90", "gray.jpg", width=640, height=427, bounds=bounds)
    assert answer(frames.encode_order(picture, SETTINGS, 10**8) + PHOTO) == make_picture(
        PHOTO, picture, SETTINGS
    )
