"""Puts a photo's renditions beside it, on every replica of its volume.

What a client uploaded is never written over: a photo that was uploaded as one of the sizes keeps that one
as it came. It knows nothing of how renditions are made.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping

from hayloft.clock import Clock
from hayloft.errors import HayloftError, ReplicasFailed
from hayloft.renditions.made import Rendition
from hayloft.roles import Directory, Store
from hayloft.types import NeedleMetadata, NewNeedle, PhotoRecord, StoreId, volume_of


class Keeping:
    """Stores renditions."""

    def __init__(self, *, directory: Directory, stores: Mapping[StoreId, Store], clock: Clock) -> None:
        self._directory = directory
        self._stores = stores
        self._clock = clock

    async def keep(self, record: PhotoRecord, renditions: tuple[Rendition, ...]) -> None:
        """Store these on all replicas that answer; durable when this returns.

        Raises:
            PhotoDeleted: the photo was deleted meanwhile; nothing of it is left.
            StorageFull, VolumeReadOnly, ReplicasFailed: no replica could take one of them.
        """
        placement = await self._directory.placement(volume_of(record.photo))
        for rendition in renditions:
            if rendition.alternate_key is record.alternate_key:
                continue
            await self._keep_one(record, rendition, placement.replicas)

    async def _keep_one(
        self, record: PhotoRecord, rendition: Rendition, replicas: tuple[StoreId, ...]
    ) -> None:
        needle = NewNeedle(
            photo=record.photo,
            cookie=record.cookie,
            data=rendition.data,
            alternate_key=rendition.alternate_key,
            metadata=NeedleMetadata(
                media_type=rendition.media_type,
                name=record.name,
                sha256=hashlib.sha256(rendition.data).digest(),
                created_at_ms=self._clock.now_ms(),
            ),
        )
        known = [self._stores[name] for name in replicas if name in self._stores]
        appends = [store.append(volume_of(record.photo), needle) for store in known]
        answers = await asyncio.gather(*appends, return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, HayloftError):
                raise failure
        if len(failures) == len(known):
            raise failures[0] if failures else ReplicasFailed(photo_id=record.photo)
