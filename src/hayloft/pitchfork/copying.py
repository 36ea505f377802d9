"""Has needles copied from one store to another, in bulk: verified, throttled, and never beyond a deletion.

The target fetches them from the source, so that no byte of them comes by here. While one batch is being
read, others are on their way and being written. A batch is durable before it counts. Afterwards the
directory is asked whether a photo of it was deleted meanwhile: that deletion may have passed the target
before the needle came. It is asked about several batches at once, while others are copied. Interrupted at
any moment, it has copied some batches; whoever compares next finds what is left, and what should not have
come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hayloft import limits
from hayloft.pitchfork.journal import Journal, Work
from hayloft.pitchfork.throttle import Throttle
from hayloft.pitchfork.watched import Watched
from hayloft.types import NeedleEntry, PhotoId, PhotoStatus, StoreId, VolumeId

TOMBSTONE_BYTES: Final = 64
"""What a tombstone counts for, about."""


LANES: Final = 8
"""Batches under way at the same time: one is read, one sent, and the others wait for the target's disk,
whose next write and sync they share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    volume: VolumeId
    source: StoreId
    target: StoreId


class Copying:
    """Copies between the stores of a cluster."""

    def __init__(self, watched: Watched, journal: Journal) -> None:
        self._watched = watched
        self._journal = journal
        self._throttle = Throttle(watched.settings.copy_bytes_per_second, watched.clock)

    async def copy(
        self, volume: VolumeId, source: StoreId, target: StoreId, entries: Sequence[NeedleEntry]
    ) -> int:
        """Copy these needles and tombstones; returns how many were taken over.

        Raises:
            HayloftError: either side, or the directory, failed; some of it may have been copied.
        """
        with self._journal.doing(
            "copy", volume=volume, store=target, total=sum(map(_weight, entries))
        ) as work:
            batches = iter(_batches(entries))
            route = _Route(volume=volume, source=source, target=target)
            arrived: set[PhotoId] = set()
            lanes = [asyncio.create_task(self._lane(route, batches, arrived, work)) for _ in range(LANES)]
            try:
                taken = sum(await asyncio.gather(*lanes))
            finally:
                for lane in lanes:
                    lane.cancel()
                await asyncio.gather(*lanes, return_exceptions=True)
            await self._bury_the_dead(route, arrived)
            return taken

    async def _lane(
        self, route: _Route, batches: Iterator[list[NeedleEntry]], arrived: set[PhotoId], work: Work
    ) -> int:
        """Take one batch after the other, as long as there are any.

        ``arrived`` are the photos, durable on the target, about which the directory is still to be asked.
        """
        target = self._watched.store(route.target)
        taken = 0
        for batch in batches:
            size = sum(map(_weight, batch))
            await self._throttle.wait(size)
            keys = [entry.key for entry in batch]
            fetched = await target.fetch_needles(route.volume, keys, source=route.source)
            taken += fetched.stored + fetched.deleted
            work.done += size
            self._journal.did("needles copied", fetched.stored)
            self._journal.did("tombstones copied", fetched.deleted)
            self._journal.did("bytes copied", size)
            arrived.update(entry.key.photo for entry in batch if not entry.deleted)
            if len(arrived) >= limits.PAGE_PHOTOS_MAX:
                photos = frozenset(arrived)
                arrived.clear()
                await self._bury_the_dead(route, photos)
        return taken

    async def _bury_the_dead(self, route: _Route, photos: Collection[PhotoId]) -> None:
        statuses = await self._watched.statuses_of(route.volume, photos)
        for photo in photos:
            if statuses.get(photo) is PhotoStatus.DELETED:
                await self._watched.store(route.target).delete(photo)


def _batches(entries: Sequence[NeedleEntry]) -> Iterator[list[NeedleEntry]]:
    batch: list[NeedleEntry] = []
    size = 0
    for entry in entries:
        if batch and (
            size + _weight(entry) > limits.TRANSFER_BYTES or len(batch) >= limits.TRANSFER_NEEDLES_MAX
        ):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += _weight(entry)
    if batch:
        yield batch


def _weight(entry: NeedleEntry) -> int:
    return entry.size or TOMBSTONE_BYTES
