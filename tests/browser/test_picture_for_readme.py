"""The README's picture of the gallery, made of the samples that scikit-image and scikit-learn bring."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import skimage
from PIL import Image, ImageOps
from playwright.sync_api import expect

from .conftest import ingested, jpeg, photos

PICTURE_BYTES_MAX = 400_000
COLOURS = 256
SAMPLES = [
    *("grass.png", "gravel.png", "brick.png", "moon.png", "ihc.png", "coins.png", "retina.jpg"),
    *("camera.png", "hubble_deep_field.jpg", "motorcycle_left.png"),
]

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.on_request,
    pytest.mark.skipif(
        "HAYLOFT_SCREENSHOTS" not in os.environ, reason="only made where HAYLOFT_SCREENSHOTS says"
    ),
]


def guises() -> dict[str, Image.Image]:
    """The samples, some of them cropped or mirrored too, in an order that looks like a library."""
    folder = Path(skimage.__file__).parent / "data"
    samples = {f"{Path(name).stem}.jpg": Image.open(folder / name).convert("RGB") for name in SAMPLES}
    originals = samples | photos()
    coffee, temple, dahlia = (originals[f"{name}.jpg"] for name in ("coffee", "temple", "dahlia"))
    return originals | {
        "coffee-close.jpg": coffee.crop((150, 40, 470, 360)),
        "temple-mirrored.jpg": ImageOps.mirror(temple),
        "dahlia-close.jpg": dahlia.crop((170, 60, 500, 400)),
    }


def test_the_gallery_for_the_readme(empty_server, new_page):
    shown = guises()
    for name, image in shown.items():
        assert empty_server.upload(jpeg(image), name=name).status == 201
    ingested(empty_server)
    page = new_page(viewport={"width": 1120, "height": 700})
    page.goto(empty_server.url)
    expect(page.locator("#grid img.here")).to_have_count(len(shown))
    page.wait_for_timeout(500)  # thumbs fade in
    small = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(COLOURS)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    (Path(os.environ["HAYLOFT_SCREENSHOTS"]) / "gallery.png").write_bytes(buffer.getvalue())
    assert buffer.tell() < PICTURE_BYTES_MAX
