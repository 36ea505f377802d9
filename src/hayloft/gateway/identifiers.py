"""Photo ids for uploads, from blocks leased of the directory: no round trip per photo.

One block is in use and the next is fetched before it runs out. An id is handed out once; ids of an
abandoned block are never used, which costs nothing but empty slots. It knows nothing of what is stored.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from hayloft import limits
from hayloft.roles import Directory
from hayloft.types import Lease, PhotoId, Sequence, StoreId, VolumeId, photo_id, volume_of

REFILL_SHARE: Final = 4
"""The next block is fetched when one part in this many of the present one is left."""


class Slot(NamedTuple):
    """A fresh id and the stores that are to hold its needle."""

    photo: PhotoId
    replicas: tuple[StoreId, ...]

    @property
    def volume(self) -> VolumeId:
        """The volume that the id lies in."""
        return volume_of(self.photo)


class Identifiers:
    """Fresh photo ids for one worker, ``holder``."""

    def __init__(self, directory: Directory, *, holder: str, lease_count: int = limits.LEASE_COUNT) -> None:
        self._directory = directory
        self._holder = holder
        self._lease_count = lease_count
        self._lease: Lease | None = None
        self._used = 0
        self._refill: asyncio.Task[Lease] | None = None
        self._abandoned: set[VolumeId] = set()

    async def take(self) -> Slot:
        """The next fresh id.

        Raises:
            StorageFull: no store has room for a new volume.
        """
        while self._lease is None or self._used >= self._lease.count:
            await self._renew()
        lease, sequence = self._lease, Sequence(self._lease.first + self._used)
        self._used += 1
        if self._used * REFILL_SHARE >= lease.count * (REFILL_SHARE - 1):
            self._start_refill()
        return Slot(photo_id(lease.volume, sequence), lease.replicas)

    def abandon(self, volume: VolumeId) -> None:
        """Take no more ids of a volume from the blocks at hand, and none of one being fetched."""
        if self._lease is not None and self._lease.volume == volume:
            self._lease = None
        if self._refill is not None:
            self._abandoned.add(volume)

    async def close(self) -> None:
        """Drop the block being fetched."""
        if self._refill is not None:
            self._refill.cancel()
            await asyncio.gather(self._refill, return_exceptions=True)
            self._refill = None

    def _start_refill(self) -> asyncio.Task[Lease]:
        if self._refill is None:
            lease = self._directory.lease(holder=self._holder, count=self._lease_count)
            self._refill = asyncio.ensure_future(lease)
            self._refill.add_done_callback(_retrieve)
        return self._refill

    async def _renew(self) -> None:
        """Make the fetched block the present one; many uploads may wait for the same one."""
        refill = self._start_refill()
        try:
            lease = await asyncio.shield(refill)
        except BaseException:
            if refill.done() and self._refill is refill:
                self._refill = None
            raise
        if self._refill is not refill:
            return  # Another upload has put it in use.
        self._refill = None
        if lease.volume in self._abandoned:
            self._abandoned.clear()
            return
        self._abandoned.clear()
        self._lease, self._used = lease, 0


def _retrieve(refill: asyncio.Task[Lease]) -> None:
    """Mark a failure as seen: whoever next needs an id meets it in ``_renew``."""
    if not refill.cancelled():
        refill.exception()
