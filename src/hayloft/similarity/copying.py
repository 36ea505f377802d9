"""Copies by local features and geometry (``copies``), as a method among the others.

What is described carries all keypoints and is thrown away after the first search; what is recorded, and
fetched to verify a candidate, is a fraction of that. The evidence is the package's own: the
transformation, the agreeing points, the outlines, and the shares of each photo that the other shows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hayloft.similarity.copies import pipeline
from hayloft.similarity.decode import Picture
from hayloft.similarity.fingerprint import Fingerprint
from hayloft.similarity.methods import MATCHES_MAX, Fetch, Match
from hayloft.types import PhotoId, Relation


def describe_copies(picture: Picture) -> Fingerprint:
    """The picture's keypoints; quality is how many there are, 0 for one that has too few to be linked."""
    data = pipeline.describe(picture.grey)
    return Fingerprint(method=pipeline.METHOD, data=data, quality=float(pipeline.keypoints(data)))


class CopyMethod:
    """Verified copies: crops, borders, overlays, perspectives, and everything that PDQ finds."""

    name = pipeline.METHOD
    loaded = 0

    def __init__(self) -> None:
        self._copies = pipeline.Copies()

    def kept(self, fingerprint: Fingerprint) -> Fingerprint:
        """The keypoints that the index keeps."""
        return Fingerprint(
            method=fingerprint.method,
            data=pipeline.stored(fingerprint.data),
            quality=fingerprint.quality,
        )

    def add(self, photo: PhotoId, fingerprint: Fingerprint, change: int) -> None:  # noqa: ARG002
        """Make a photo findable, if there is something to recognise in it."""
        if fingerprint.quality > 0:
            self._copies.add(photo, fingerprint.data)

    def remove(self, photo: PhotoId) -> None:
        """Forget a photo."""
        self._copies.remove(photo)

    def fresh(self) -> CopyMethod:
        """An empty one."""
        return CopyMethod()

    def save(self, *, force: bool = False) -> None:
        """Nothing is on disk."""

    def matches(self, fingerprint: Fingerprint, fetch: Fetch) -> Sequence[Match]:
        """The photos that were aligned with this one and proved to be the same."""

        def load(photos: Collection[int]) -> Mapping[int, bytes]:
            found = fetch([PhotoId(photo) for photo in photos])
            return {photo: one.data for photo, one in found.items()}

        return [
            Match(
                photo=PhotoId(copy.photo),
                relation=Relation.COPY,
                score=round(copy.score, 4),
                evidence=copy.evidence(),
            )
            for copy in self._copies.find(fingerprint.data, load)[:MATCHES_MAX]
        ]
