"""Photos that are merely alike: the method whose fingerprints are an embedder's vectors.

Its matches become ``similar`` links, few and only above the embedder's threshold; ``nearest`` answers with
however many are asked for. The vectors are recorded in the database as float16; the index is a projection
of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hayloft.similarity import thresholds
from hayloft.similarity.fingerprint import Fingerprint
from hayloft.similarity.methods import Fetch, Match
from hayloft.types import PhotoId, Relation


class Vectors(Protocol):
    """Which vectors are near: ``vectors.index.VectorIndex`` for one process, ``PgVectorIndex`` for many.

    Called from threads.
    """

    @property
    def change(self) -> int:
        """Everything recorded up to here is in the index."""
        ...

    @property
    def saved(self) -> float:
        """How far a ``save`` that is going on is, 0 to 1; 1 where it takes no time worth telling."""
        ...

    def __len__(self) -> int: ...

    def add(self, photo: PhotoId, vector: NDArray[np.float32], change: int) -> None:
        """Put in a photo's vector that was recorded as number ``change``."""
        ...

    def remove(self, photo: PhotoId) -> None:
        """Forget a photo; one that is not there is no error."""
        ...

    def search(self, vector: NDArray[np.float32], *, k: int) -> list[tuple[PhotoId, float]]:
        """The ``k`` photos with the largest cosine, each with it, largest first."""
        ...

    def wants_saving(self) -> bool:
        """Whether so much has changed that ``save`` is worth its writing."""
        ...

    def save(self) -> None:
        """Write what changed."""
        ...

    def successor(self) -> Vectors:
        """One that everything is put into again; this one answers until then."""
        ...

    def retire(self) -> None:
        """Never write again: another one takes over."""
        ...

    def discard(self) -> None:
        """Delete it."""
        ...


class AlikeMethod:
    """Neighbours by the vectors called ``name``."""

    def __init__(self, *, name: str, index: Vectors, alike_score_min: float) -> None:
        self.name = name
        self.index = index
        self._alike_score_min = alike_score_min

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
        """The same, to be filled anew. The older one goes on answering, but is never saved again."""
        return AlikeMethod(
            name=self.name, index=self.index.successor(), alike_score_min=self._alike_score_min
        )

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
