"""Reads everything again from the medium, slowly, and has what is damaged mended.

Bytes change on disks without anybody touching them, most often where nobody reads. All replicas of all
volumes are read in turn, page by page, at a set pace. The stores learn their needles' checksums by it, so
that the replicas can then be compared by these at no further cost. It mends nothing itself.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hayloft import limits
from hayloft.errors import HayloftError, NotFound, VolumeCorrupt
from hayloft.pitchfork.journal import Journal
from hayloft.pitchfork.mending import Mending
from hayloft.pitchfork.throttle import Throttle
from hayloft.pitchfork.watched import Watched
from hayloft.roles import Store
from hayloft.types import NeedleKey, ReplicaState, Scrutiny, StoreId, VolumeId

PAGE_BYTES: Final = 4 * limits.MIB
"""What is read at a time, about."""


class Scrub:
    """See the module."""

    def __init__(self, watched: Watched, journal: Journal, mending: Mending) -> None:
        self._watched = watched
        self._journal = journal
        self._mending = mending
        self._throttle = Throttle(watched.settings.scrub_bytes_per_second, watched.clock)

    async def volume(self, volume: VolumeId, replicas: list[ReplicaState]) -> int:
        """Read all replicas of a volume; returns how many needles were damaged.

        Raises:
            HayloftError: the directory does not answer.
        """
        damaged = 0
        for replica in replicas:
            try:
                damaged += await self._replica(volume, replica.store)
            except VolumeCorrupt as damage:
                self._journal.failed("scrub", damage.message, volume=volume, store=replica.store)
                damaged += await self._begin_anew(volume, replica.store, replicas)
            except NotFound:
                continue
            except HayloftError as error:
                self._journal.failed("scrub", error.message, volume=volume, store=replica.store)
        await self._mending.mend(volume, deep=True)
        return damaged

    async def _replica(self, volume: VolumeId, name: StoreId) -> int:
        store = self._watched.store(name)
        after: NeedleKey | None = None
        damaged = 0
        limit = 16
        with self._journal.doing("scrub", volume=volume, store=name) as work:
            while page := await store.needles(volume, after=after, limit=limit, scrutiny=Scrutiny.MEDIUM):
                size = sum(entry.size for entry in page)
                damaged += sum(entry.damaged for entry in page)
                after = page[-1].key
                limit = _next_limit(len(page), size)
                work.done += size
                self._journal.did("bytes scrubbed", size)
                await self._throttle.wait(size)
        self._journal.did("damaged needles found", damaged)
        return damaged

    async def _begin_anew(self, volume: VolumeId, name: StoreId, replicas: list[ReplicaState]) -> int:
        """A volume whose superblock is damaged, if it can be had from elsewhere."""
        others = [
            replica.store for replica in replicas if replica.store != name and replica.failure is None
        ]
        held = await asyncio.gather(*(self._has_needles(other, volume) for other in others))
        if not any(held):
            return 0
        await self._watched.directory.report_failure(volume, name, VolumeCorrupt.code)
        try:
            await self._mending.set_aside(volume, name)
        except HayloftError as error:
            self._journal.failed("set aside", error.message, volume=volume, store=name)
        return 1

    async def _has_needles(self, name: StoreId, volume: VolumeId) -> bool:
        try:
            return bool(await _first(self._watched.store(name), volume))
        except HayloftError:
            return False


async def _first(store: Store, volume: VolumeId) -> object:
    return await store.needles(volume, limit=1, scrutiny=Scrutiny.INDEX)


def _next_limit(count: int, size: int) -> int:
    """Needles in the next page, if they are as large as those in the last."""
    average = max(1, size // count)
    return max(1, min(PAGE_BYTES // average, limits.TRANSFER_NEEDLES_MAX))
