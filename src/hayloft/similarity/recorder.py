"""Writes what is found out about photos, one photo at a time: database first, then the indexes in memory.

All changes go through one lock, so that of two photos that arrive together the second always meets the
first, and a deletion never overtakes the recording that it should undo. Where several processes share the
database, its transactions follow one another, and each process hears of what the others recorded before its
own search (``_save_matched``). Each photo's row, fingerprints,
links and groups change in one transaction; whatever the moment of a crash, the photo is either all there or
not at all, and the indexes, made anew from the database at start, agree with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from hayloft.database import Database, Work
from hayloft.errors import PhotoDeleted
from hayloft.similarity import leaving, linker, links, records, shelf
from hayloft.similarity.fingerprint import Description, Fingerprint
from hayloft.similarity.grouping import regroup
from hayloft.similarity.methods import Fetch, Match, Method, Prover
from hayloft.similarity.pgvectors import NEVER_BEHIND
from hayloft.similarity.progress import Tell, nobody
from hayloft.similarity.records import Seen
from hayloft.similarity.schema import State
from hayloft.similarity.shelf import Recorded
from hayloft.types import Link, PhotoId, Relation, Verdict

T = TypeVar("T")

_Matches = list[tuple[str, Match]]

LOAD_PAGE: Final = 2_000
"""Fingerprints read at a time when the indexes are made."""

RETIRE_PAGE: Final = 2_000
"""Fingerprints, or links, dropped in one transaction."""

HEAR_PAGE: Final = 200
"""The same when other processes' are caught up with: usually there are a few."""


