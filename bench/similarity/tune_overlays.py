"""The measurements that chose what tells strangers under one overlay from copies under it.

Part of ``python -m similarity tune``, so for the tuning half of the photos alone. Strangers are pairs of
the photos that show least, which are the ones that an overlay links, and in leaflets of others as well;
copies are photos under an overlay against themselves, plain and saved anew. Each rule is taken away in
turn, which says whom it alone stops and which copies it alone loses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np

from hayloft.similarity.copies import pipeline, thresholds
from similarity import methods, overlays
from similarity.disguises import Picture
from similarity.photos import Photo

FLAT_PHOTOS: Final = 24
"""Photos with fewest keypoints; each is compared with the next few of them under every overlay."""
NEXT: Final = 6
COPIES: Final = 48
"""Photos, over all of the half, of which copies are made."""

RULES: Final = {
    "a square that differs within": ("CONTENT_DIFFERS_MIN", 2.0),
    "most of the rest that differs around": ("MINOR_SHARE_MAX", 0.0),
    "another picture set into both": ("INSET_SHARE_MIN", 2.0),
    "another texture": ("TEXTURE_SHARE_MIN", 2.0),
}
"""Each by a threshold, and a value of it that nothing reaches."""

Pair = tuple[bytes, bytes]


def print_rules(collection: list[Photo]) -> None:
    """Print how many strangers are linked and copies lost, with all rules and without each."""
    strangers, copies = list(_strangers(collection)), list(_copies(collection))
    print(f"\nunder one overlay: {len(strangers)} pairs of strangers, {len(copies)} of copies")
    _print_links("with all rules", strangers, copies)
    for name, (threshold, beyond_reach) in RULES.items():
        chosen = getattr(thresholds, threshold)
        setattr(thresholds, threshold, beyond_reach)
        _print_links(f"without {name}", strangers, copies)
        setattr(thresholds, threshold, chosen)


def _print_links(title: str, strangers: list[Pair], copies: list[Pair]) -> None:
    linked, found = (
        sum(pipeline.compare(*pair) is not None for pair in pairs) for pairs in (strangers, copies)
    )
    print(f"  {title:46}{linked:4} strangers linked, {len(copies) - found:3} copies not found")


def _strangers(collection: list[Photo]) -> Iterator[Pair]:
    plain = [pipeline.keypoints(pipeline.describe(methods.grey(photo.picture))) for photo in collection]
    flat = [collection[place].picture for place in np.argsort(plain)[:FLAT_PHOTOS]]
    spread = [photo.picture for photo in collection[:: max(1, len(collection) // COPIES)]]
    for kind in overlays.KINDS:
        pictures = flat + spread if kind == "leaflet" else flat
        laid = [_described(overlays.given(picture, kind)) for picture in pictures]
        for place, description in enumerate(laid):
            for other in laid[place + 1 : place + 1 + NEXT]:
                yield description, pipeline.stored(other)


def _copies(collection: list[Photo]) -> Iterator[Pair]:
    for photo in collection[:: max(1, len(collection) // COPIES)]:
        plain = pipeline.stored(_described(photo.picture))
        for kind in overlays.KINDS:
            laid = overlays.given(photo.picture, kind)
            yield _described(laid), plain
            yield _described(_again(laid)), pipeline.stored(_described(laid))


def _described(picture: Picture) -> bytes:
    return pipeline.describe(methods.grey(picture))


def _again(picture: Picture) -> Picture:
    """A little darker, and saved at quality 40."""
    darker = cv2.convertScaleAbs(picture, alpha=0.9)
    data = cv2.imencode(".jpg", darker, [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
