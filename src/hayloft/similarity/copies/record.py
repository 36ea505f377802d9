"""A description as bytes: what is sent between processes and kept in the database.

Little-endian. A header of 12 bytes (version, weakness, sides of the working picture, number of
keypoints, length of the small picture, 1 if doubts follow), then for each keypoint x and y in 1/32
pixel (uint16), then sizes in 1/16 octave and directions in 1/256 turn (uint8), then codes (16 bytes
each), then perhaps doubts (3 bytes each), then the small picture as JPEG. A record that is kept has the
keypoints of the index and no doubts, which only a query needs: 22 bytes a keypoint.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Final

import numpy as np

from hayloft.similarity.copies import spectrum, thresholds
from hayloft.similarity.copies.features import Description
from hayloft.similarity.copies.quality import Weakness

VERSION: Final = 3
_HEADER: Final = struct.Struct("<BBHHHHBx")
_WEAKNESSES: Final = (None, *Weakness)
_POSITION_STEPS: Final = 32
_SIZE_STEPS: Final = 16
_SIZE_OFFSET: Final = 64


class RecordDamaged(ValueError):
    """These bytes are no description, or one of another version."""


def kept(description: Description) -> Description:
    """What the index keeps of a description: its first keypoints."""
    few = slice(0, thresholds.KEYPOINTS_KEPT)
    return dataclasses.replace(
        description,
        positions=description.positions[few],
        sizes=description.sizes[few],
        angles=description.angles[few],
        codes=description.codes[few],
        doubtful=description.doubtful[few],
    )


def encode(description: Description, *, doubts: bool) -> bytes:
    """The description as bytes; without ``doubts`` it can be found, but not search as well."""
    weakness = _WEAKNESSES.index(description.weakness)
    picture = description.picture_jpeg
    header = (description.width, description.height, len(description), len(picture), int(doubts))
    sizes = np.log2(np.maximum(description.sizes, 1e-3)) * _SIZE_STEPS + _SIZE_OFFSET
    parts = (
        np.round(np.clip(description.positions, 0, 2047) * _POSITION_STEPS).astype("<u2"),
        np.clip(np.round(sizes), 0, 255).astype(np.uint8),
        (np.round(description.angles * (256 / 360)).astype(np.int64) % 256).astype(np.uint8),
        description.codes,
        description.doubtful if doubts else np.zeros(0, np.uint8),
    )
    return b"".join([_HEADER.pack(VERSION, weakness, *header), *(p.tobytes() for p in parts), picture])


def decode(data: bytes) -> Description:
    """The description that these bytes hold.

    Raises:
        RecordDamaged: they hold none, or one of another version.
    """
    if len(data) < _HEADER.size:
        raise RecordDamaged("A description is longer than this.")
    version, weakness, width, height, count, picture_bytes, doubts = _HEADER.unpack_from(data)
    columns = (4, 1, 1, spectrum.CODE_BYTES, spectrum.PROBED_BITS * doubts)
    expected = _HEADER.size + count * sum(columns) + picture_bytes
    if version != VERSION or weakness >= len(_WEAKNESSES) or doubts > 1 or len(data) != expected:
        raise RecordDamaged("These bytes are not a description of this version.")
    ends = _HEADER.size + count * np.cumsum(columns)
    positions, sizes, turns, codes, doubtful = (
        np.frombuffer(data[end - count * column : end], np.uint8)
        for end, column in zip(ends.tolist(), columns, strict=True)
    )
    certain = np.tile(np.arange(spectrum.PROBED_BITS, dtype=np.uint8), (count, 1))
    return Description(
        width=width,
        height=height,
        positions=positions.view("<u2").astype(np.float32).reshape(count, 2) / np.float32(_POSITION_STEPS),
        sizes=np.exp2((sizes.astype(np.float32) - _SIZE_OFFSET) / _SIZE_STEPS),
        angles=turns.astype(np.float32) * (360 / 256),
        codes=codes.reshape(count, spectrum.CODE_BYTES),
        doubtful=doubtful.reshape(count, spectrum.PROBED_BITS) if doubts else certain,
        picture_jpeg=data[len(data) - picture_bytes :],
        weakness=_WEAKNESSES[weakness],
    )
