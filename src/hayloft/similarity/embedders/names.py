"""How the names of embedders, and of what they record, begin."""

from __future__ import annotations


def made(method: str) -> bool:
    """Whether fingerprints of this method are some embedder's vectors."""
    return method.startswith(("builtin/", "onnx/"))
