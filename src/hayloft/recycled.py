"""Memory for what is copied between replicas, used again as soon as nobody holds a view of it.

A fresh piece of a few megabytes is given back to the system when it is freed, and costs a page fault for
every page when it is needed again: more than copying the bytes that go into it. What is taken here is not
zeroed, and comes back by itself when the last view of it is gone. Pieces larger than usual, or more than
are kept, are ordinary memory. It does not know what lies in it.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt

from hayloft import limits

PIECES_MAX: Final = 16
"""Pieces that are kept: eight batches that come, and as many that go."""


class Recycled:
    """Pieces of ``size_bytes`` each, of which ``pieces_max`` are kept. Safe for any number of threads."""

    def __init__(self, *, size_bytes: int, pieces_max: int = PIECES_MAX) -> None:
        self._size_bytes = size_bytes
        self._pieces_max = pieces_max
        self._free: deque[npt.NDArray[np.uint8]] = deque()

    def take(self, size_bytes: int) -> memoryview:
        """So many bytes, with anything in them; the caller's as long as any view of them lives."""
        if size_bytes > self._size_bytes:
            return np.empty(size_bytes, np.uint8).data
        try:
            piece = self._free.pop()
        except IndexError:
            piece = np.empty(self._size_bytes, np.uint8)
        lent = piece[:size_bytes]
        # Every view is one of this array's buffer, and keeps the array; only this keeps the piece itself.
        weakref.finalize(lent, self._give_back, piece).atexit = False
        return lent.data

    def _give_back(self, piece: npt.NDArray[np.uint8]) -> None:
        # Without a lock, which whoever drops a view may hold: one piece more now and then does no harm.
        if len(self._free) < self._pieces_max:
            self._free.append(piece)


transfers: Final = Recycled(size_bytes=limits.TRANSFER_BYTES)
"""What all copies of this process share."""
