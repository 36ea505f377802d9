"""Copies by local features and geometry (``copies``), as a method among the others.

What is described carries all keypoints and is thrown away after the first search; what is recorded, and
fetched to verify a candidate, is a fraction of that. The evidence is the package's own: the
transformation, the agreeing points, the outlines, and the shares of each photo that the other shows.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hayloft.similarity.copies import pipeline
from hayloft.similarity.copies.storage import IndexUnreadable
from hayloft.similarity.decode import Picture
from hayloft.similarity.fingerprint import Fingerprint
from hayloft.similarity.methods import MATCHES_MAX, Fetch, Match
from hayloft.types import PhotoId, Relation

SAVE_AFTER: Final = 2000
"""Photos added before the index is saved, at least; a tenth of all if that is more."""

_REACH: Final = "reach.json"
"""Says up to which recorded fingerprint the saved index goes. Not there: nothing is known of it."""


def describe_copies(picture: Picture) -> Fingerprint:
    """The picture's keypoints; quality is how many there are, 0 for one that has too few to be linked."""
    data = pipeline.describe(picture.grey)
    return Fingerprint(method=pipeline.METHOD, data=data, quality=float(pipeline.keypoints(data)))


class CopyMethod:
    """Verified copies: crops, borders, overlays, perspectives, and everything that PDQ finds.

    With a ``folder`` its index is written there now and then, and opened from there without reading it
    through; how far it goes is written after it, so that a crash in between only means adding some again.
    """

    name = pipeline.METHOD

    def __init__(self, folder: Path | None = None, *, empty: bool = False) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._copies, self.loaded = pipeline.Copies(), 0
        self._unsaved, self._retired = 0, False
        if folder is not None and not empty:
            with contextlib.suppress(IndexUnreadable, OSError, ValueError, KeyError, TypeError):
                change = int(json.loads((folder / _REACH).read_bytes())["change"])
                self._copies, self.loaded = pipeline.Copies.open(folder), change

    def __len__(self) -> int:
        return len(self._copies)

    def kept(self, fingerprint: Fingerprint) -> Fingerprint:
        """The keypoints that the index keeps."""
        return Fingerprint(
            method=fingerprint.method,
            data=pipeline.stored(fingerprint.data),
            quality=fingerprint.quality,
        )

    def add(self, photo: PhotoId, fingerprint: Fingerprint, change: int) -> None:
        """Make a photo findable, if there is something to recognise in it."""
        with self._lock:
            if fingerprint.quality > 0:
                self._copies.add(photo, fingerprint.data)
            self.loaded = max(self.loaded, change)
            self._unsaved += 1

    def remove(self, photo: PhotoId) -> None:
        """Forget a photo."""
        with self._lock:
            self._unsaved += self._copies.remove(photo)

    def fresh(self) -> CopyMethod:
        """An empty one, which takes over the folder when it is saved."""
        with self._lock:
            self._retired = True
        return CopyMethod(self._folder, empty=True)

    def save(self, *, force: bool = False) -> None:
        """Write the index, if enough has changed or ``force`` says so."""
        with self._lock:
            enough = 1 if force else max(SAVE_AFTER, len(self._copies) // 10)
            if self._folder is None or self._retired or self._unsaved < enough:
                return
            (self._folder / _REACH).unlink(missing_ok=True)
            self._copies.save(self._folder)
            (self._folder / _REACH).write_text(json.dumps({"change": self.loaded}))
            self._unsaved = 0

    def matches(self, fingerprint: Fingerprint, fetch: Fetch) -> Sequence[Match]:
        """The photos that were aligned with this one and proved to be the same."""

        def load(photos: Collection[int]) -> Mapping[int, bytes]:
            found = fetch([PhotoId(photo) for photo in photos])
            return {photo: one.data for photo, one in found.items()}

        with self._lock:
            found = self._copies.find(fingerprint.data, load)[:MATCHES_MAX]
        return [_match(copy) for copy in found]

    def prove(self, fingerprint: Fingerprint, matches: Sequence[Match], fetch: Fetch) -> Sequence[Match]:
        """Those of ``matches`` whose pictures, laid on each other as the orientation says, are the same.

        For hashes of whole pictures: what they find has no agreeing points, often because it is blurred.
        """
        records = fetch([match.photo for match in matches])
        proved = []
        for match in matches:
            if match.photo in records:
                shares = ARRANGEMENTS[match.evidence["orientation"]]
                other = records[match.photo].data
                copy = pipeline.prove(fingerprint.data, other, shares, photo=match.photo)
                if copy is not None:
                    proved.append(_match(copy, match.evidence))
        return proved


def _match(copy: pipeline.Copy, evidence: Mapping[str, Any] | None = None) -> Match:
    return Match(
        photo=PhotoId(copy.photo),
        relation=Relation.COPY,
        score=round(copy.score, 4),
        evidence={**(evidence or {}), **copy.evidence()},
    )


ARRANGEMENTS: Final[Mapping[str, NDArray[np.float64]]] = {
    name: np.array([[xx, xy, x], [yx, yy, y], [0, 0, 1]], np.float64)
    for name, (xx, xy, x, yx, yy, y) in {
        "identity": (1, 0, 0, 0, 1, 0),
        "rotate_90": (0, 1, 0, -1, 0, 1),
        "rotate_180": (-1, 0, 1, 0, -1, 1),
        "rotate_270": (0, -1, 1, 1, 0, 0),
        "flip_top_bottom": (1, 0, 0, 0, -1, 1),
        "flip_left_right": (-1, 0, 1, 0, 1, 0),
        "transpose": (0, 1, 0, 1, 0, 0),
        "transverse": (0, -1, 1, -1, 0, 1),
    }.items()
}
"""Where each orientation (``fingerprint.ORIENTATIONS``) takes a point, in shares of the sides."""
