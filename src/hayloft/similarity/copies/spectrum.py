"""SIFT descriptors to binary codes whose mirror image and negative are known without describing again.

A SIFT descriptor is a histogram over 4 × 4 cells and 8 gradient directions, aligned to the keypoint's
own direction. In a mirror its rows of cells change places and every direction changes sign; in a
negative, keypoint and gradients turn by half a circle together, so only the cells change places, both
ways. Under a cosine transform over rows and columns and a Fourier transform over directions, both
become changes of sign alone, each coefficient's fixed beforehand. A code keeps the signs of the 128
coefficients, so the code of a mirrored or negated photo is the code of the photo, exclusive-or a
constant mask.

The transform is fixed, so nothing is trained and no two indexes differ. Matching by these 128 bits finds
as many agreeing points as matching by the descriptors' 128 numbers (within 3 % over 33 disguises). Square
roots are taken first (RootSIFT: Arandjelović and Zisserman, CVPR 2012).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
"""``uint8[n, 16]``: 128 signs a keypoint, lowest frequencies first."""

BITS: Final = 128
CODE_BYTES: Final = BITS // 8
WORD_BITS: Final = 20
PROBED_BITS: Final = 5
"""Bits of a word that a query may doubt: 32 words are looked up for it at the most."""

_MEDIANS: Final[dict[tuple[int, ...], float]] = {
    (0, 0, 0): 0.758, (0, 0, 1): 0.101, (0, 0, 3): 0.112, (0, 0, 5): 0.031, (0, 0, 7): 0.023,
    (0, 2, 0): -0.093, (0, 2, 1): -0.090, (0, 2, 3): -0.040, (0, 2, 5): -0.016, (0, 2, 7): -0.006,
    (1, 1, 2): 0.048, (1, 1, 4): 0.005, (1, 3, 2): -0.008, (2, 0, 0): -0.070, (2, 0, 1): -0.011,
    (2, 0, 3): -0.035, (2, 0, 5): -0.015, (2, 0, 7): -0.008, (2, 2, 0): 0.018, (2, 2, 1): 0.014,
    (2, 2, 3): 0.010, (2, 2, 5): 0.004, (3, 1, 2): -0.011, (3, 1, 4): 0.004, (3, 3, 4): -0.007,
}  # fmt: skip
"""Medians of the coefficients that neither mirror nor negative changes, by row, column and direction.

Measured over 190,000 descriptors of 668 photos. All others are 0 by symmetry: a world seen in a mirror,
or as a negative, is as likely (measured: 0.01 at most).
"""


def _basis() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """The transform's rows, their (row, column, direction) and squared frequencies."""
    n = np.arange(4)
    cosine = np.array([np.cos(np.pi * (n + 0.5) * k / 4) for k in range(4)])
    cosine /= np.linalg.norm(cosine, axis=1, keepdims=True)
    turn = 2 * np.pi * np.arange(8) / 8
    waves = [np.cos(0 * turn)]
    for k in (1, 2, 3):
        waves += [np.cos(k * turn), np.sin(k * turn)]
    waves.append(np.cos(4 * turn))
    fourier = np.array([wave / np.linalg.norm(wave) for wave in waves])
    basis = np.einsum("ui,vj,wo->uvwijo", cosine, cosine, fourier).reshape(BITS, BITS)
    places = np.array([(u, v, w) for u in range(4) for v in range(4) for w in range(8)])
    frequencies = np.array([0, 1, 1, 2, 2, 3, 3, 4])[places[:, 2]]
    return basis.astype(np.float32), places, places[:, 0] ** 2.0 + places[:, 1] ** 2.0 + frequencies**2.0


_MIRROR_PLACE: Final = (0, 0, 2)
_NEGATIVE_PLACE: Final = (0, 3, 1)
"""The most reliable coefficients that only a mirror, or only a negative, changes (5 and 3 % of true pairs
differ in them); their signs say which of the four guises of a keypoint is the canonical one."""


