"""Feeds renditions from the event log: the handler for a consumer's loop."""

from __future__ import annotations

from typing import Final

from hayloft.errors import PhotoDeleted, PhotoNotFound
from hayloft.roles import Renditions
from hayloft.types import AlternateKey, Event, EventKind

CONSUMER: Final = "renditions"
"""The consumer's name in the event log."""


class RenditionsConsumer:
    """Makes the renditions of each photo that was uploaded; its ``handle`` is what the loop calls.

    A deleted photo needs nothing here: its needles go together, and its details with its record.
    """

    def __init__(self, renditions: Renditions) -> None:
        self._renditions = renditions

    async def handle(self, event: Event) -> None:
        """Deal with an event, durably when this returns; the same event again changes nothing.

        Raises:
            Unavailable, StorageFull: it could not be dealt with and must come again.
        """
        told = event.payload.get("alt_key", AlternateKey.ORIG.label)
        if event.kind is not EventKind.UPLOADED or told not in (AlternateKey.ORIG.label, ""):
            return
        try:
            await self._renditions.make(event.photo)
        except (PhotoDeleted, PhotoNotFound):
            # Deleted meanwhile: its own event tells the others.
            return
