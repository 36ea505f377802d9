"""Writes what is found out about photos, one photo at a time: database first, then the indexes in memory.

All changes go through one lock, so that of two photos that arrive together the second always meets the
first, and a deletion never overtakes the recording that it should undo. Each photo's row, fingerprints,
links and groups change in one transaction; whatever the moment of a crash, the photo is either all there
or not at all, and the indexes, made anew from the database at start, agree with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from hayloft.similarity import linker, links, records
from hayloft.similarity.database import Database
from hayloft.similarity.fingerprint import Description, Fingerprint
from hayloft.similarity.grouping import regroup
from hayloft.similarity.methods import Fetch, Match, Method
from hayloft.similarity.records import Seen
from hayloft.types import Link, PhotoId, Verdict

T = TypeVar("T")

LOAD_PAGE: Final = 10_000
"""Fingerprints read at a time when the indexes are made."""


class Recorder:
    """The only writer of similarity's database, and the owner of the methods' indexes."""

    def __init__(self, database: Database, methods: Sequence[Method]) -> None:
        self._database = database
        self._methods = tuple(methods)
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    async def load(self) -> None:
        """Make the indexes from the recorded fingerprints."""
        for method in self._methods:
            after = PhotoId(-1)
            while page := await self._database.read(_page(method.name, after)):
                await asyncio.to_thread(_add_all, method, page)
                after = page[-1][0]

    async def matches(self, description: Description) -> list[tuple[str, Match]]:
        """What the methods recognise, for photos that are not (yet) recorded too."""
        return await self._serially(self._matches(description.fingerprints))

    async def settle(self, seen: Seen) -> bool:
        """Whether nothing needs decoding: the photo is recorded, deleted, or a twin (recorded now)."""
        return await self._serially(self._database.write(lambda connection: _settle(connection, seen)))

    async def record(self, seen: Seen, description: Description) -> None:
        """Record a described photo and link it; does nothing if it was deleted meanwhile."""
        await self._serially(self._record(seen, description))

    async def record_undecodable(self, seen: Seen, reason: str) -> None:
        """Record that a photo cannot be decoded, for good."""
        await self._serially(self._record_undecodable(seen, reason))

    async def forget(self, photo: PhotoId, *, at_ms: int) -> None:
        """Erase a photo; whatever arrives about it later is ignored."""
        await self._serially(self._forget(photo, at_ms))

    async def set_verdict(
        self, a: PhotoId, b: PhotoId, verdict: Verdict | None, *, at_ms: int
    ) -> Link | None:
        """Record a person's verdict and what follows from it; the answer is the pair's link."""
        pair = links.ordered(a, b)

        def work(connection: Connection) -> Link | None:
            links.set_verdict(connection, pair, verdict, at_ms=at_ms)
            regroup(connection, pair)
            return links.between(connection, *pair)

        return await self._serially(self._database.write(work))

    async def close(self) -> None:
        """Let what is being recorded finish."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _serially(self, change: Coroutine[Any, Any, T]) -> T:
        """Run a change under the lock, to its end even if the caller is cancelled half way.

        Otherwise a transaction could commit while the index in memory never hears of it.
        """

        async def locked() -> T:
            async with self._lock:
                return await change

        task = asyncio.create_task(locked())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _record(self, seen: Seen, description: Description) -> None:
        matches = await self._matches(description.fingerprints)
        found = linker.decide(seen.photo, matches, at_ms=seen.seen_at_ms)

        def work(connection: Connection) -> bool:
            if _settle(connection, seen):
                return False
            records.save_original(connection, seen, description, found)
            return True

        if await self._database.write(work):
            for method, fingerprint in self._by_method(description.fingerprints):
                method.add(seen.photo, fingerprint)

    async def _record_undecodable(self, seen: Seen, reason: str) -> None:
        def work(connection: Connection) -> None:
            if not _settle(connection, seen):
                records.save_undecodable(connection, seen, reason)

        await self._database.write(work)

    async def _forget(self, photo: PhotoId, at_ms: int) -> None:
        names = [method.name for method in self._methods]

        def work(connection: Connection) -> tuple[PhotoId | None, dict[str, Fingerprint]]:
            heir = records.forget(connection, photo, at_ms=at_ms)
            if heir is None:
                return None, {}
            kept = {name: records.fingerprints_of(connection, name, [heir]).get(heir) for name in names}
            return heir, {name: one for name, one in kept.items() if one is not None}

        heir, inherited = await self._database.write(work)
        for method in self._methods:
            method.remove(photo)
            if heir is not None and method.name in inherited:
                method.add(heir, inherited[method.name])

    async def _matches(self, described: Sequence[Fingerprint]) -> list[tuple[str, Match]]:
        loop = asyncio.get_running_loop()
        found: list[tuple[str, Match]] = []
        for method, fingerprint in self._by_method(described):
            fetch = self._fetch(method.name, loop)
            matches = await asyncio.to_thread(method.matches, fingerprint, fetch)
            found += [(method.name, match) for match in matches]
        return found

    def _fetch(self, method: str, loop: asyncio.AbstractEventLoop) -> Fetch:
        """Reads fingerprints for a method that runs on a thread."""

        def fetch(photos: Sequence[PhotoId]) -> Mapping[PhotoId, Fingerprint]:
            def work(connection: Connection) -> Mapping[PhotoId, Fingerprint]:
                return records.fingerprints_of(connection, method, photos)

            return asyncio.run_coroutine_threadsafe(self._database.read(work), loop).result()

        return fetch

    def _by_method(self, described: Sequence[Fingerprint]) -> list[tuple[Method, Fingerprint]]:
        by_name = {fingerprint.method: fingerprint for fingerprint in described}
        return [(method, by_name[method.name]) for method in self._methods if method.name in by_name]


def _settle(connection: Connection, seen: Seen) -> bool:
    if records.row_of(connection, seen.photo) is not None:
        return True
    original = records.original_of(connection, seen.sha256)
    if original is not None:
        records.save_twin(connection, seen, original)
    return original is not None


def _page(method: str, after: PhotoId) -> Any:
    def work(connection: Connection) -> list[tuple[PhotoId, Fingerprint]]:
        return records.fingerprints_after(connection, method, after, limit=LOAD_PAGE)

    return work


def _add_all(method: Method, page: list[tuple[PhotoId, Fingerprint]]) -> None:
    for photo, fingerprint in page:
        method.add(photo, fingerprint)
