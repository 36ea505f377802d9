"""Photos that are merely alike: the method whose fingerprints are an embedder's vectors.

Its matches become ``similar`` links, few and only above the embedder's threshold; ``nearest`` answers with
however many are asked for. The vectors are recorded in the database as float16; the index is a projection
of them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hayloft.similarity import thresholds
from hayloft.similarity.fingerprint import Fingerprint
from hayloft.similarity.methods import Fetch, Match
from hayloft.similarity.vectors import VectorIndex
from hayloft.types import PhotoId, Relation


class AlikeMethod:
    """Neighbours by the vectors called ``name``, indexed in a folder of their own under ``folder``."""

    def __init__(self, folder: Path, *, name: str, dimensions: int, alike_score_min: float) -> None:
        self.name = name
        self._folder = folder / hashlib.sha256(name.encode()).hexdigest()[:16]
        self._dimensions = dimensions
        self._alike_score_min = alike_score_min
        self.index = VectorIndex(self._folder, dimensions=dimensions)

    @property
    def loaded(self) -> int:
        """The last recorded fingerprint that the index holds."""
        return self.index.change

    def kept(self, fingerprint: Fingerprint) -> Fingerprint:
        """All of it."""
        return fingerprint

    def add(self, photo: PhotoId, fingerprint: Fingerprint, change: int) -> None:
        """Make a photo findable."""
        self.index.add(photo, vector_of(fingerprint), change)

    def remove(self, photo: PhotoId) -> None:
        """Forget a photo."""
        self.index.remove(photo)

    def matches(self, fingerprint: Fingerprint, fetch: Fetch) -> Sequence[Match]:  # noqa: ARG002
        """The few nearest that are alike enough to be linked."""
        found = self.nearest(fingerprint, k=thresholds.ALIKE_LINKS_MAX)
        return [match for match in found if match.score >= self._alike_score_min]

    def nearest(self, fingerprint: Fingerprint, *, k: int) -> list[Match]:
        """The ``k`` nearest, however far they are."""
        return [
            Match(
                photo=photo,
                relation=Relation.SIMILAR,
                score=round(score, 4),
                evidence={"model": self.name, "cosine": round(score, 4)},
            )
            for photo, score in self.index.search(vector_of(fingerprint), k=k)
        ]

    def fresh(self) -> AlikeMethod:
        """The same, empty, on disk too. The older one goes on answering, but is never saved again."""
        self.index.retire()
        fresh = AlikeMethod(
            self._folder.parent,
            name=self.name,
            dimensions=self._dimensions,
            alike_score_min=self._alike_score_min,
        )
        fresh.index.clear()
        return fresh

    def discard(self) -> None:
        """Delete what is on disk: nothing is recorded any more of what this method indexes."""
        self.index.retire()
        shutil.rmtree(self._folder, ignore_errors=True)

    def save(self, *, force: bool = False) -> None:
        """Write the index, if enough has changed or ``force`` says so."""
        if force or self.index.wants_saving():
            self.index.save()


def vector_of(fingerprint: Fingerprint) -> NDArray[np.float32]:
    """The vector in a recorded fingerprint."""
    return np.frombuffer(fingerprint.data, np.float16).astype(np.float32)


def fingerprint_of(name: str, vector: NDArray[Any]) -> Fingerprint:
    """A vector as it is recorded."""
    return Fingerprint(method=name, data=vector.astype(np.float16).tobytes(), quality=1.0)
