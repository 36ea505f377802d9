"""Graphs over vectors (HNSW: Malkov and Yashunin, IEEE TPAMI 2020), as usearch makes and keeps them.

The one place that names the library. Of the graphs of hnswlib, faiss and usearch, its own alone can both
forget a vector and be opened without being read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

# cv2 is not used here. usearch's wheel brings a C++ runtime of its own and hands out its symbols; whoever
# is loaded first decides whose all use, and onnxruntime crashes on usearch's. cv2 brings the system's.
import cv2  # noqa: F401
from usearch.index import Index

CONNECTIVITY: Final = 16
EXPANSION_ADD: Final = 128


def empty(dimensions: int, *, dtype: Literal["f16", "i8"]) -> Any:
    """A graph with nothing in it."""
    graph: Any = Index(ndim=dimensions, metric="cos", dtype=dtype, connectivity=CONNECTIVITY)
    graph.expansion_add = EXPANSION_ADD
    return graph


def read(path: Path) -> Any:
    """The graph in a file, in memory, to be changed.

    Raises:
        ValueError: it is no graph.
        RuntimeError: it cannot be read.
    """
    return _restored(path, view=False)


def mapped(path: Path) -> Any:
    """The graph in a file, to be searched, and nothing else.

    It is opened without the table of keys, for which the whole of the file would have to be read.

    Raises:
        ValueError: it is no graph.
        RuntimeError: it cannot be mapped.
    """
    return _restored(path, view=True, enable_key_lookups=False)


def _restored(path: Path, **how: bool) -> Any:
    graph: Any = Index.restore(path, **how)
    if graph is None:
        raise ValueError(f"{path.name} is not a graph")
    # A file does not keep it.
    graph.expansion_add = EXPANSION_ADD
    return graph
