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
        self._block: _Block | None = None
        self._used = 0
        self._refill: asyncio.Task[_Block] | None = None
        self._abandoned: set[VolumeId] = set()

    async def take(self, avoid: frozenset[StoreId] = frozenset()) -> Slot:
        """The next fresh id; in a volume without replicas on the stores to ``avoid``, if there is one.

        Raises:
            StorageFull: no store has room for a new volume.
        """
        if self._block is not None and not self._block.suits(avoid):
            self._block = None
        while self._block is None or self._used >= self._block.lease.count:
            await self._renew(avoid)
        lease = self._block.lease
        sequence = Sequence(lease.first + self._used)
        self._used += 1
        if self._used * REFILL_SHARE >= lease.count * (REFILL_SHARE - 1):
            self._start_refill(avoid)
        return Slot(photo_id(lease.volume, sequence), lease.replicas)

    def abandon(self, volume: VolumeId) -> None:
        """Take no more ids of a volume from the blocks at hand, and none of one being fetched."""
        if self._block is not None and self._block.lease.volume == volume:
            self._block = None
        if self._refill is not None:
            self._abandoned.add(volume)

    async def close(self) -> None:
        """Drop the block being fetched."""
        if self._refill is not None:
            self._refill.cancel()
            await asyncio.gather(self._refill, return_exceptions=True)
            self._refill = None

    def _start_refill(self, avoid: frozenset[StoreId]) -> asyncio.Task[_Block]:
        if self._refill is None:
            self._refill = asyncio.create_task(self._fetch(avoid))
            self._refill.add_done_callback(_retrieve)
        return self._refill

    async def _fetch(self, avoid: frozenset[StoreId]) -> _Block:
        lease = await self._directory.lease(holder=self._holder, count=self._lease_count, avoid=avoid)
        return _Block(lease, avoid)

    async def _renew(self, avoid: frozenset[StoreId]) -> None:
        """Make the fetched block the present one; many uploads may wait for the same one."""
        refill = self._start_refill(avoid)
        try:
            block = await asyncio.shield(refill)
        except BaseException:
            if refill.done() and self._refill is refill:
                self._refill = None
            raise
        if self._refill is not refill:
            return  # Another upload has put it in use.
        self._refill = None
        good = block.lease.volume not in self._abandoned and block.suits(avoid)
        self._abandoned.clear()
        if good:
            self._block, self._used = block, 0


class _Block(NamedTuple):
    """A lease, and the stores that it was to avoid."""

    lease: Lease
    avoided: frozenset[StoreId]

    def suits(self, avoid: frozenset[StoreId]) -> bool:
        """Whether the directory knew of the stores to avoid, or it has none of them anyway.

        A block that is on one of them although it was to avoid it is the best there is.
        """
        return avoid <= self.avoided or (avoid - self.avoided).isdisjoint(self.lease.replicas)


def _retrieve(refill: asyncio.Task[_Block]) -> None:
    """Mark a failure as seen: whoever next needs an id meets it in ``_renew``."""
    if not refill.cancelled():
        refill.exception()
