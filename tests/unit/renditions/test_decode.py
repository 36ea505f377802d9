"""Upright, sRGB, eight bits: whatever the file is, its renditions look as the photo should.

Each test makes a file whose right look is known, and compares colours and places in the result.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from PIL import Image

import rendition_samples as samples
from hayloft.config import RenditionSettings
from hayloft.errors import ImageTooLarge, UnsupportedMedia
from hayloft.renditions.decode import Source
from hayloft.renditions.jobs import make_renditions
from hayloft.renditions.made import Made

SETTINGS = RenditionSettings()


def made(data: bytes) -> Made:
    return make_renditions(data, SETTINGS)


def largest(data: bytes) -> Image.Image:
    return samples.opened(made(data).renditions[0].data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_comes_out_upright(orientation: int, form: str) -> None:
    result = made(samples.oriented(orientation, form))
    image = samples.opened(result.renditions[0].data)
    assert image.size == (320, 200) == (result.details.width, result.details.height)
    assert samples.looks_like_quadrants(image)
    assert "exif" not in image.info


def test_an_orientation_that_does_not_exist_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    assert samples.looks_like_quadrants(largest(samples.saved(samples.quadrants(), "JPEG", exif=exif)))


def test_a_large_photo_shrinks_on_load_and_stays_upright() -> None:
    result = made(samples.oriented(6, image=samples.quadrants(5200, 3900)))
    sizes = [(one.alternate_key.label, one.width, one.height) for one in result.renditions]
    assert sizes == [("large", 2048, 1536), ("medium", 1024, 768), ("small", 512, 384), ("thumb", 256, 192)]
    assert all(samples.looks_like_quadrants(samples.opened(one.data)) for one in result.renditions)


def test_cmyk_becomes_colour() -> None:
    # The conversion has no profile to go by, so colours are near, not equal; inverted ones would be far.
    assert samples.looks_like_quadrants(largest(samples.cmyk()), most=90)


def test_sixteen_bit_grey_keeps_its_ramp() -> None:
    row = np.asarray(largest(samples.sixteen_bit_grey()).convert("L"))[50].astype(int)
    assert row[0] < 8
    assert row[-1] > 247
    assert abs(row[150] - 128) < 8


def test_sixteen_bit_colour() -> None:
    assert samples.looks_like_quadrants(largest(samples.sixteen_bit_colour()))


def test_display_p3_is_converted_to_srgb() -> None:
    image = largest(samples.display_p3_red())
    red, green, blue = image.convert("RGB").getpixel((30, 15))
    assert red >= 136, "the profile was dropped, not applied"
    assert max(green, blue) < 12
    assert "icc_profile" not in image.info


def test_transparency_is_kept_in_webp_and_white_in_jpeg() -> None:
    data = samples.saved(samples.transparent(), "PNG")
    kept = largest(data)
    assert kept.mode == "RGBA"
    assert kept.getpixel((40, 100))[3] == 0
    assert kept.getpixel((300, 100))[3] == 255
    jpeg = make_renditions(data, RenditionSettings(format="jpeg")).renditions[0]
    assert jpeg.media_type == "image/jpeg"
    flat = samples.opened(jpeg.data)
    assert samples.like(flat.getpixel((40, 100)), (255, 255, 255))
    assert samples.like(flat.getpixel((300, 50)), samples.QUADRANTS[1])


def test_grey_with_alpha() -> None:
    data = samples.saved(samples.transparent().convert("LA"), "PNG")
    kept = largest(data)
    assert kept.getpixel((40, 100))[3] == 0
    assert kept.getpixel((300, 100))[3] == 255


def test_a_palette_with_transparency() -> None:
    palette = samples.quadrants().quantize(8)
    clear = palette.getpixel((10, 10))
    kept = largest(samples.saved(palette, "PNG", transparency=clear))
    assert kept.getpixel((20, 20))[3] == 0
    assert samples.like(kept.getpixel((300, 20))[:3], samples.QUADRANTS[1])


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_few_colours(mode: str) -> None:
    assert largest(samples.saved(samples.photo().convert(mode), "PNG")).size == (640, 427)


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_an_animation_gives_a_still_of_its_first_frame(form: str) -> None:
    result = made(samples.animation(form))
    image = samples.opened(result.renditions[0].data)
    assert result.details.frames == 3
    assert getattr(image, "n_frames", 1) == 1
    assert samples.looks_like_quadrants(image)


@pytest.mark.parametrize("form", ["HEIF", "AVIF", "BMP", "JPEG2000", "TIFF", "PPM"])
def test_less_usual_formats(form: str) -> None:
    assert samples.looks_like_quadrants(largest(samples.saved(samples.quadrants(), form)))


@pytest.mark.parametrize("form", ["HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heif_and_avif_are_turned_once(form: str, orientation: int) -> None:
    assert samples.looks_like_quadrants(largest(samples.oriented(orientation, form)), most=20)


def test_a_sliver_keeps_a_pixel() -> None:
    result = made(samples.saved(Image.new("RGB", (4000, 1), "red"), "PNG"))
    assert [(one.width, one.height) for one in result.renditions] == [
        (2048, 1),
        (1024, 1),
        (512, 1),
        (256, 1),
    ]


def test_one_pixel() -> None:
    result = made(samples.saved(Image.new("RGB", (1, 1), "red"), "PNG"))
    assert [(one.alternate_key.label, one.width, one.height) for one in result.renditions] == [
        ("thumb", 1, 1)
    ]


def test_too_many_pixels_are_refused_from_the_header_alone() -> None:
    whole = samples.saved(Image.new("1", (20_000, 20_000)), "PNG")
    for data in (whole, whole[:64]):
        with pytest.raises(ImageTooLarge):
            Source(data)


def test_the_limit_can_be_lowered() -> None:
    data = samples.saved(samples.quadrants(), "JPEG")
    with pytest.raises(ImageTooLarge):
        make_renditions(data, SETTINGS, pixels_max=320 * 200 - 1)
    assert make_renditions(data, SETTINGS, pixels_max=320 * 200).renditions


def test_half_a_jpeg_gives_what_is_there() -> None:
    data = samples.saved(samples.quadrants(), "JPEG", quality=95)
    image = largest(data[: len(data) * 2 // 3])
    assert image.size == (320, 200)
    assert samples.like(image.convert("RGB").getpixel((80, 20)), samples.QUADRANTS[0])


@pytest.mark.parametrize("keep", [0, 10, 100])
def test_too_little_of_a_jpeg_is_refused(keep: int) -> None:
    with pytest.raises(UnsupportedMedia):
        made(samples.saved(samples.photo(), "JPEG")[:keep])


def test_flipped_bits_never_raise_anything_else() -> None:
    random = np.random.default_rng(20_240_517)
    for form in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF", "JPEG2000"):
        original = samples.saved(samples.photo(96, 64), form)
        for _ in range(12):
            data = bytearray(original)
            for place in random.integers(0, len(data), 6):
                data[place] ^= 1 << int(random.integers(8))
            with contextlib.suppress(UnsupportedMedia, ImageTooLarge):
                made(bytes(data))


def test_a_profile_that_does_not_fit_is_ignored() -> None:
    grey = samples.photo().convert("L")
    assert largest(samples.saved(grey, "JPEG", icc_profile=samples.display_p3_profile())).size == (640, 427)
    assert largest(samples.saved(samples.photo(), "JPEG", icc_profile=b"no profile")).size == (640, 427)
