"""Bytes to everything that is kept of a photo, with a single decode; runs in a decoder process.

The list of describers is the list of methods: each takes the decoded picture and returns its fingerprint.
A ``Description`` crosses the process boundary as a JSON head and raw bytes, because what comes out of a
process that handles hostile files is data, never something to be executed (as a pickle is).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

from hayloft.similarity.decode import Picture, decode
from hayloft.similarity.fingerprint import Description, Fingerprint, pdq, sharpness

Describer = Callable[[Picture], Fingerprint]

DESCRIBERS: Final[Sequence[Describer]] = (pdq,)


def describe(data: bytes | memoryview) -> Description:
    """Decode a photo once and fingerprint it.

    Raises:
        UnsupportedMedia: the bytes are no image that can be decoded within the limits.
    """
    picture = decode(data)
    return Description(
        width=picture.width,
        height=picture.height,
        sharpness=sharpness(picture),
        fingerprints=tuple(describer(picture) for describer in DESCRIBERS),
    )


def encode_description(description: Description) -> bytes:
    """The description as bytes: a line of JSON, then the fingerprints' data one after the other."""
    head = {
        "width": description.width,
        "height": description.height,
        "sharpness": description.sharpness,
        "fingerprints": [
            {"method": one.method, "quality": one.quality, "size": len(one.data)}
            for one in description.fingerprints
        ],
    }
    blobs = (one.data for one in description.fingerprints)
    return b"".join([json.dumps(head).encode(), b"\n", *blobs])


def decode_description(encoded: bytes) -> Description:
    """The description that ``encode_description`` wrote."""
    line, _, rest = encoded.partition(b"\n")
    head = json.loads(line)
    fingerprints = []
    offset = 0
    for one in head["fingerprints"]:
        data = rest[offset : offset + one["size"]]
        offset += one["size"]
        fingerprints.append(Fingerprint(method=one["method"], data=data, quality=one["quality"]))
    return Description(
        width=head["width"],
        height=head["height"],
        sharpness=head["sharpness"],
        fingerprints=tuple(fingerprints),
    )
