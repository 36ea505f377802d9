"""Small stand-ins for vectors: what a search compares before it looks at the few vectors themselves.

Among a million photos a search waits for memory: each comparison fetches a vector from somewhere else, 24
lines of a processor's cache for 768 numbers in half precision. A sketch is the vector turned onto the
directions in which these vectors differ most (principal components, as Jégou and Chum do it, ECCV 2012),
eight bits for each: 4 lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LENGTH: Final = 256
"""Numbers in a sketch, at the most."""
FITTED_ON: Final = 20_000
"""Vectors that the directions are found from, at the most; drawn evenly."""
_LEVELS: Final = 127
_LEAF: Final = 64
_ONE_FIRST_IN: Final = 10
_NOTHING: Final = 1e-12
"""So short is only a vector of zeros."""


@dataclass(frozen=True, slots=True)
class Sketcher:
    """Makes sketches with ``matrix``, float32[d, length], whose columns are unit length and orthogonal."""

    matrix: NDArray[np.float32]

    @classmethod
    def fitted(cls, vectors: NDArray[np.float16]) -> Sketcher:
        """The one for vectors like these, float16[n, d].

        They are not centred first: cosines are about the origin.
        """
        chosen = np.linspace(0, len(vectors) - 1, min(len(vectors), FITTED_ON)).astype(np.int64)
        sample = vectors[chosen].astype(np.float32)
        _, directions = np.linalg.eigh(sample.T @ sample)
        return cls(np.ascontiguousarray(directions[:, ::-1][:, :LENGTH], dtype=np.float32))

    @property
    def length(self) -> int:
        """Of a sketch."""
        return int(self.matrix.shape[1])

    def sketches(self, vectors: NDArray[np.float32]) -> NDArray[np.int8]:
        """int8[n, length] of float32[n, d]. The largest of each is 127, for cosines see no length."""
        turned = vectors @ self.matrix
        largest = np.abs(turned).max(axis=1, keepdims=True)
        turned *= _LEVELS / np.maximum(largest, _NOTHING)
        return np.asarray(np.rint(turned), dtype=np.int8)

    def sketch(self, vector: NDArray[np.float32]) -> NDArray[np.int8]:
        """int8[length] of one vector, float32[d]."""
        return np.asarray(self.sketches(vector[None])[0])


def insertion_order(sketches: NDArray[np.int8]) -> NDArray[np.int64]:
    """An order, int64[n], in which a graph over sketches is made quickly and well.

    Sketches that are near each other mostly follow each other, so that what the graph needs for one is
    still in the processor's cache from the one before: a k-d tree's order (Bentley, CACM 1975), halved at
    the median of the number that varies most. One in ten goes first, from everywhere; the others join.
    """
    parts, leaves = [np.arange(len(sketches))], []
    while parts:
        part = parts.pop()
        if len(part) <= _LEAF:
            leaves.append(part)
            continue
        sample = sketches[part[:: len(part) // _LEAF]].astype(np.float32)
        values = sketches[part, int(sample.var(axis=0).argmax())]
        middle = len(part) // 2
        halved = part[np.argpartition(values, middle)]
        parts += [halved[middle:], halved[:middle]]
    order = np.concatenate(leaves)
    first = np.arange(len(order)) % _ONE_FIRST_IN == 0
    return np.concatenate([order[first], order[~first]])
