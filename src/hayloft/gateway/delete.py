"""Deleting a photo: first in the directory, for good, then on every replica.

Replicas that do not answer are named in the outcome and get their tombstones later, from the event log;
until then the directory's word stands. Deleting again is no error and tries those replicas again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from hayloft.errors import HayloftError
from hayloft.roles import Directory, Store
from hayloft.types import PhotoId, StoreId

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A photo that is deleted."""

    photo: PhotoId
    failed_replicas: tuple[StoreId, ...]


class Deletions:
    """Deletions over the roles."""

    def __init__(self, *, directory: Directory, stores: Mapping[StoreId, Store]) -> None:
        self._directory = directory
        self._stores = stores

    async def delete(self, photo: PhotoId) -> Deleted:
        """Delete a photo for good.

        Raises:
            PhotoNotFound: there is no such photo.
        """
        record = await self._directory.delete(photo)
        outcomes = await asyncio.gather(*(self._bury(photo, name) for name in record.replicas))
        failed = [n for n, done in zip(record.replicas, outcomes, strict=True) if not done]
        return Deleted(photo=photo, failed_replicas=tuple(failed))

    async def _bury(self, photo: PhotoId, name: StoreId) -> bool:
        store = self._stores.get(name)
        if store is None:
            return False
        try:
            await store.delete(photo)
        except HayloftError as error:
            _log.warning("replica not deleted yet", photo_id=photo, store=name, code=error.code)
            return False
        return True
