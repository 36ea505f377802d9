"""Memory for what is copied between replicas, used again as soon as nobody holds a view of it.

A fresh piece of a few megabytes is given back to the system when it is freed, and costs a page fault for
every page when it is needed again: more than copying the bytes that go into it. What is taken here is not
zeroed, and need not be given back: a piece is free when it is referred to from here alone. Pieces larger
than usual, or more than are kept, are ordinary memory. It does not know what lies in it.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

import numpy as np
import numpy.typing as npt

from hayloft import limits

PIECES_MAX: Final = 16
"""Pieces that are kept: eight batches that come, and as many that go."""

_UNUSED: Final = 3
"""References to a piece that nobody has a view of: the list's, the loop's, the question's own."""


class Recycled:
    """Pieces of ``size_bytes`` each, at most ``pieces_max`` of them. Safe for any number of threads."""

    def __init__(self, *, size_bytes: int, pieces_max: int = PIECES_MAX) -> None:
        self._size_bytes = size_bytes
        self._pieces_max = pieces_max
        self._pieces: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> memoryview:
        """So many bytes, with anything in them; the caller's as long as any view of them lives."""
        if size_bytes > self._size_bytes:
            return np.empty(size_bytes, np.uint8).data
        with self._lock:
            for piece in self._pieces:
                if sys.getrefcount(piece) == _UNUSED:
                    return piece.data[:size_bytes]
            made = np.empty(self._size_bytes, np.uint8)
            if len(self._pieces) < self._pieces_max:
                self._pieces.append(made)
            return made.data[:size_bytes]


transfers: Final = Recycled(size_bytes=limits.TRANSFER_BYTES)
"""What all copies of this process share."""
