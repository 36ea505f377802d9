"""Copies needles from one store to another, in bulk: verified, throttled, and never beyond a deletion.

While one batch is written, the next one is read. A batch is durable before it counts. Right after it, the
directory is asked whether a photo in it was deleted meanwhile: that deletion may have passed the target
before the needle came. Interrupted at any moment, it has copied some batches; whoever compares next finds
what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from hayloft import limits
from hayloft.pitchfork.journal import Journal
from hayloft.pitchfork.throttle import Throttle
from hayloft.pitchfork.watched import Watched
from hayloft.roles import Store
from hayloft.types import NeedleEntry, NeedleKey, PhotoStatus, StoreId, VolumeId

TOMBSTONE_BYTES: Final = 64
"""What a tombstone counts for, about."""


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
        batches = list(_batches(entries))
        taken = 0
        with self._journal.doing(
            "copy", volume=volume, store=target, total=sum(map(_weight, entries))
        ) as work:
            reading = self._read(volume, source, batches[0])
            try:
                for number, batch in enumerate(batches):
                    records = await reading
                    if number + 1 < len(batches):
                        reading = self._read(volume, source, batches[number + 1])
                    await self._throttle.wait(len(records))
                    imported = await self._watched.store(target).import_needles(volume, records)
                    await self._bury_the_dead(volume, self._watched.store(target), batch)
                    taken += imported.stored + imported.deleted
                    work.done += len(records)
                    self._journal.did("needles copied", imported.stored)
                    self._journal.did("tombstones copied", imported.deleted)
                    self._journal.did("bytes copied", len(records))
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        return taken

    def _read(self, volume: VolumeId, source: StoreId, batch: list[NeedleEntry]) -> asyncio.Task[bytes]:
        keys = [entry.key for entry in batch]
        store = self._watched.store(source)
        return asyncio.create_task(_export(store, volume, keys))

    async def _bury_the_dead(self, volume: VolumeId, target: Store, batch: list[NeedleEntry]) -> None:
        photos = {entry.key.photo for entry in batch if not entry.deleted}
        statuses = await self._watched.statuses_of(volume, photos)
        for photo in photos:
            if statuses.get(photo) is PhotoStatus.DELETED:
                await target.delete(photo)


async def _export(store: Store, volume: VolumeId, keys: list[NeedleKey]) -> bytes:
    return await store.export_needles(volume, keys)


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
