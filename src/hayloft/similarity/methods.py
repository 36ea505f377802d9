"""What a way of recognising copies must offer, and the first one: PDQ.

A method describes pixels (``fingerprint``, in a decoder process), keeps an index of what it described, and
from it names the photos that are copies of a described one, with a score and the evidence. It is a
projection: what it is told to add and remove comes from the database. Calls are serialised by its owner and
may run on any thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from hayloft.similarity import thresholds
from hayloft.similarity.fingerprint import ORIENTATIONS, PDQ, Fingerprint, hashes_of
from hayloft.similarity.index import HASH_BITS, HammingIndex
from hayloft.types import PhotoId, Relation

MATCHES_MAX: Final = 100
"""Links that one photo brings with it; the best ones are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A photo that a method recognised."""

    photo: PhotoId
    relation: Relation
    score: float
    """1.0 is certain; comparable within the method."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """JSON-serialisable; directed from the photo described to this one."""


class Fetch(Protocol):
    """How a method gets at the fingerprints it keeps in the database and not in memory."""

    def __call__(self, photos: Sequence[PhotoId]) -> Mapping[PhotoId, Fingerprint]:
        """The fingerprints, of this method, of those photos that have one."""
        ...


class Method(Protocol):
    """One way of recognising copies."""

    @property
    def name(self) -> str:
        """Name and version; the same as in its fingerprints."""
        ...

    @property
    def loaded(self) -> int:
        """The number of the last recorded fingerprint that the index holds already; 0 if it is empty."""
        ...

    def kept(self, fingerprint: Fingerprint) -> Fingerprint:
        """What is to be recorded of a fingerprint; the rest serves the first search only."""
        ...

    def add(self, photo: PhotoId, fingerprint: Fingerprint, change: int) -> None:
        """Make a photo findable, if its fingerprint, recorded as number ``change``, is good enough.

        Again is no error.
        """
        ...

    def remove(self, photo: PhotoId) -> None:
        """Forget a photo; one that is not there is no error."""
        ...

    def fresh(self) -> Method:
        """The same method with an empty index, on which all is added again."""
        ...

    def save(self, *, force: bool = False) -> None:
        """Write an index that lives on disk, if it is worth it or ``force`` says so."""
        ...

    def matches(self, fingerprint: Fingerprint, fetch: Fetch) -> Sequence[Match]:
        """The verified copies of what was described, best first, at most ``MATCHES_MAX``.

        A photo's own id is among them when it has been added; the caller leaves it out.
        """
        ...


@runtime_checkable
class Prover(Protocol):
    """A method that can also say whether what another one found is a copy, by looking at the pictures."""

    def prove(self, fingerprint: Fingerprint, matches: Sequence[Match], fetch: Fetch) -> Sequence[Match]:
        """Those of another method's matches that are copies, with its score and the evidence of both.

        ``fingerprint`` is this method's of what was described, ``fetch`` gets at those of the photos found.
        A match says in its evidence how the pictures lie on each other (``orientation``).
        """
        ...


class PdqMethod:
    """Copies of the whole picture: re-encoded, resized, turned, mirrored, mildly filtered.

    A hash is no proof: shots one after the other have hashes 36 bits apart. ``Prover`` has the last word.
    """

    name = PDQ
    loaded = 0

    def __init__(self) -> None:
        self._index = HammingIndex()

    def __len__(self) -> int:
        return len(self._index)

    def kept(self, fingerprint: Fingerprint) -> Fingerprint:
        """All of it."""
        return fingerprint

    def add(self, photo: PhotoId, fingerprint: Fingerprint, change: int) -> None:  # noqa: ARG002
        """Add the photo's upright hash, unless it is too flat or too small."""
        if fingerprint.quality >= thresholds.PDQ_QUALITY_MIN:
            self._index.add(photo, hashes_of(fingerprint)[0])

    def remove(self, photo: PhotoId) -> None:
        """Forget a photo."""
        self._index.remove(photo)

    def fresh(self) -> PdqMethod:
        """An empty one."""
        return PdqMethod()

    def save(self, *, force: bool = False) -> None:
        """Nothing is on disk."""

    def matches(self, fingerprint: Fingerprint, fetch: Fetch) -> Sequence[Match]:  # noqa: ARG002
        """Photos whose hash is near one of the eight, to be proved; nothing for a flat photo."""
        if fingerprint.quality < thresholds.PDQ_QUALITY_MIN:
            return ()
        near = self._index.near(hashes_of(fingerprint), distance_bits_max=thresholds.PDQ_DISTANCE_BITS_MAX)
        return [
            Match(
                photo=found.photo,
                relation=Relation.COPY,
                score=1.0 - found.distance_bits / HASH_BITS,
                evidence={
                    "orientation": ORIENTATIONS[found.query],
                    "distance_bits": found.distance_bits,
                    "quality": fingerprint.quality,
                    "shares": [1.0, 1.0],
                },
            )
            for found, _ in zip(near, range(MATCHES_MAX), strict=False)
        ]
