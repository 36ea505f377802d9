"""Where volumes are: the directory's answers, remembered for a while.

A volume's replicas change only by repair, so a cached answer is right for long; when a read finds every
replica wrong, ``forget`` makes the next look fresh. It knows nothing of stores beyond their names.
"""

from __future__ import annotations

from typing import Final

from hayloft.clock import Clock
from hayloft.roles import Directory
from hayloft.types import Placement, StoreId, VolumeId

AGE_SECONDS_MAX: Final = 60.0
VOLUMES_MAX: Final = 1 << 16
"""Entries kept: far more volumes than one gateway meets; past it the cache starts anew."""


class Placements:
    """Placements of volumes, cached."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._monotonic_seconds = clock.monotonic_seconds
        self._known: dict[VolumeId, tuple[float, Placement]] = {}

    def cached(self, volume: VolumeId) -> tuple[StoreId, ...] | None:
        """The replicas if they are known and fresh."""
        known = self._known.get(volume)
        if known is None or self._monotonic_seconds() > known[0]:
            return None
        return known[1].replicas

    async def replicas(self, volume: VolumeId) -> tuple[StoreId, ...]:
        """The stores that hold a volume.

        Raises:
            VolumeNotFound: the directory has no such volume.
        """
        known = self.cached(volume)
        if known is not None:
            return known
        placement = await self._directory.placement(volume)
        if len(self._known) >= VOLUMES_MAX:
            self._known.clear()
        self._known[volume] = (self._monotonic_seconds() + AGE_SECONDS_MAX, placement)
        return placement.replicas

    def takes_writes(self, volume: VolumeId) -> bool:
        """Whether a volume took writes when it was last looked at; False for one never looked at."""
        known = self._known.get(volume)
        return known is not None and known[1].writable

    def forget(self, volume: VolumeId) -> None:
        """Ask the directory next time."""
        self._known.pop(volume, None)
