"""Orders become the pixels that were ordered: the right place, size, turn and colours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import rendition_samples as samples
from hayloft.config import RenditionSettings
from hayloft.renditions.iiif import Bounds, parse
from hayloft.renditions.jobs import make_picture

SETTINGS = RenditionSettings(jpeg_quality=95)
BOUNDS = Bounds(side_max=4096, pixels_max=16_000_000)
RED, GREEN, BLUE, YELLOW = samples.QUADRANTS


def picture(
    data: bytes,
    region: str = "full",
    size: str = "max",
    rotation: str = "0",
    rest: str = "default.png",
    *,
    width: int = 320,
    height: int = 200,
) -> Image.Image:
    wanted = parse(region, size, rotation, rest, width=width, height=height, bounds=BOUNDS)
    return samples.opened(make_picture(data, wanted, SETTINGS))


JPEG = samples.saved(samples.quadrants(), "JPEG", quality=95)


def middle(image: Image.Image) -> tuple[int, ...]:
    return tuple(image.convert("RGB").getpixel((image.width // 2, image.height // 2)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_are_those_of_the_upright_photo(orientation: int) -> None:
    data = samples.oriented(orientation)
    for region, colour in (
        ("20,10,90,60", RED),
        ("200,20,80,50", GREEN),
        ("30,120,70,70", BLUE),
        ("180,110,120,80", YELLOW),
    ):
        cut = picture(data, region)
        width, height = (int(number) for number in region.split(",")[2:])
        assert cut.size == (width, height)
        assert samples.like(middle(cut), colour)
    across = picture(data, "100,50,120,100")
    assert across.size == (120, 100)
    assert samples.looks_like_quadrants(across)


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
@pytest.mark.parametrize("size", ["max", "400,", "200,", "80,", "40,"])
def test_a_region_of_a_big_photo_is_the_same_however_far_it_shrinks(orientation: int, size: str) -> None:
    data = samples.oriented(orientation, image=samples.quadrants(1600, 1000))
    cut = picture(data, "400,250,800,500", size, width=1600, height=1000)
    assert samples.looks_like_quadrants(cut)
    assert cut.width * 500 == cut.height * 800


def test_a_region_equals_the_same_part_of_the_whole() -> None:
    photo = samples.photo(640, 427)
    data = samples.saved(photo, "PNG")
    cut = np.asarray(picture(data, "100,50,200,150", width=640, height=427))
    assert np.array_equal(cut, np.asarray(photo.crop((100, 50, 300, 200))))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_whole_photo_is_upright_at_any_size(orientation: int) -> None:
    data = samples.oriented(orientation, image=samples.quadrants(1600, 1000))
    for size in ("max", "800,500", "300,", "50,190"):
        whole = picture(data, size=size, width=1600, height=1000)
        assert samples.looks_like_quadrants(whole)
    assert whole.size == (50, 190)


def test_sizes_may_distort_and_enlarge() -> None:
    assert picture(JPEG, size="50,180").size == (50, 180)
    assert samples.looks_like_quadrants(picture(JPEG, size="^900,300"))
    assert picture(JPEG, size="^900,300").size == (900, 300)


@pytest.mark.parametrize(
    ("rotation", "colours"),
    [
        ("90", (BLUE, RED, YELLOW, GREEN)),
        ("180", (YELLOW, BLUE, GREEN, RED)),
        ("270", (GREEN, YELLOW, RED, BLUE)),
        ("!0", (GREEN, RED, YELLOW, BLUE)),
        ("!90", (YELLOW, GREEN, BLUE, RED)),
    ],
)
def test_turns_and_mirrors(rotation: str, colours: tuple[tuple[int, ...], ...]) -> None:
    turned = picture(JPEG, rotation=rotation)
    assert turned.size == ((200, 320) if "90" in rotation or "270" in rotation else (320, 200))
    assert all(
        samples.like(found, wanted) for found, wanted in zip(samples.corners(turned), colours, strict=True)
    )


def test_any_angle_has_clear_corners_and_white_ones_in_jpeg() -> None:
    turned = picture(JPEG, rotation="45")
    assert turned.mode == "RGBA"
    assert turned.width == turned.height == pytest.approx((320 + 200) / 2**0.5, abs=2)
    assert turned.getpixel((2, 2))[3] == 0
    flat = picture(JPEG, rotation="45", rest="default.jpg")
    assert samples.like(flat.getpixel((2, 2)), (255, 255, 255))
    grey = picture(samples.saved(samples.photo().convert("L"), "PNG"), rotation="30", width=640, height=427)
    assert grey.getpixel((1, 1))[3] == 0


def test_qualities() -> None:
    assert picture(JPEG, rest="gray.jpg").mode == "L"
    bitonal = picture(JPEG, rest="bitonal.png").convert("L")
    assert set(bitonal.tobytes()) == {0, 255}
    assert samples.looks_like_quadrants(picture(JPEG, rest="color.jpg"))


@pytest.mark.parametrize(("suffix", "form"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_formats(suffix: str, form: str) -> None:
    assert picture(JPEG, rest=f"default.{suffix}").format == form


def test_every_kind_of_file_can_be_cut() -> None:
    files = [
        samples.saved(samples.quadrants(), form) for form in ("PNG", "WEBP", "GIF", "TIFF", "HEIF", "AVIF")
    ]
    files += [samples.animation("GIF"), samples.animation("WEBP"), samples.sixteen_bit_colour()]
    for data in files:
        assert samples.looks_like_quadrants(picture(data, "40,25,240,150", "120,75"))
    assert samples.looks_like_quadrants(picture(samples.cmyk(), "40,25,240,150"), most=90)
    clear = picture(samples.saved(samples.transparent(), "PNG"), "10,10,300,180", "100,60")
    assert clear.getpixel((20, 30))[3] == 0
