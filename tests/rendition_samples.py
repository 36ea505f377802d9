"""Files of every kind that renditions must cope with, made on the spot from packaged photos."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image, ImageCms
from sklearn.datasets import load_sample_image

QUADRANTS = ((220, 30, 30), (30, 200, 40), (40, 50, 210), (230, 220, 60))
"""Top left red, top right green, bottom left blue, bottom right yellow."""

pillow_heif.register_heif_opener()


def photo(width: int = 640, height: int = 427) -> Image.Image:
    """A real photo, RGB."""
    return Image.fromarray(load_sample_image("china.jpg")).resize((width, height))


def quadrants(width: int = 320, height: int = 200) -> Image.Image:
    """Four coloured quarters: tells how a picture was turned, cropped and coloured."""
    image = Image.new("RGB", (width, height))
    for index, colour in enumerate(QUADRANTS):
        left, top = (index % 2) * width // 2, (index // 2) * height // 2
        image.paste(colour, (left, top, left + width // 2, top + height // 2))
    return image


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def corners(image: Image.Image) -> tuple[tuple[int, ...], ...]:
    """The colours in the middle of the four quarters, in the order of ``QUADRANTS``."""
    rgb = image.convert("RGB")
    width, height = rgb.size
    places = [(width // 4, height // 4), (width * 3 // 4, height // 4)]
    places += [(x, height * 3 // 4) for x, _ in places]
    return tuple(tuple(rgb.getpixel(place)) for place in places)


def like(found: tuple[int, ...], wanted: tuple[int, ...], most: int = 14) -> bool:
    return all(abs(a - b) <= most for a, b in zip(found, wanted, strict=True))


def looks_like_quadrants(image: Image.Image, most: int = 14) -> bool:
    return all(like(found, wanted, most) for found, wanted in zip(corners(image), QUADRANTS, strict=True))


_STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def oriented(orientation: int, form: str = "JPEG", image: Image.Image | None = None) -> bytes:
    """A file whose pixels lie as a camera held that way writes them; upright it is the quadrants."""
    image = image or quadrants()
    if orientation in _STORED_AS:
        image = image.transpose(_STORED_AS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if form == "JPEG" else {}
    return saved(image, form, exif=exif.tobytes(), **options)


def cmyk() -> bytes:
    return saved(quadrants().convert("CMYK"), "JPEG", quality=95)


def sixteen_bit_grey() -> bytes:
    ramp = np.linspace(0, 65_535, 300).astype(np.uint16)
    return saved(Image.fromarray(np.repeat(ramp[None, :], 100, axis=0)), "PNG")


def sixteen_bit_colour() -> bytes:
    """Pillow writes no 16-bit colour PNG; libvips does."""
    import pyvips

    samples = np.asarray(quadrants()).astype(np.uint16) * 257
    image = pyvips.Image.new_from_array(samples).copy(interpretation="rgb16")
    return bytes(image.pngsave_buffer(bitdepth=16))


def display_p3_red() -> bytes:
    """Pure red in Display P3's primaries, which sRGB cannot show: it clips to (255, 0, 0).

    The half red beside it, (128, 0, 0) in P3, is (140, 0, 0) in sRGB once converted.
    """
    image = Image.new("RGB", (64, 32), (128, 0, 0))
    return saved(image, "PNG", icc_profile=display_p3_profile())


def display_p3_profile() -> bytes:
    """A minimal ICC v2 matrix profile: Display P3's primaries (D50-adapted), gamma 2.2."""

    def fixed(value: float) -> bytes:
        return round(value * 65_536).to_bytes(4, "big", signed=True)

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(fixed(value) for value in values)

    name = b"Display P3\0"
    description = b"desc\0\0\0\0" + len(name).to_bytes(4, "big") + name + bytes(78)
    curve = b"curv\0\0\0\0" + (1).to_bytes(4, "big") + int(2.2 * 256).to_bytes(2, "big") + b"\0\0"
    tags = {
        b"desc": description,
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.51512, 0.24120, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.15710, 0.06657, 0.78407),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        table += tag + at.to_bytes(4, "big") + len(content).to_bytes(4, "big")
        body += content
        at += len(content)
    head = bytearray(128)
    head[0:4] = at.to_bytes(4, "big")
    head[8:12] = b"\x02\x10\0\0"
    head[12:24] = b"mntrRGB XYZ "
    head[36:40] = b"acsp"
    head[68:80] = fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    profile = bytes(head) + len(tags).to_bytes(4, "big") + table + body
    assert ImageCms.ImageCmsProfile(io.BytesIO(profile)) is not None
    return profile


def animation(form: str) -> bytes:
    """The quadrants, then white, then black."""
    frames = [Image.new("RGB", (320, 200), colour) for colour in ("white", "black")]
    options = {"lossless": True} if form == "WEBP" else {}
    return saved(quadrants(), form, save_all=True, append_images=frames, duration=100, **options)


def transparent() -> Image.Image:
    """The quadrants, the left half of them clear."""
    image = quadrants().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 160, 200))
    return image


GPS_IFD = {1: "N", 2: (52.0, 31.0, 12.0), 3: "W", 4: (13.0, 24.0, 36.0), 5: b"\x00", 6: 34.5}


def exif_block(*, gps: bool = True) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "Canon"
    exif[0x0110] = "Canon EOS R5"
    exif[0x0112] = 1
    exif[0x8769] = {
        0x9003: "2024:05:17 18:42:03",
        0x9011: "+02:00",
        0x9291: "25",
        0x829A: 1 / 250,
        0x829D: 2.8,
        0x8827: 400,
        0x920A: 35.0,
        0xA405: 35,
        0xA433: "Canon",
        0xA434: "RF35mm F1.8 MACRO IS STM",
    }
    if gps:
        exif[0x8825] = GPS_IFD
    whole = Image.Exif()
    # Pillow writes directories into a TIFF only from a block that it has read.
    whole.load(exif.tobytes())
    return whole
