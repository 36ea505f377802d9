"""Tells the event log of new links, at least once each.

A link and the news of it live in two databases; so the link is recorded first, as not yet announced, and
marked only after the log has taken the event. A crash in between announces it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from sqlalchemy import Connection

from hayloft.database import Database
from hayloft.similarity import links
from hayloft.types import EventKind, Link, PhotoId

AppendEvent = Callable[[EventKind, PhotoId, Mapping[str, Any]], Awaitable[int]]
"""``roles.Directory.append_event``."""

BATCH: Final = 100


class Announcer:
    """Appends ``photo.linked`` for every link that has not been announced."""

    def __init__(self, database: Database, append_event: AppendEvent) -> None:
        self._database = database
        self._append_event = append_event
        self._lock = asyncio.Lock()

    async def announce(self) -> None:
        """Announce what there is; whatever fails is announced the next time."""
        async with self._lock:
            while await self._announce_some() == BATCH:
                pass

    async def _announce_some(self) -> int:
        found = await self._database.read(_unannounced)
        for _, link in found:
            await self._append_event(EventKind.LINKED, newer(link), payload(link))
        if found:
            numbers = [number for number, _ in found]
            await self._database.write(lambda connection: links.mark_announced(connection, numbers))
        return len(found)


def newer(link: Link) -> PhotoId:
    """The photo whose arrival made the link, where the evidence says so."""
    return PhotoId(link.evidence.get("from", link.b))


def payload(link: Link) -> dict[str, Any]:
    """What the event says of the link."""
    return {
        "a": link.a,
        "b": link.b,
        "relation": link.relation.value,
        "score": link.score,
        "method": link.method,
    }


def _unannounced(connection: Connection) -> list[tuple[int, Link]]:
    return links.unannounced(connection, limit=BATCH)
