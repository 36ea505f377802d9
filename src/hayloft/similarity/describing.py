"""Bytes to everything that is kept of a photo, with a single decode; runs in a decoder process.

The list of describers is the list of methods: each takes the decoded picture and returns its fingerprint.
An embedder with a trained model runs elsewhere, once for all decoders; for it, a view of the photo
(pixels at the size that the model takes) is cut from the same decode. Requests and answers cross the
process boundary as a line of JSON and raw bytes, because what comes out of a process that handles hostile
files is data, never something to be executed (as a pickle is).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import cv2

from hayloft.similarity.copying import describe_copies
from hayloft.similarity.decode import Picture, decode
from hayloft.similarity.embedders.builtin import describe_builtin
from hayloft.similarity.fingerprint import Description, Fingerprint, pdq, sharpness
from hayloft.similarity.views import ViewPlan, cut

Describer = Callable[[Picture], Fingerprint]

DESCRIBERS: Final[Sequence[Describer]] = (describe_copies, pdq)
"""Each always returns a fingerprint; that a photo has too little to hold on to is said by its quality."""


def work(request: bytes) -> bytes:
    """What a decoder process does: a plan (see ``encode_plan``) and a photo to an encoded description."""
    cv2.setNumThreads(1)
    line, _, photo = request.partition(b"\n")
    plan = json.loads(line)
    return encode_description(describe(photo, view=None if plan is None else ViewPlan(**plan)))


def describe(data: bytes | memoryview, *, view: ViewPlan | None = None) -> Description:
    """Decode a photo once and fingerprint it; the built-in embedder's vector stands in for a view.

    Raises:
        UnsupportedMedia: the bytes are no image that can be decoded within the limits.
    """
    picture = decode(data)
    describers = (*DESCRIBERS, describe_builtin) if view is None else DESCRIBERS
    return Description(
        width=picture.width,
        height=picture.height,
        sharpness=sharpness(picture),
        fingerprints=tuple(describer(picture) for describer in describers),
        view=None if view is None else cut(picture.rgb, view).tobytes(),
    )


def encode_plan(view: ViewPlan | None) -> bytes:
    """The line that goes before a photo."""
    plan: Any = None if view is None else {"side": view.side, "fit": view.fit, "margin": view.margin}
    return json.dumps(plan).encode() + b"\n"


def encode_description(description: Description) -> bytes:
    """The description as bytes: a line of JSON, then the fingerprints' data and the view."""
    view = description.view
    head = {
        "width": description.width,
        "height": description.height,
        "sharpness": description.sharpness,
        "fingerprints": [
            {"method": one.method, "quality": one.quality, "size": len(one.data)}
            for one in description.fingerprints
        ],
        "view": None if view is None else len(view),
    }
    blobs = [one.data for one in description.fingerprints]
    return b"".join([json.dumps(head).encode(), b"\n", *blobs, view or b""])


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
        view=None if head["view"] is None else rest[offset : offset + head["view"]],
    )