def _order(places: NDArray[np.int64], squared: NDArray[np.float64]) -> NDArray[np.int64]:
    """The two guise bits, then lowest frequencies first, the constant (energy alone) last."""
    rank = squared.copy()
    rank[0] = np.inf
    for i, place in enumerate((_MIRROR_PLACE, _NEGATIVE_PLACE)):
        rank[int(np.flatnonzero((places == place).all(axis=1))[0])] = i - 2
    return np.argsort(rank, kind="stable")


_UNORDERED, _PLACES, _SQUARED = _basis()
_ORDER: Final = _order(_PLACES, _SQUARED)
_TRANSFORM: Final = np.ascontiguousarray(_UNORDERED[_ORDER].T)
_CENTRE: Final = np.array(
    [_MEDIANS.get(tuple(map(int, place)), 0.0) for place in _PLACES[_ORDER]], np.float32
)
_U, _V, _W = _PLACES[_ORDER].T
_MIRROR_CHANGES: Final = (_U % 2 == 1) ^ np.isin(_W, (2, 4, 6))
_NEGATIVE_CHANGES: Final = (_U + _V) % 2 == 1
MIRROR_MASK: Final = np.packbits(_MIRROR_CHANGES)
NEGATIVE_MASK: Final = np.packbits(_NEGATIVE_CHANGES)
_MASKS: Final = np.stack([0 * MIRROR_MASK, MIRROR_MASK, NEGATIVE_MASK, MIRROR_MASK ^ NEGATIVE_MASK])


_SPREAD: Final = np.maximum(0.162 / np.sqrt(np.maximum(_SQUARED[_ORDER][: 2 + WORD_BITS], 1)), 0.05).astype(
    np.float32
)
"""What a coefficient's size is measured by: amplitudes fall off with frequency (0.16 at the lowest)."""


def encode(descriptors: NDArray[np.uint8] | NDArray[np.float32]) -> tuple[Codes, NDArray[np.uint8]]:
    """The codes of SIFT descriptors ``[n, 128]``, and the bits of each that are least to be relied on.

    Returns ``uint8[n, 16]`` and ``uint8[n, 5]``: positions below 22 (two guise bits, then the word's),
    the most doubtful first.
    """
    values = np.asarray(descriptors, dtype=np.float32)
    root = np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1e-6))
    coefficients = root @ _TRANSFORM - _CENTRE
    codes = np.packbits(coefficients > 0, axis=1)
    margins = np.abs(coefficients[:, : 2 + WORD_BITS]) / _SPREAD
    doubtful = np.argsort(margins, axis=1, kind="stable")[:, :PROBED_BITS].astype(np.uint8)
    return codes, doubtful


def unpack(codes: Codes) -> NDArray[np.float32]:
    """The codes as ±1, ``float32[n, 128]``: an inner product of two is 128 − 2 × Hamming distance."""
    return np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1


def disguise(codes: Codes, *, mirrored: bool, negative: bool) -> Codes:
    """The codes that the same keypoints have in a mirror, in a negative, or both."""
    mask = _MASKS[int(mirrored) + 2 * int(negative)]
    return np.asarray(np.bitwise_xor(codes, mask), dtype=np.uint8)


def guises(codes: Codes) -> NDArray[np.uint8]:
    """Whether each keypoint is mirrored (1) and negated (2) against its canonical form, ``uint8[n]``."""
    first = codes[:, 0]
    return np.asarray((first >> 7) | ((first >> 6 & 1) << 1), dtype=np.uint8)


def words_and_signatures(
    codes: Codes, guise: NDArray[np.uint8]
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """The index word (20 bits) and signature (the next 64) of keypoints brought into canonical form."""
    canonical = np.bitwise_xor(codes, _MASKS[guise])
    high, low = np.ascontiguousarray(canonical).view(">u8").astype(np.uint64).reshape(-1, 2).T
    word = (high >> np.uint64(64 - 2 - WORD_BITS)) & np.uint64((1 << WORD_BITS) - 1)
    signature = (high << np.uint64(2 + WORD_BITS)) | (low >> np.uint64(64 - 2 - WORD_BITS))
    return word.astype(np.uint32), signature
