"""What an embedder must offer, and how a setting names one."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hayloft.errors import InvalidRequest
from hayloft.similarity.embedders.builtin import BuiltinEmbedder
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

    async def close(self) -> None:
        """Release the model."""
        ...


def made(method: str) -> bool:
    """Whether fingerprints of this method are some embedder's vectors."""
    return method.startswith(("builtin/", "onnx/"))


def open_embedder(spec: str, *, threads: int = 1) -> Embedder | None:
    """The embedder that a setting names: ``builtin``, ``onnx:PATH`` or ``none``.

    Raises:
        InvalidRequest: there is no such embedder, or its files are not right.
    """
    if spec == "none":
        return None
    if spec == "builtin":
        return BuiltinEmbedder()
    if spec.startswith(ONNX):
        return OnnxEmbedder(Path(spec.removeprefix(ONNX)), threads=threads)
    raise InvalidRequest(f"There is no embedder {spec!r}: it is builtin, onnx:PATH or none.")
