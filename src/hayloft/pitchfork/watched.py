"""What the pitchfork watches: the directory, the stores, and how both are asked about one volume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from hayloft import limits
from hayloft.clock import Clock
from hayloft.config import PitchforkSettings
from hayloft.errors import RoleUnavailable, VolumeNotFound
from hayloft.roles import Directory, Store
from hayloft.types import (
    RANGE_SEQUENCES,
    AlternateKey,
    NeedleEntry,
    NeedleKey,
    PhotoId,
    PhotoStatus,
    ReplicaState,
    Scrutiny,
    Sequence,
    StoreId,
    VolumeId,
    photo_id,
    sequence_of,
)

T = TypeVar("T")

_LAST_KEY: Final = max(AlternateKey)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The directory and the stores, with how closely they are watched."""

    directory: Directory
    stores: Mapping[StoreId, Store]
    settings: PitchforkSettings
    clock: Clock
    silent: set[StoreId] = field(default_factory=set)
    """Stores that left several checks in a row unanswered; kept by ``health``. Not worth asking."""

    def store(self, name: StoreId) -> Store:
        """The store of this name.

        Raises:
            RoleUnavailable: nobody knows where it is, or it has not answered for a while.
        """
        store = self.stores.get(name)
        if store is None:
            raise RoleUnavailable(f"Nobody knows where {name} is.")
        if name in self.silent:
            raise RoleUnavailable(f"{name} has not answered lately.")
        return store

    async def while_answering(self, name: StoreId, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of something that may take a store hours, but that is given up if it falls silent.

        Raises:
            RoleUnavailable: it fell silent.
            HayloftError: what the work raises.
        """
        task = asyncio.create_task(work)
        try:
            while name not in self.silent:
                done, _pending = await asyncio.wait([task], timeout=self.settings.check_seconds)
                if done:
                    return task.result()
            raise RoleUnavailable(f"{name} has stopped answering.")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def replicas(self) -> dict[VolumeId, list[ReplicaState]]:
        """All replicas, by volume."""
        found: dict[VolumeId, list[ReplicaState]] = {}
        for replica in await self.directory.replicas():
            found.setdefault(replica.volume, []).append(replica)
        return found

    async def replicas_of(self, volume: VolumeId) -> list[ReplicaState]:
        """One volume's replicas; none if the directory does not know it (any more)."""
        return (await self.replicas()).get(volume, [])

    async def is_foreign(self, volume: VolumeId) -> bool:
        """Whether the directory has never had a photo there: others have, and only they know which."""
        try:
            return not await self.directory.volume_photos(volume, limit=1)
        except VolumeNotFound:
            return True

    async def statuses(
        self, volume: VolumeId, first: Sequence, last: Sequence
    ) -> dict[PhotoId, PhotoStatus]:
        """What the directory says of the photos between two sequence numbers, both included."""
        found: dict[PhotoId, PhotoStatus] = {}
        after = Sequence(first - 1) if first > 0 else None
        while True:
            # No more than there can be: most questions are about a few photos side by side.
            limit = min(limits.PAGE_PHOTOS_MAX, last - (-1 if after is None else after))
            page = await self.directory.volume_photos(volume, after=after, limit=limit)
            found |= {entry.photo: entry.status for entry in page if sequence_of(entry.photo) <= last}
            if len(page) < limit or sequence_of(page[-1].photo) >= last:
                return found
            after = sequence_of(page[-1].photo)

    async def statuses_of(
        self, volume: VolumeId, photos: Collection[PhotoId]
    ) -> dict[PhotoId, PhotoStatus]:
        """What the directory says of these photos, and of others between them."""
        sequences = [sequence_of(photo) for photo in photos]
        return await self.statuses(volume, min(sequences), max(sequences)) if sequences else {}

    async def list_range(
        self, store: Store, volume: VolumeId, first: Sequence, scrutiny: Scrutiny
    ) -> dict[NeedleKey, NeedleEntry]:
        """What a store has of the range that begins with this number; nothing if not even the volume."""
        end = first + RANGE_SEQUENCES
        found: dict[NeedleKey, NeedleEntry] = {}
        try:
            async for entry in _entries(store, volume, first, scrutiny):
                if sequence_of(entry.key.photo) >= end:
                    break
                found[entry.key] = entry
        except VolumeNotFound:
            return {}
        return found


async def _entries(
    store: Store, volume: VolumeId, first: Sequence, scrutiny: Scrutiny
) -> AsyncIterator[NeedleEntry]:
    after = before(photo_id(volume, first))
    while True:
        page = await store.needles(
            volume, after=after, limit=limits.TRANSFER_NEEDLES_MAX, scrutiny=scrutiny
        )
        for entry in page:
            yield entry
        if len(page) < limits.TRANSFER_NEEDLES_MAX:
            return
        after = page[-1].key


def before(photo: PhotoId) -> NeedleKey | None:
    """The last key that stands before a photo's first; None if it is its volume's first photo."""
    return NeedleKey(PhotoId(photo - 1), _LAST_KEY) if sequence_of(photo) else None
