"""Content decides what an upload is; headers alone decide whether it may be kept."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pillow_heif
import pytest
import skimage
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hayloft.errors import EmptyUpload, HayloftError, ImageTooLarge, Truncated, UnsupportedMedia
from hayloft.gateway.sniff import inspect
from served import picture

SAMPLES = [
    *sorted((Path(skimage.__file__).parent / "data").glob("*.png"))[:6],
    *sorted((Path(skimage.__file__).parent / "data").glob("*.jpg")),
    *sorted((Path(sklearn.__file__).parent / "datasets" / "images").glob("*.jpg")),
]

KINDS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
    "JPEG2000": "image/jp2",
}


def made(kind, width=48, height=32):
    image = Image.open(io.BytesIO(picture(1))).resize((width, height))
    buffer = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(buffer)
    else:
        image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_real_photos_are_what_pillow_says_they_are(path):
    data = path.read_bytes()
    with Image.open(path) as image:
        expected = (image.get_format_mimetype(), *image.size)
    for given_data in (data, bytearray(data)):
        found = inspect(given_data)
        assert (found.media_type, found.width, found.height) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_is_kept(kind):
    for data in (made(kind), bytearray(made(kind))):
        found = inspect(data)
        assert (found.media_type, found.width, found.height) == (KINDS[kind], 48, 32)


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}, {"save_all": True}])
def test_every_kind_of_webp(options):
    buffer = io.BytesIO()
    image = Image.new("RGBA", (301, 77), (10, 20, 30, 40))
    more = [Image.new("RGBA", (301, 77))] if "save_all" in options else []
    image.save(buffer, "WEBP", append_images=more, **options)
    found = inspect(buffer.getvalue())
    assert (found.width, found.height) == (301, 77)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_cut_off_is_told_as_such(kind, share):
    data = made(kind, 96, 96)
    with pytest.raises((Truncated, UnsupportedMedia)) as caught:
        inspect(data[: int(len(data) * share)])
    if share == 0.95:
        assert caught.type is Truncated


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"TIFF"}))
def test_bytes_after_a_whole_image_are_tolerated(kind):
    """Cameras and phones append films, previews, makers' notes."""
    for trailer in (b"\0", b"\0" * 3000, b"....ftypmp42 a film" * 50, b"\xff\xd8\xff"):
        assert inspect(made(kind) + trailer).media_type == KINDS[kind]


def test_the_thumbnail_inside_a_cut_off_jpeg_does_not_make_it_whole():
    thumbnail = picture(2, side=16)
    whole = made("JPEG", 200, 200)
    exif = b"Exif\0\0" + thumbnail
    data = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + whole[2:]
    assert inspect(data).width == 200
    with pytest.raises(Truncated):
        inspect(data[:-200])


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"%PDF-1.7",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0" * 100,
        b"GIF",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        b"BM",
        b"\xff\xd8",
    ],
)
def test_what_is_no_image_is_refused(data):
    with pytest.raises((UnsupportedMedia, Truncated)):
        inspect(data)


def test_nothing_is_told_apart_from_no_image():
    with pytest.raises(EmptyUpload):
        inspect(b"")


def bomb_png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def bomb_webp(width, height):
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + canvas
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def bomb_jpeg(width, height):
    data = bytearray(made("JPEG"))
    at = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, height, width)
    return bytes(data)


def bomb_gif(width, height):
    data = bytearray(made("GIF"))
    struct.pack_into("<HH", data, 6, width, height)
    return bytes(data)


@pytest.mark.parametrize("bomb", [bomb_png, bomb_webp, bomb_jpeg, bomb_gif])
def test_too_many_pixels_are_refused_by_the_header_alone(bomb):
    assert inspect(bomb(16_000, 16_000)).width == 16_000  # the limit itself
    for width, height in [(16_000, 16_001), (65_535, 65_535)]:
        with pytest.raises(ImageTooLarge) as caught:
            inspect(bomb(width, height))
        assert caught.value.details["width"] in (width, height)
    with pytest.raises(ImageTooLarge):
        inspect(bomb(300, 300), pixels_max=89_999)


# Pillow warns of damaged tags. The server ignores that, once for all; pytest undoes what importing did.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(
    kind=st.sampled_from(sorted(KINDS)),
    cut=st.integers(0, 3000),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
)
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_an_image_or_one_of_our_errors(kind, cut, changes):
    data = bytearray(_MADE.setdefault(kind, made(kind)))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        found = inspect(bytes(data[: len(data) - cut % len(data)]))
    except HayloftError as error:
        assert error.status in (413, 415, 422)
    else:
        assert 0 < found.width <= 65_535
        assert 0 < found.height <= 65_535


_MADE: dict[str, bytes] = {}
