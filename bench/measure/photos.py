"""Synthetic photos: valid JPEG images of an exact size, every one with bytes of its own.

The picture is a flat grey that any decoder accepts; the rest of the size is a comment segment of random
bytes, as a camera's embedded preview or profile would take it. A serial number of sixteen hexadecimal
digits at the head of that comment makes every photo's SHA-256 its own. To a linker all of them look alike,
so each is linked to as many others as a photo is ever linked to; a flat picture says too little to be taken
for a copy of another. Decoding one costs less than decoding a real photo of that size.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from functools import cache

from PIL import Image

KIB = 1 << 10
SERIAL_DIGITS = 16
_COMMENT_BYTES_MAX = 65_533
"""What the two length bytes of a JPEG segment can say, less themselves (ITU-T T.81, B.1.1.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A JPEG image with a hole for the serial number: ``head + serial + tail``."""

    head: bytes
    tail: bytes
    width: int
    height: int

    @property
    def size(self) -> int:
        """Bytes of every photo made from it."""
        return len(self.head) + SERIAL_DIGITS + len(self.tail)

    def photo(self, serial: int) -> bytes:
        """The photo with this serial number."""
        return self.head + b"%016x" % serial + self.tail


@cache
def template(size: int) -> Template:
    """The template of photos of ``size`` bytes, from 1 KiB to 64 KiB.

    Raises:
        ValueError: a JPEG image of that size cannot be made with one comment segment.
    """
    width, height = (512, 384) if size >= 8 * KIB else (16, 16)
    picture = _flat_picture(width, height)
    comment_size = size - len(picture) - 4
    if not SERIAL_DIGITS <= comment_size <= _COMMENT_BYTES_MAX:
        raise ValueError(f"no photo of {size} bytes: its comment would take {comment_size}")
    # The comment goes straight after the start-of-image marker, so that the serial number stands
    # early: two photos then differ in their first bytes, which keeps comparisons of them short.
    filler = random.Random(size).randbytes(comment_size - SERIAL_DIGITS)
    head = picture[:2] + b"\xff\xfe" + (comment_size + 2).to_bytes(2, "big")
    return Template(head=head, tail=filler + picture[2:], width=width, height=height)


def _flat_picture(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height), 128).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()
