"""Bytes to pixels: orientation, transparency, depth, limits, and one error for all that is wrong."""

import io

import numpy as np
import pytest
from PIL import Image

from hayloft.errors import UnsupportedMedia
from hayloft.similarity.decode import WORKING_SIDE_PIXELS, decode
from similarity_samples import FOLDER, jpeg, pixels, sample


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_a_large_jpeg_is_shrunk_and_keeps_its_real_size() -> None:
    big = np.kron(pixels("rocket.jpg"), np.ones((4, 4, 1), np.uint8))
    picture = decode(jpeg(big))
    assert (picture.width, picture.height) == (2560, 1708)
    assert max(picture.rgb.shape[:2]) == WORKING_SIDE_PIXELS
    small = decode(sample("rocket.jpg")).rgb
    assert np.abs(picture.rgb.astype(int) - small).mean() < 4


def test_a_small_photo_is_never_enlarged() -> None:
    assert decode(jpeg(pixels("coffee.png")[:40, :60])).rgb.shape == (40, 60, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_applied(orientation: int, kind: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.open(FOLDER / "coffee.png").convert("RGB")
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(saved(stored, kind, exif=exif))
    assert (picture.width, picture.height) == upright.size
    wanted = decode(saved(upright, "PNG")).rgb
    assert np.abs(picture.rgb.astype(int) - wanted).mean() < 6


def test_transparency_lies_on_white() -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert (decode(saved(image, "PNG")).rgb == 255).all()
    assert (decode(saved(image, "GIF")).rgb == 255).all()


def test_sixteen_bit_grey_keeps_its_scale() -> None:
    ramp = np.linspace(0, 65_535, 256, dtype=np.uint16)[None].repeat(32, axis=0)
    grey = decode(saved(Image.fromarray(ramp), "PNG")).rgb[16, :, 0]
    assert grey[0] == 0
    assert grey[-1] == 255
    assert abs(int(grey[128]) - 128) <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "HEIF"])
def test_formats(kind: str) -> None:
    wanted = decode(sample("chelsea.png")).rgb
    picture = decode(saved(Image.open(FOLDER / "chelsea.png"), kind))
    assert np.abs(picture.rgb.astype(int) - wanted).mean() < 8


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"<svg/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        sample("chelsea.png")[:3000],
        sample("rocket.jpg")[:120],
        b"\x00" * 1000,
    ],
    ids=["empty", "header", "svg", "eps", "cut_png", "cut_jpeg", "zeros"],
)
def test_whatever_is_wrong_is_unsupported_media(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        decode(data)


def test_declared_pixels_are_checked_before_any_is_decoded() -> None:
    header = saved(Image.new("1", (20_000, 20_000)), "PNG")
    with pytest.raises(UnsupportedMedia, match="20000"):
        decode(header)
    with pytest.raises(UnsupportedMedia, match="pixels"):
        decode(sample("coffee.png"), pixels_max=1000)
