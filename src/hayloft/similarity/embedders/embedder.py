"""What an embedder must offer, and how a setting names one."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hayloft.errors import InvalidRequest
from hayloft.similarity.embedders.builtin import BuiltinEmbedder
from hayloft.similarity.embedders.library import BUILTIN, NONE, ModelLibrary
from hayloft.similarity.embedders.onnx import OnnxEmbedder
from hayloft.similarity.views import ViewPlan

ONNX: Final = "onnx:"


class Embedder(Protocol):
    """Turns photos into vectors of unit length whose cosine says how alike they are."""

    @property
    def name(self) -> str:
        """Name and version: vectors of different names are never compared."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        ...

    @property
    def view(self) -> ViewPlan | None:
        """The pixels it wants; None if decoders compute its vector as a fingerprint of its name."""
        ...

    @property
    def alike_score_min(self) -> float:
        """Cosine from which two photos are linked as alike."""
        ...

    @property
    def hint(self) -> str:
        """What it is, for a person."""
        ...

    async def embed(self, view: bytes) -> NDArray[np.float32]:
        """``float32[dimensions]`` of unit length, of ``uint8[side, side, 3]`` as bytes.

        Calls that wait at the same time are computed as one batch.
        """
        ...

    @property
    def takes_words(self) -> bool:
        """Whether it can say what words describe, for search."""
        ...

    async def embed_words(self, words: str) -> NDArray[np.float32]:
        """``float32[dimensions]`` of unit length, near the photos that the words describe.

        Raises:
            SearchNotConfigured: it knows no words.
        """
        ...

    async def close(self) -> None:
        """Release the model."""
        ...


def open_embedder(
    spec: str | None, *, threads: int = 1, library: ModelLibrary | None = None
) -> Embedder | None:
    """The embedder that a setting names: ``builtin``, ``none``, ``onnx:PATH`` or an added model's name.

    None stands for whatever the library says is in use.

    Raises:
        InvalidRequest: there is no such embedder, or its files are not right.
        ModelNotFound: no model of this name has been added.
    """
    if spec is None:
        spec = BUILTIN if library is None else library.in_use()
    if spec == NONE:
        return None
    if spec == BUILTIN:
        return BuiltinEmbedder()
    if spec.startswith(ONNX):
        return OnnxEmbedder(Path(spec.removeprefix(ONNX)), threads=threads)
    if library is None:
        raise InvalidRequest(f"There is no embedder {spec!r}: it is builtin, onnx:PATH or none.")
    return OnnxEmbedder(library.model(spec).path, threads=threads)