class Recorder:
    """The only writer of similarity's database, and the owner of the methods' indexes."""

    def __init__(self, database: Database, methods: Sequence[Method], *, shared: bool = False) -> None:
        self._database = database
        self._shared = shared
        self._heard: dict[str, int] = {}
        self._heard_removal = 0
        self._methods = {method.name: method for method in methods}
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._removed: set[PhotoId] = set()

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of the methods in use."""
        return tuple(self._methods)

    async def load(self) -> None:
        """Make the indexes from the recorded fingerprints."""
        for method in self._methods.values():
            self._heard[method.name] = await self._load(method)
        await self._hear_of_removals()

    async def matches(self, description: Description) -> list[tuple[str, Match]]:
        """What the methods recognise, for photos that are not (yet) recorded too."""
        return await self.serially(self._matches_now(description.fingerprints))

    async def settle(self, seen: Seen) -> bool:
        """Whether nothing needs decoding: the photo is recorded, deleted, or a twin (recorded now)."""
        return await self.serially(self._database.write(lambda connection: _settle(connection, seen)))

    async def record(self, seen: Seen, description: Description) -> None:
        """Record a described photo and link it; does nothing if it was deleted meanwhile."""
        await self.serially(self._record(seen, description))

    async def supplement(self, photo: PhotoId, described: Sequence[Fingerprint], *, at_ms: int) -> None:
        """Record fingerprints that an already recorded photo lacks, and link it by them."""
        await self.serially(self._supplement(photo, described, at_ms))

    async def record_undecodable(self, seen: Seen, reason: str) -> None:
        """Record that a photo cannot be decoded, for good."""
        await self.serially(self._record_undecodable(seen, reason))

    async def forget(self, photo: PhotoId, *, at_ms: int) -> None:
        """Erase a photo; whatever arrives about it later is ignored."""
        await self.serially(self._forget(photo, at_ms))

    async def set_verdict(
        self, a: PhotoId, b: PhotoId, verdict: Verdict | None, *, at_ms: int
    ) -> Link | None:
        """Record a person's verdict and what follows from it; the answer is the pair's link.

        Raises:
            PhotoDeleted: one of them was erased, and nothing about it is to be kept.
        """
        pair = links.ordered(a, b)

        def work(connection: Connection) -> Link | None:
            for photo in pair:
                row = records.row_of(connection, photo)
                if row is not None and row.state == State.FORGOTTEN:
                    raise PhotoDeleted(photo_id=photo)
            links.set_verdict(connection, pair, verdict, at_ms=at_ms)
            regroup(connection, pair)
            return links.between(connection, *pair)

        return await self.serially(self._database.write(work))

    async def remake(self, method: Method, *, tell: Tell = nobody) -> None:
        """Put ``method``, which is empty, in the place of the one of its name, once all is added to it.

        ``tell`` hears how far that is.
        """
        self._removed = set()
        at = await self._load(method, tell)
        await self.serially(self._put_in_place(method, at))

    async def retire(self, names: Sequence[str]) -> None:
        """Drop what methods that are no longer wanted have recorded; photos are taken in meanwhile."""

        def work(connection: Connection) -> bool:
            return any(shelf.retire(connection, name, limit=RETIRE_PAGE) for name in names)

        while await self.serially(self._database.write(work)):
            pass
        await self.serially(self._drop(names))

    async def save(self, *, force: bool = False) -> None:
        """Write the indexes that live on disk."""
        for method in tuple(self._methods.values()):
            await asyncio.to_thread(method.save, force=force)

    async def close(self) -> None:
        """Let what is being recorded finish, and write the indexes that live on disk."""
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.save(force=True)

    async def serially(self, change: Coroutine[Any, Any, T]) -> T:
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
        kept = self._kept(description.fingerprints)

        def save(connection: Connection, matches: _Matches) -> list[Recorded]:
            if _settle(connection, seen):
                return []
            found = linker.decide(seen.photo, matches, at_ms=seen.seen_at_ms)
            alive = records.alive(connection, found, seen.photo)
            return records.save_original(connection, seen, description, kept, alive)

        await self._save_matched(description.fingerprints, save)

    async def _supplement(self, photo: PhotoId, described: Sequence[Fingerprint], at_ms: int) -> None:
        known = await self._database.read(lambda connection: shelf.methods_of(connection, photo))
        lacking = [one for one in described if one.method not in known]
        kept = self._kept(lacking)

        def save(connection: Connection, matches: _Matches) -> list[Recorded]:
            row = records.row_of(connection, photo)
            if row is None or row.state != State.INDEXED or row.original is not None:
                return []
            found = linker.decide(photo, matches, at_ms=at_ms)
            links.put(connection, records.alive(connection, found, photo))
            regroup(connection, [photo])
            return [shelf.put(connection, photo, fingerprint) for fingerprint in kept]

        await self._save_matched(lacking, save)

    async def _save_matched(
        self,
        described: Sequence[Fingerprint],
        save: Callable[[Connection, _Matches], list[Recorded]],
    ) -> None:
        """Record what was described together with its links to all that was recorded before it.

        Where other processes record, too, one of them may do so between the search and the transaction.
        The transaction finds that out, writes nothing, and all is done again: so of two photos that two
        processes take in at the same moment, the one recorded second has met the first.
        """
        recorded = None
        while recorded is None:
            matches = await self._matches_now(described)
            # Transactions of all processes follow one another: nothing can change while this one runs.
            recorded = await self._database.write(
                lambda connection, matches=matches: (  # type: ignore[misc]
                    None if self._is_behind(connection) else save(connection, matches)
                )
            )
        self._add(recorded)
        for one in recorded:
            if one.fingerprint.method in self._local():
                self._heard[one.fingerprint.method] = one.change

    async def _matches_now(self, described: Sequence[Fingerprint]) -> _Matches:
        """What the methods recognise, other processes' photos included."""
        if self._shared:
            await self._hear_of_others()
        return await self._matches(described)

    def _is_behind(self, connection: Connection) -> bool:
        return self._shared and shelf.is_behind(connection, self._local(), self._heard_removal)

    def _local(self) -> dict[str, int]:
        """How far the indexes go that each process has for itself."""
        return {method: change for method, change in self._heard.items() if change != NEVER_BEHIND}

    async def _hear_of_others(self) -> None:
        """Bring the indexes of this process up to what all have recorded and removed."""

        def work(connection: Connection) -> list[Recorded]:
            return shelf.recorded_since(connection, self._local(), limit=HEAR_PAGE)

        while page := await self._database.read(work):
            await asyncio.to_thread(self._add, page)
            for one in page:
                self._heard[one.fingerprint.method] = one.change
        await self._hear_of_removals()

    async def _hear_of_removals(self) -> None:
        """Forget what was deleted: an index on disk may also be older than that."""

        def work(connection: Connection) -> list[tuple[int, PhotoId]]:
            return shelf.removed_since(connection, self._heard_removal, limit=LOAD_PAGE)

        while page := await self._database.read(work):
            for number, photo in page:
                self._heard_removal = number
                self._removed.add(photo)
                for method in self._methods.values():
                    method.remove(photo)

    async def _record_undecodable(self, seen: Seen, reason: str) -> None:
        def work(connection: Connection) -> None:
            if not _settle(connection, seen):
                records.save_undecodable(connection, seen, reason)

        await self._database.write(work)

    async def _forget(self, photo: PhotoId, at_ms: int) -> None:
        inherited = await self._database.write(
            lambda connection: leaving.forget(connection, photo, at_ms=at_ms)
        )
        self._removed.add(photo)
        for method in self._methods.values():
            method.remove(photo)
        self._add(inherited)

    async def _drop(self, names: Sequence[str]) -> None:
        for name in names:
            self._methods.pop(name, None)
            self._heard.pop(name, None)

    async def _load(self, method: Method, tell: Tell = nobody) -> int:
        """Add what is recorded and not in the index; returns how far that went."""
        at = method.loaded
        first, last = await self._database.read(lambda connection: shelf.span(connection, method.name))
        while page := await self._database.read(_page(method.name, at)):
            await asyncio.to_thread(_add_all, method, page)
            at = page[-1].change
            tell(min(1.0, (at - first + 1) / max(1, last - first + 1)))
        return at

    async def _put_in_place(self, method: Method, at: int) -> None:
        while page := await self._database.read(_page(method.name, at)):
            await asyncio.to_thread(_add_all, method, page)
            at = page[-1].change
        for photo in self._removed:
            method.remove(photo)
        self._methods[method.name] = method
        self._heard[method.name] = at

    async def _matches(self, described: Sequence[Fingerprint]) -> list[tuple[str, Match]]:
        loop = asyncio.get_running_loop()
        by_name = {fingerprint.method: fingerprint for fingerprint in described}
        found: list[tuple[str, Match]] = []
        for name, method in self._methods.items():
            if name in by_name:
                fetch = self._fetch(name, loop)
                matches = await asyncio.to_thread(method.matches, by_name[name], fetch)
                found += [(name, match) for match in matches]
        return await self._proved(by_name, found, loop)

    async def _proved(
        self, by_name: Mapping[str, Fingerprint], found: _Matches, loop: asyncio.AbstractEventLoop
    ) -> _Matches:
        """What was found, without the copies that some method found and the proving one refuses."""
        for name, method in self._methods.items():
            if isinstance(method, Prover) and name in by_name:
                own = {match.photo for by, match in found if by == name}
                asked = [one for one in found if one[0] != name and one[1].relation is Relation.COPY]
                missing = [match for _, match in asked if match.photo not in own]
                fetch = self._fetch(name, loop)
                proved = await asyncio.to_thread(method.prove, by_name[name], missing, fetch)
                kept = {match.photo: match for match in proved}
                rest = [one for one in found if one not in asked]
                return [*rest, *((by, kept[m.photo]) for by, m in asked if m.photo in kept)]
        return found

    def _fetch(self, method: str, loop: asyncio.AbstractEventLoop) -> Fetch:
        """Reads fingerprints for a method that runs on a thread."""

        def fetch(photos: Sequence[PhotoId]) -> Mapping[PhotoId, Fingerprint]:
            def work(connection: Connection) -> Mapping[PhotoId, Fingerprint]:
                return shelf.of_photos(connection, method, photos)

            return asyncio.run_coroutine_threadsafe(self._database.read(work), loop).result()

        return fetch

    def _kept(self, described: Sequence[Fingerprint]) -> list[Fingerprint]:
        return [self._methods[one.method].kept(one) for one in described if one.method in self._methods]

    def _add(self, recorded: Sequence[Recorded]) -> None:
        for one in recorded:
            if (method := self._methods.get(one.fingerprint.method)) is not None:
                method.add(one.photo, one.fingerprint, one.change)


def _settle(connection: Connection, seen: Seen) -> bool:
    if records.row_of(connection, seen.photo) is not None:
        return True
    original = records.original_of(connection, seen.sha256)
    if original is not None:
        records.save_twin(connection, seen, original)
    return original is not None


def _page(method: str, change: int) -> Work[list[Recorded]]:
    def work(connection: Connection) -> list[Recorded]:
        return shelf.after(connection, method, change, limit=LOAD_PAGE)

    return work


def _add_all(method: Method, page: list[Recorded]) -> None:
    for one in page:
        method.add(one.photo, one.fingerprint, one.change)
