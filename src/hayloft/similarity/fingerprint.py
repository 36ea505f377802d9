"""Pixels to fingerprints: what is kept of a photo so that it can be recognised.

A fingerprint is bytes with the name and version of the method that made them and that alone can read them.
Pure: pixels in, bytes out. PDQ ("The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm",
Facebook, 2019) keeps the signs of 16 × 16 low frequencies against their median, 256 bits; its eight hashes,
one for each quarter turn and mirror image, come from one transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import pdqhash
from numpy.typing import NDArray

from hayloft.similarity import thresholds
from hayloft.similarity.decode import Picture, Pixels

Hashes = NDArray[np.uint8]
"""``uint8[8, 32]``: the hash of a photo and of its seven other orientations, in ``ORIENTATIONS``' order."""

PDQ: Final = "pdq/1"
PDQ_SIDE_PIXELS: Final = 64
"""PDQ transforms 64 × 64 samples, and is given exactly these, each the mean of its area.

Its own way down to 64 picks samples that lie half a step off centre, so that a quarter turn costs up to 38
bits of the 256 and a resize up to 30. Area means cost 6 and 8 at most (120 photos of flowers, groceries and
drone flights), and a hash 0.3 ms where 512 pixels cost 9. Hashes are not those of other PDQ programs.
"""

ORIENTATIONS: Final = (
    "identity",
    "rotate_90",
    "rotate_180",
    "rotate_270",
    "flip_top_bottom",
    "flip_left_right",
    "transpose",
    "transverse",
)
"""What ``pdqhash.compute_dihedral`` returns, in Pillow's words (rotations are counter-clockwise)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What one method keeps of one photo."""

    method: str
    """Name and version, e.g. ``pdq/1``."""
    data: bytes
    quality: float
    """How much the method found to hold on to; the scale is the method's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Everything that a single decode of a photo leaves behind."""

    width: int
    height: int
    sharpness: float
    """Variance of the Laplacian at the working size: larger is sharper, comparable between copies."""
    fingerprints: tuple[Fingerprint, ...]
    view: bytes | None = None
    """The pixels that were asked for, for an embedder; not kept."""


def pdq(picture: Picture) -> Fingerprint:
    """PDQ over the eight orientations; ``data`` is ``Hashes`` as bytes, quality is 0 to 100.

    A photo with a side below ``thresholds.PDQ_SIDE_PIXELS_MIN`` has quality 0.
    """
    vectors, quality = pdqhash.compute_dihedral(_for_pdq(picture.rgb))
    hashes = np.packbits(np.asarray(vectors, dtype=np.uint8), axis=1)
    tiny = min(picture.width, picture.height) < thresholds.PDQ_SIDE_PIXELS_MIN
    return Fingerprint(method=PDQ, data=hashes.tobytes(), quality=0.0 if tiny else float(quality))


def hashes_of(fingerprint: Fingerprint) -> Hashes:
    """The eight hashes that a PDQ fingerprint holds."""
    assert fingerprint.method == PDQ
    return np.frombuffer(fingerprint.data, np.uint8).reshape(len(ORIENTATIONS), 32)


def sharpness(picture: Picture) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al., ICPR 2000)."""
    return float(cv2.Laplacian(picture.grey, cv2.CV_32F).var())


def _for_pdq(rgb: Pixels) -> Pixels:
    height, width = rgb.shape[:2]
    if min(height, width) < PDQ_SIDE_PIXELS:
        # Area means need at least one sample for each cell.
        larger = (max(width, PDQ_SIDE_PIXELS), max(height, PDQ_SIDE_PIXELS))
        rgb = _resize(rgb, larger, cv2.INTER_LINEAR)
    return _resize(rgb, (PDQ_SIDE_PIXELS, PDQ_SIDE_PIXELS), cv2.INTER_AREA)


def _resize(rgb: Pixels, size: tuple[int, int], interpolation: int) -> Pixels:
    return np.asarray(cv2.resize(rgb, size, interpolation=interpolation), dtype=np.uint8)
