"""How many upload bytes one worker process holds at a time.

Every upload reserves before it reads; past the limit it is told to come back. It counts, it does
not allocate.
"""

from __future__ import annotations

from hayloft import limits
from hayloft.errors import Overloaded


class Budget:
    """Bytes that may be in flight together."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.bytes_held = 0

    def reservation(self) -> Reservation:
        """A reservation of nothing yet."""
        return Reservation(self)

    def take(self, size: int) -> None:
        """Count ``size`` more bytes.

        Raises:
            Overloaded: they would be too many; nothing was counted.
        """
        if self.bytes_held + size > self._bytes_max:
            raise Overloaded(
                "Too many uploads are in flight; try again shortly.",
                retry_after_seconds=limits.RETRY_AFTER_SECONDS,
            )
        self.bytes_held += size

    def give_back(self, size: int) -> None:
        """Count ``size`` fewer bytes."""
        self.bytes_held -= size
        assert self.bytes_held >= 0


class Reservation:
    """What one upload holds; grows while it is read, released once it is stored or refused."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def release(self) -> None:
        """Give everything back; again is no error."""
        self._budget.give_back(self._size)
        self._size = 0

    def cover(self, size: int) -> None:
        """Hold at least ``size`` bytes.

        Raises:
            Overloaded: that would be too many in all.
        """
        if size > self._size:
            self._budget.take(size - self._size)
            self._size = size
