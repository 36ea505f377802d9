"""One pass over the ranges in which a volume's replicas differ: list, decide, carry out.

A store that fails at something drops out of the rest of the pass; the others go on. It does not know
whether the replicas agree afterwards: whoever began it compares them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hayloft.errors import HayloftError
from hayloft.pitchfork.copying import Copying
from hayloft.pitchfork.difference import Listing, Plan, plan
from hayloft.pitchfork.journal import Journal
from hayloft.pitchfork.watched import Watched
from hayloft.types import (
    RANGE_SEQUENCES,
    NeedleEntry,
    PhotoId,
    PhotoStatus,
    Scrutiny,
    Sequence,
    StoreId,
    VolumeId,
)


class Round:
    """See the module."""

    def __init__(
        self,
        watched: Watched,
        journal: Journal,
        copying: Copying,
        *,
        volume: VolumeId,
        stores: tuple[StoreId, ...],
        scrutiny: Scrutiny,
        believe_tombstones: bool,
    ) -> None:
        self._watched = watched
        self._journal = journal
        self._copying = copying
        self._volume = volume
        self._stores = stores
        self._scrutiny = scrutiny
        self._believe = believe_tombstones
        self.changes = 0
        self.planned = False
        """Whether there was anything to do."""
        self.suspected = False
        """Whether an index was made anew because it contradicted the directory."""
        self.failing: set[StoreId] = set()

    async def compare(self, first: Sequence) -> None:
        """Compare one range, and do what is to be done.

        Raises:
            HayloftError: the directory does not answer.
        """
        names = [name for name in self._stores if name not in self.failing]
        found = await asyncio.gather(*(self._list(name, first) for name in names))
        listings = {
            name: listing for name, listing in zip(names, found, strict=True) if listing is not None
        }
        # After the needles: a photo that was committed meanwhile is known, and no orphan.
        wanted = plan(listings, await self._statuses(first), believe_tombstones=self._believe)
        for key in sorted(wanted.lost):
            self._journal.failed("lost", f"Photo {key.photo} is whole nowhere.", volume=self._volume)
        self.planned = self.planned or not wanted.is_empty
        await self._carry_out(wanted)

    async def _list(self, name: StoreId, first: Sequence) -> Listing | None:
        try:
            listing = self._watched.list_range(
                self._watched.store(name), self._volume, first, self._scrutiny
            )
            return await self._watched.while_answering(name, listing)
        except HayloftError as error:
            self._fail(name, error)
            return None

    async def _statuses(self, first: Sequence) -> dict[PhotoId, PhotoStatus] | None:
        found = await self._watched.statuses(self._volume, first, Sequence(first + RANGE_SEQUENCES - 1))
        if not found and await self._watched.is_foreign(self._volume):
            return None
        return found

    # Doing ---------------------------------------------------------------------------------------

    async def _carry_out(self, wanted: Plan) -> None:
        for name in sorted(wanted.suspects):
            self.suspected = True
            await self._attempt(name, self._rebuild_index(name))
        for photo, names in sorted(wanted.burials.items()):
            for name in sorted(names):
                await self._attempt(name, self._bury(name, photo))
        for (source, target), entries in wanted.copies.items():
            if not {source, target} & self.failing:
                await self._attempt(target, self._copy(source, target, entries))

    async def _rebuild_index(self, name: StoreId) -> int:
        await self._watched.store(name).rebuild_index(self._volume)
        self._journal.did("indexes made anew")
        return 1

    async def _bury(self, name: StoreId, photo: PhotoId) -> int:
        buried = await self._watched.store(name).delete(photo)
        self._journal.did("photos buried", int(buried))
        return int(buried)

    async def _copy(self, source: StoreId, target: StoreId, entries: list[NeedleEntry]) -> int:
        copying = self._copying.copy(self._volume, source, target, entries)
        return await self._watched.while_answering(source, copying)

    async def _attempt(self, name: StoreId, work: Coroutine[Any, Any, int]) -> None:
        try:
            self.changes += await self._watched.while_answering(name, work)
        except HayloftError as error:
            self._fail(name, error)

    def _fail(self, name: StoreId, error: HayloftError) -> None:
        self.failing.add(name)
        self._journal.failed("mend", error.message, volume=self._volume, store=name)
