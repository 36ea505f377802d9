"""ThumbHash: a photo in about 25 bytes, shown while the real one is on its way.

The algorithm is Evan Wallace's (https://evanw.github.io/thumbhash/): a handful of low frequencies of the
photo's discrete cosine transform, in luminance, two colour differences and alpha, quantised to four bits
each. It keeps the proportions and the transparency, which BlurHash does not. Pure; any ThumbHash decoder
reads the result.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SIDE_PIXELS_MAX: Final = 100
"""The longer side of what is hashed: more pixels do not change so few frequencies."""


def thumbhash(rgba: NDArray[np.uint8]) -> bytes:
    """The ThumbHash of ``uint8[height, width, 4]``, straight alpha, sides at most 100 pixels."""
    height, width = rgba.shape[:2]
    assert rgba.shape[2] == 4
    assert 0 < max(height, width) <= SIDE_PIXELS_MAX
    colour, alpha = _laid_on_average(rgba)
    red, green, blue = colour[..., 0], colour[..., 1], colour[..., 2]
    transparent = bool(alpha.sum() < width * height)
    # Alpha's own coefficients take room, so luminance has fewer of its own.
    across, down = _luminance_frequencies(width, height, 5 if transparent else 7)
    light = _channel((red + green + blue) / 3, max(3, across), max(3, down))
    yellow_blue = _channel((red + green) / 2 - blue, 3, 3)
    red_green = _channel(red - green, 3, 3)
    landscape = width > height
    bits = (
        _round(63 * light[0])
        | _round(31.5 + 31.5 * yellow_blue[0]) << 6
        | _round(31.5 + 31.5 * red_green[0]) << 12
        | _round(31 * light[2]) << 18
        | transparent << 23
    )
    more = (
        (down if landscape else across)
        | _round(63 * yellow_blue[2]) << 3
        | _round(63 * red_green[2]) << 9
        | landscape << 15
    )
    head: bytes = bits.to_bytes(3, "little") + more.to_bytes(2, "little")
    frequencies = [*light[1], *yellow_blue[1], *red_green[1]]
    if transparent:
        opacity = _channel(alpha, 5, 5)
        head += bytes([_round(15 * opacity[0]) | _round(15 * opacity[2]) << 4])
        frequencies += opacity[1]
    return head + _nibbles([_round(15 * value) for value in frequencies])


def _laid_on_average(rgba: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """The colours laid on their own average, weighted by alpha; and alpha. Both from 0 to 1."""
    values = rgba.astype(np.float64) / 255
    alpha = values[..., 3]
    weighted = values[..., :3] * alpha[..., None]
    weight = alpha.sum()
    average = weighted.sum(axis=(0, 1)) / weight if weight else np.zeros(3)
    return average * (1 - alpha[..., None]) + weighted, alpha


def _luminance_frequencies(width: int, height: int, most: int) -> tuple[int, int]:
    longer = max(width, height)
    return max(1, _round(most * width / longer)), max(1, _round(most * height / longer))


def _channel(values: Floats, across: int, down: int) -> tuple[float, list[float], float]:
    """The average, the other frequencies in a triangle scaled to 0 … 1, and the scale."""
    height, width = values.shape
    coefficients = _cosines(down, height) @ values @ _cosines(across, width).T / (width * height)
    triangle = [
        float(coefficients[y, x])
        for y in range(down)
        for x in range(across)
        if (x or y) and x * down < across * (down - y)
    ]
    scale = max((abs(value) for value in triangle), default=0.0)
    if scale > 0:
        triangle = [0.5 + 0.5 / scale * value for value in triangle]
    return float(coefficients[0, 0]), triangle, scale


def _cosines(frequencies: int, length: int) -> Floats:
    positions = np.arange(length) + 0.5
    return np.asarray(np.cos(np.pi / length * np.outer(np.arange(frequencies), positions)))


def _nibbles(values: list[int]) -> bytes:
    packed = bytearray((len(values) + 1) // 2)
    for index, value in enumerate(values):
        packed[index // 2] |= value << 4 * (index % 2)
    return bytes(packed)


def _round(value: float) -> int:
    """Halves go up, as where the format comes from."""
    return math.floor(value + 0.5)
