"""The methods that are compared: this project's, and the usual ones with one threshold.

Every method describes pictures, and scores a described query against all described photos at once; a
higher score is a surer copy. What a method does not name has no score (minus infinity).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from hayloft.similarity import fingerprint
from hayloft.similarity.copies import pipeline
from hayloft.similarity.copying import ARRANGEMENTS
from hayloft.similarity.decode import Picture as Decoded
from hayloft.similarity.embedders.builtin import describe_builtin
from hayloft.similarity.fingerprint import Fingerprint
from hayloft.similarity.methods import PdqMethod
from hayloft.types import PhotoId
from similarity.disguises import Picture

Scores = NDArray[np.float64]


class Method(Protocol):
    """A way of recognising copies."""

    name: str

    def describe(self, picture: Picture) -> Any:
        """What the method keeps of a picture."""
        ...

    def build(self, descriptions: list[Any]) -> None:
        """Make these photos findable, by their places in the list."""
        ...

    def scores(self, query: Any) -> Scores:
        """How sure it is that each photo is a copy."""
        ...


def grey(picture: Picture) -> Picture:
    """Luma."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the product keeps of a picture while it looks for its copies."""

    data: bytes
    hashes: Fingerprint


class Copies:
    """The product's way: local features, votes, geometry, PDQ beside, and the proof of all of it."""

    name = "hayloft"

    def describe(self, picture: Picture) -> Described:
        """A description for a query."""
        return Described(data=pipeline.describe(grey(picture)), hashes=fingerprint.pdq(decoded(picture)))

    def build(self, descriptions: list[Described]) -> None:
        """Index and stored records."""
        self.index, self.hashes = pipeline.Copies(), PdqMethod()
        self.records = [pipeline.stored(d.data) for d in descriptions]
        for place, description in enumerate(descriptions):
            self.index.add(place, description.data)
            self.hashes.add(PhotoId(place), description.hashes, place)

    def found(self, query: Described) -> dict[int, pipeline.Copy]:
        """The proved copies."""
        return find(self.index, self.hashes, query, lambda places: {p: self.records[p] for p in places})

    def scores(self, query: Described) -> Scores:
        """The scores of the proved copies."""
        scores = np.full(len(self.records), -np.inf)
        for place, copy in self.found(query).items():
            scores[place] = copy.score
        return scores


def find(
    index: pipeline.Copies, hashes: PdqMethod, query: Described, load: pipeline.Load
) -> dict[int, pipeline.Copy]:
    """What the recorder does with both methods: proved copies by photo."""
    found = {copy.photo: copy for copy in index.find(query.data, load)}
    for match in hashes.matches(query.hashes, _nothing):
        if match.photo not in found:
            shares = ARRANGEMENTS[match.evidence["orientation"]]
            record = load([match.photo])[match.photo]
            copy = pipeline.prove(query.data, record, shares, photo=match.photo)
            if copy is not None:
                found[match.photo] = copy
    return found


def _nothing(photos: Sequence[PhotoId]) -> dict[PhotoId, Fingerprint]:  # noqa: ARG001 - a Fetch
    return {}


def decoded(picture: Picture) -> Decoded:
    """As it comes from the decoder."""
    rgb = np.ascontiguousarray(picture[:, :, ::-1])
    return Decoded(rgb=rgb, width=rgb.shape[1], height=rgb.shape[0])


class Hash:
    """A binary hash and a Hamming distance; several hashes of a query stand for its orientations."""

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self, picture: Picture) -> NDArray[np.uint8]:
        """``uint8[k, bytes]``."""
        if self.name == "phash":
            return phash(picture)[None]
        hashes = fingerprint.hashes_of(fingerprint.pdq(decoded(picture)))
        return hashes if self.name == "pdq, 8 ways" else hashes[:1]

    def build(self, descriptions: list[NDArray[np.uint8]]) -> None:
        """The upright hashes."""
        self.hashes = np.stack([hashes[0] for hashes in descriptions])

    def scores(self, query: NDArray[np.uint8]) -> Scores:
        """Minus the distance of the nearest orientation."""
        distances = np.bitwise_count(query[:, None] ^ self.hashes[None]).sum(axis=2).min(axis=0)
        return np.asarray(-distances.astype(np.float64))


def phash(picture: Picture) -> NDArray[np.uint8]:
    """The 64-bit perceptual hash: 8 × 8 low DCT frequencies of 32 × 32 pixels against their median."""
    small = cv2.resize(grey(picture), (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = np.asarray(cv2.dct(small))[:8, :8]
    return np.packbits(low > np.median(low))


class Embedding:
    """A pooled convolutional network and the cosine between photos."""

    name = "embedding"
    _SIDE: Final = 224

    def __init__(self, model: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options)
        self._input = self._session.get_inputs()[0].name

    def describe(self, picture: Picture) -> NDArray[np.float32]:
        """A unit vector."""
        sized = cv2.resize(picture, (self._SIDE, self._SIDE), interpolation=cv2.INTER_AREA)
        pixels = np.asarray(sized, dtype=np.float32)[:, :, ::-1].transpose(2, 0, 1)[None] / 127.5 - 1
        output = np.asarray(self._session.run(None, {self._input: np.ascontiguousarray(pixels)})[0])
        vector = output.reshape(output.shape[1], -1).mean(axis=1)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)

    def build(self, descriptions: list[NDArray[np.float32]]) -> None:
        """All vectors."""
        self.vectors = np.stack(descriptions)

    def scores(self, query: NDArray[np.float32]) -> Scores:
        """Cosines."""
        return (self.vectors @ query).astype(np.float64)


class BuiltIn:
    """The built-in embedder's vectors and the cosine between photos."""

    name = "embedding"

    def describe(self, picture: Picture) -> NDArray[np.float32]:
        """A unit vector."""
        vector = np.frombuffer(describe_builtin(decoded(picture)).data, np.float16).astype(np.float32)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)

    def build(self, descriptions: list[NDArray[np.float32]]) -> None:
        """All vectors."""
        self.vectors = np.stack(descriptions)

    def scores(self, query: NDArray[np.float32]) -> Scores:
        """Cosines."""
        return (self.vectors @ query).astype(np.float64)
