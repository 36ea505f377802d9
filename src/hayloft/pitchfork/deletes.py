"""Finishes deletions: follows the event log, and sees to it that every deletion has left its tombstones.

Whoever deletes a photo marks it in the directory first; what he then did not finish is finished here. A
replica that cannot be told has its failure reported, so that it is compared with the others before it
counts again, and a tombstone on any of them wins. If no replica at all could be told, the event is set
aside durably and tried again, for ever.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hayloft.errors import HayloftError, PhotoNotFound, VolumeNotFound
from hayloft.pitchfork.journal import Journal
from hayloft.pitchfork.watched import Watched
from hayloft.types import EventKind, PhotoId, StoreId, volume_of

CONSUMER: Final = "pitchfork"
MISSED: Final = "missed_deletion"
"""Why a replica is reported that could not be told of a deletion."""

EVENTS_AT_ONCE: Final = 500
PARKED_AT_ONCE: Final = 10_000
WAIT_SECONDS: Final = 5.0


class Deletes:
    """See the module."""

    def __init__(self, watched: Watched, journal: Journal) -> None:
        self._watched = watched
        self._journal = journal

    async def follow(self, *, wait_seconds: float = WAIT_SECONDS) -> int:
        """Deal with the next events, waiting for the first; returns how many there were.

        Raises:
            HayloftError: the directory does not answer; nothing is skipped.
        """
        directory = self._watched.directory
        after = await directory.position(CONSUMER)
        events = await directory.events(
            after=after, limit=EVENTS_AT_ONCE, wait_seconds=wait_seconds, kinds=(EventKind.DELETED,)
        )
        for event in events:
            if event.kind is EventKind.DELETED and not await self._finish(event.photo):
                await directory.park(CONSUMER, event, "No replica could be told.")
        if events:
            await directory.advance(CONSUMER, events[-1].position)
        return len(events)

    async def retry(self) -> int:
        """Try what was set aside; returns how many are left.

        Raises:
            HayloftError: the directory does not answer.
        """
        left = 0
        for parked in await self._watched.directory.parked(CONSUMER, limit=PARKED_AT_ONCE):
            if await self._finish(parked.event.photo):
                await self._watched.directory.unpark(CONSUMER, parked.event.position)
            else:
                left += 1
        return left

    async def _finish(self, photo: PhotoId) -> bool:
        """See to a photo's tombstones; whether at least one replica has been told."""
        try:
            placement = await self._watched.directory.placement(volume_of(photo))
        except VolumeNotFound:
            return True
        told = await asyncio.gather(*(self._tell(name, photo) for name in placement.replicas))
        if not any(told):
            return False
        for name, was_told in zip(placement.replicas, told, strict=True):
            if not was_told:
                await self._report(name, photo)
        return True

    async def _tell(self, name: StoreId, photo: PhotoId) -> bool:
        try:
            if await self._watched.store(name).delete(photo):
                self._journal.did("deletions finished")
        except PhotoNotFound:
            return True
        except HayloftError as error:
            self._journal.failed("delete", error.message, volume=volume_of(photo), store=name)
            return False
        return True

    async def _report(self, name: StoreId, photo: PhotoId) -> None:
        try:
            await self._watched.directory.report_failure(volume_of(photo), name, MISSED)
        except VolumeNotFound:
            return  # It has no replica there any more.
        self._journal.did("replicas reported")
