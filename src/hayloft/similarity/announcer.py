"""Tells the event log of new links, at least once each: one event for a photo with all that it brought.

A link and the news of it live in two databases; so the link is recorded first, as not yet announced, and
marked only after the log has taken the event. A crash in between announces it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from hayloft.database import Database
from hayloft.similarity import links
from hayloft.types import EventKind, Link, PhotoId

AppendEvent = Callable[[EventKind, PhotoId, Mapping[str, Any]], Awaitable[int]]
"""``roles.Directory.append_event``."""

Numbered = tuple[int, Link]
"""A link with its number in similarity's table."""

BATCH: Final = 500
"""Links read at once; all of one photo's fit, as a rule."""


class Announcer:
    """Appends one ``photo.linked`` for each photo with links that have not been announced."""

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
        announced: list[int] = []
        for photo, numbered in _by_photo(found, whole=len(found) < BATCH).items():
            await self._append_event(EventKind.LINKED, photo, payload([link for _, link in numbered]))
            announced += [number for number, _ in numbered]
        if announced:
            await self._database.write(lambda connection: links.mark_announced(connection, announced))
        return len(found)


def _by_photo(found: list[Numbered], *, whole: bool) -> dict[PhotoId, list[Numbered]]:
    """Links by the photo that brought them; the last one's are left for the next batch unless these are all
    there are, because more of them may follow."""
    groups: dict[PhotoId, list[Numbered]] = {}
    for number, link in found:
        groups.setdefault(newer(link), []).append((number, link))
    if not whole and len(groups) > 1:
        del groups[newer(found[-1][1])]
    return groups


def newer(link: Link) -> PhotoId:
    """The photo whose arrival made the link, where the evidence says so."""
    return PhotoId(link.evidence.get("from", link.b))


def payload(found: Sequence[Link]) -> dict[str, Any]:
    """What the event says of a photo's links."""
    return {
        "links": [
            {
                "a": link.a,
                "b": link.b,
                "relation": link.relation.value,
                "score": link.score,
                "method": link.method,
            }
            for link in found
        ]
    }


def _unannounced(connection: Connection) -> list[Numbered]:
    return links.unannounced(connection, limit=BATCH)
