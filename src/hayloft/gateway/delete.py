"""Deleting a photo: first in the directory, for good, then on every replica, then in the cache.

Replicas that do not answer soon are named in the outcome and get their tombstones later, from the event
log; until then the directory's word stands. Deleting again is no error and tries those replicas again. The
cache comes last: as long as a replica can be read, a reader may fill it once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from hayloft.errors import HayloftError, Unavailable
from hayloft.gateway.cached import Cached
from hayloft.gateway.standing import Standings
from hayloft.roles import Directory, Store
from hayloft.types import PhotoId, StoreId

TOMBSTONE_SECONDS_MAX: Final = 2.0
"""How long a replica may take for a tombstone; more than a busy disk does."""
TOMBSTONE_SECONDS_MAX_AVOIDED: Final = 0.25
"""The same of a store that keeps failing."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A photo that is deleted."""

    photo: PhotoId
    failed_replicas: tuple[StoreId, ...]


class Deletions:
    """Deletions over the roles."""

    def __init__(
        self,
        *,
        directory: Directory,
        stores: Mapping[StoreId, Store],
        standings: Standings,
        cached: Cached | None = None,
    ) -> None:
        self._directory = directory
        self._stores = stores
        self._standings = standings
        self._cached = cached

    async def delete(self, photo: PhotoId) -> Deleted:
        """Delete a photo for good.

        Raises:
            PhotoNotFound: there is no such photo.
        """
        record = await self._directory.delete(photo)
        outcomes = await asyncio.gather(*(self._bury(photo, name) for name in record.replicas))
        if self._cached is not None:
            await self._cached.purge(photo)
        failed = [n for n, done in zip(record.replicas, outcomes, strict=True) if not done]
        return Deleted(photo=photo, failed_replicas=tuple(failed))

    async def _bury(self, photo: PhotoId, name: StoreId) -> bool:
        store = self._stores.get(name)
        if store is None:
            return False
        avoided = self._standings.of(name).is_avoided
        try:
            async with asyncio.timeout(TOMBSTONE_SECONDS_MAX_AVOIDED if avoided else TOMBSTONE_SECONDS_MAX):
                await store.delete(photo)
        except (HayloftError, TimeoutError) as error:
            if isinstance(error, (Unavailable, TimeoutError)):
                self._standings.of(name).failed()
            _log.warning("replica not deleted yet", photo_id=photo, store=name, error=repr(error))
            return False
        return True
