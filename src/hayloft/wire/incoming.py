"""The body of a large answer, received straight into one piece of memory: no copy but the kernel's.

It takes the place of a connection's protocol from the end of the head to that of the body, whose size the
head has announced. It knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hayloft.recycled import transfers


class Incoming(asyncio.BufferedProtocol):
    """``size`` bytes on their way.

    ``arrived`` is called when all are there, ``lost`` when the connection ends before.
    """

    def __init__(
        self, size: int, *, arrived: Callable[[], None], lost: Callable[[Exception | None], None]
    ) -> None:
        self.memory = transfers.take(size)
        """All of it, of which only what has come means anything."""
        self._missing = self.memory
        self._arrived = arrived
        self._lost = lost

    @property
    def is_whole(self) -> bool:
        """Whether all is there."""
        return not self._missing

    def take(self, some: bytes) -> None:
        """What came together with the head."""
        self._missing[: len(some)] = some
        self._missing = self._missing[len(some) :]

    # asyncio's callbacks -------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where the next bytes belong."""
        return self._missing

    def buffer_updated(self, nbytes: int) -> None:
        """So many have come."""
        self._missing = self._missing[nbytes:]
        if not self._missing:
            self._arrived()

    def connection_lost(self, exc: Exception | None) -> None:
        """No more will come."""
        self._lost(exc)
