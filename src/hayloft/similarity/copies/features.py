"""What is kept of a photo so that it can be found, aligned and proved: keypoints and a small picture.

A photo is shrunk to a working size and described once by SIFT (Lowe, IJCV 2004; OpenCV's). Keypoints
are ranked so that they are spread over the picture and lean to the coarse ones, which survive blur and
shrinking: with 256 kept, crops to a tenth of the area that have fewer than 8 agreeing points fall from
27 % to 10 %, heavily blurred photos from 42 % to 15 %. A query uses all, the index keeps the first of
them. The small picture is what the proof looks at. Photos that are flat, dark, tiny or text have a
weakness (``quality``) instead of keypoints. Nothing here knows other photos.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import spectrum, thresholds
from hayloft.similarity.copies.quality import Grey, Weakness, scaled, shrink, weakness_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A described photo; keypoints in falling priority, all arrays of the same length."""

    width: int
    """Of the working picture, in pixels; keypoint positions are in its coordinates."""
    height: int
    positions: NDArray[np.float32]
    """``float32[n, 2]``: x, y."""
    sizes: NDArray[np.float32]
    """``float32[n]``: diameters in pixels."""
    angles: NDArray[np.float32]
    """``float32[n]``: degrees, 0 to 360, growing clockwise."""
    codes: spectrum.Codes
    doubtful: NDArray[np.uint8]
    """``uint8[n, 5]``: see ``spectrum.encode``."""
    picture_jpeg: bytes
    """The whole photo, ``thresholds.PICTURE_SIDE_PIXELS`` on its longer side, as JPEG."""
    weakness: Weakness | None = None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def picture(self) -> Grey:
        """The whole photo, small: decoded anew each time (0.2 ms)."""
        picture = cv2.imdecode(np.frombuffer(self.picture_jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        return np.asarray(picture, dtype=np.uint8)


def describe(grey: Grey) -> Description:
    """Describe a photo, given upright, in grey, at the working size or above (or all that it has)."""
    work = _working_size(grey)
    weakness = weakness_of(grey)
    keypoints, descriptors = _detect(work) if weakness is None else _NOTHING
    order = _priority(keypoints, work.shape)
    keypoints, descriptors = keypoints[order], descriptors[order]
    codes, doubtful = spectrum.encode(descriptors)
    if weakness is None and len(codes) < thresholds.KEYPOINTS_MIN:
        weakness = Weakness.FLAT
    return Description(
        width=work.shape[1],
        height=work.shape[0],
        positions=keypoints[:, :2],
        sizes=keypoints[:, 2],
        angles=keypoints[:, 3],
        codes=codes,
        doubtful=doubtful,
        picture_jpeg=small_picture(grey),
        weakness=weakness,
    )


def small_picture(
    grey: Grey,
    side: int = thresholds.PICTURE_SIDE_PIXELS,
    quality: int = thresholds.PICTURE_QUALITY,
) -> bytes:
    """The picture that the proof looks at (WebP would be a tenth smaller and take five times as long)."""
    picture = shrink(grey, side)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    written, data = cv2.imencode(".jpg", picture, options)
    assert written
    return bytes(data)


_NOTHING: Final = (np.zeros((0, 5), np.float32), np.zeros((0, 128), np.uint8))


def _working_size(grey: Grey) -> Grey:
    """At the working size; pictures far below it are enlarged, because SIFT sees little in few pixels."""
    longer = max(grey.shape)
    if longer > thresholds.WORKING_SIDE_PIXELS:
        return shrink(grey, thresholds.WORKING_SIDE_PIXELS)
    if longer < thresholds.ENLARGED_SIDE_PIXELS:
        return scaled(grey, thresholds.ENLARGED_SIDE_PIXELS / longer, cv2.INTER_CUBIC)
    return np.ascontiguousarray(grey)


@functools.cache
def _sift() -> Any:
    layers, edge, sigma = 3, 10.0, 1.6  # Lowe's, and OpenCV's defaults
    return cv2.SIFT.create(
        thresholds.KEYPOINTS_DETECTED, layers, thresholds.SIFT_CONTRAST, edge, sigma, cv2.CV_8U
    )


def _detect(work: Grey) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Keypoints ``float32[n, 5]`` (x, y, diameter, angle, response), descriptors ``uint8[n, 128]``."""
    found, descriptors = _sift().detectAndCompute(work, None)
    if not found:
        return _NOTHING
    keypoints = np.array([(*k.pt, k.size, k.angle, k.response) for k in found], np.float32)
    return keypoints, descriptors


def _priority(keypoints: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The order in which keypoints are kept: strong ones first, and spread over the picture.

    A keypoint's strength is its response times the root of its size, and loses a constant factor with
    each stronger one in its cell of a 6 × 6 grid.
    """
    strength = np.log(keypoints[:, 4] + 1e-9) + 0.5 * np.log(keypoints[:, 2] + 1e-9)
    cells = np.minimum((keypoints[:, :2] / (shape[1], shape[0]) * _GRID).astype(np.int64), _GRID - 1)
    cell = cells[:, 1] * _GRID + cells[:, 0]
    order = np.lexsort((-strength, cell))
    starts = np.searchsorted(cell[order], np.arange(_GRID * _GRID))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - starts[cell[order]]
    ranking = np.argsort(_CROWDING * rank - strength, kind="stable")
    return ranking[: thresholds.KEYPOINTS_QUERIED]


_GRID: Final = 6
_CROWDING: Final = 0.2
