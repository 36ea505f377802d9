"""Brings all replicas of one volume to the same state, and tells the directory which are whole.

First their indexes are compared, which costs next to nothing; asked to look deeper, also the checksums of
every needle, which stores learn by reading and then remember. Digests say which ranges differ, a ``Round``
mends them, and that is repeated until nothing is left to do. A replica that failed counts as mended when it
agrees with one that did not fail, or when all replicas of the volume are here and agree. Nothing is kept
between two calls: interrupted, it begins again and finds less to do.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hayloft.errors import Conflict, HayloftError, RouteNotFound, VolumeCorrupt, VolumeNotFound
from hayloft.pitchfork.copying import Copying
from hayloft.pitchfork.journal import Journal
from hayloft.pitchfork.round import Round
from hayloft.pitchfork.watched import Watched
from hayloft.types import ReplicaState, Scrutiny, Sequence, StoreId, VolumeDigest, VolumeId

ROUNDS_MAX: Final = 6
"""Comparisons before the rest is left for later: each undoes differences or meets new ones."""

Digests = Mapping[StoreId, VolumeDigest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """What became of a volume."""

    agreed: frozenset[StoreId]
    """Stores whose replicas hold the same now; none if they do not come to agree."""
    changes: int
    """Needles and tombstones copied, photos buried, indexes made anew."""
    is_empty: bool = False
    """Whether what they agree on is nothing at all."""


class Mending:
    """Mends volumes, each by one at a time."""

    def __init__(self, watched: Watched, journal: Journal, copying: Copying) -> None:
        self._watched = watched
        self._journal = journal
        self._copying = copying
        self._locks: defaultdict[VolumeId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def mend(self, volume: VolumeId, *, deep: bool) -> Mended:
        """Compare a volume's replicas, mend what differs, and tell the directory what is whole.

        Raises:
            HayloftError: the directory does not answer. What fails of stores is left for later.
        """
        async with self._locks[volume]:
            replicas = await self._watched.replicas_of(volume)
            with self._journal.doing("compare", volume=volume):
                outcome = await self._bring_together(volume, replicas, Scrutiny.INDEX)
                # A replica that is damaged and does not know it yet is no source, and only this tells.
                if deep or not outcome.agreed:
                    deeper = await self._bring_together(volume, replicas, Scrutiny.KNOWN)
                    outcome = Mended(
                        agreed=deeper.agreed,
                        changes=outcome.changes + deeper.changes,
                        is_empty=deeper.is_empty,
                    )
            await self._declare(volume, replicas, outcome)
            return outcome

    async def set_aside(self, volume: VolumeId, store: StoreId) -> None:
        """Have a store begin a volume anew that it cannot open; the caller knows another replica.

        Raises:
            HayloftError: the store does not answer, or cannot.
        """
        try:
            await self._watched.store(store).set_aside(volume)
        except (Conflict, VolumeNotFound):
            return
        self._journal.did("volumes set aside")

    async def _declare(self, volume: VolumeId, replicas: list[ReplicaState], outcome: Mended) -> None:
        failed = [r.store for r in replicas if r.failure is not None and r.store in outcome.agreed]
        sound = {replica.store for replica in replicas if replica.failure is None}
        everybody = {replica.store for replica in replicas}
        if not failed or not (outcome.agreed & sound or outcome.agreed == everybody):
            return
        if outcome.is_empty and not sound and not await self._watched.is_foreign(volume):
            self._journal.failed("lost", "No replica has anything of this volume.", volume=volume)
            return
        for store in failed:
            await self._watched.directory.mend(volume, store)
            self._journal.did("replicas mended")

    # Rounds --------------------------------------------------------------------------------------

    async def _bring_together(
        self, volume: VolumeId, replicas: list[ReplicaState], scrutiny: Scrutiny
    ) -> Mended:
        changes = 0
        believe = False
        stores = [replica.store for replica in replicas]
        for _number in range(ROUNDS_MAX):
            digests = await self._digests(volume, stores, scrutiny)
            round_ = Round(
                self._watched,
                self._journal,
                self._copying,
                volume=volume,
                stores=tuple(digests),
                scrutiny=scrutiny,
                believe_tombstones=believe,
            )
            for first in _differing(digests):
                await round_.compare(first)
            changes += round_.changes
            # Whoever failed is left for later: the others can agree without it.
            stores = [store for store in digests if store not in round_.failing]
            believe = believe or round_.suspected
            if not round_.planned:
                return self._agreed(volume, digests, changes)
            if not (round_.changes or round_.failing):
                break
        if scrutiny is not Scrutiny.INDEX:
            self._journal.failed("compare", "The replicas do not come to agree.", volume=volume)
        return Mended(agreed=frozenset(), changes=changes)

    def _agreed(self, volume: VolumeId, digests: Digests, changes: int) -> Mended:
        damaged = [digest.damaged for digest in digests.values()]
        if any(damaged) and not _differing(digests):
            self._journal.failed("lost", f"{damaged[0]} needles are whole nowhere.", volume=volume)
        return Mended(
            agreed=frozenset(digests), changes=changes, is_empty=not any(map(_holds, digests.values()))
        )

    async def _digests(
        self, volume: VolumeId, stores: list[StoreId], scrutiny: Scrutiny
    ) -> dict[StoreId, VolumeDigest]:
        """Of all replicas that answer; a volume that is not there is an empty one."""
        answers = await asyncio.gather(*(self._digest(volume, store, scrutiny) for store in stores))
        digests: dict[StoreId, VolumeDigest] = {}
        broken: list[StoreId] = []
        for store, answer in zip(stores, answers, strict=True):
            if isinstance(answer, VolumeDigest):
                digests[store] = answer
            elif isinstance(answer, VolumeCorrupt):
                broken.append(store)
        for store in broken:
            # Only where another replica has something to fill it with.
            if any(map(_holds, digests.values())) and await self._attempt_set_aside(volume, store):
                digests[store] = _empty(volume)
        return digests

    async def _digest(
        self, volume: VolumeId, store: StoreId, scrutiny: Scrutiny
    ) -> VolumeDigest | HayloftError:
        try:
            digest = self._watched.store(store).digest(volume, scrutiny=scrutiny)
            return await self._watched.while_answering(store, digest)
        except VolumeNotFound:
            return _empty(volume)
        except RouteNotFound as error:
            self._journal.failed(
                "compare", "This store does not list its needles.", volume=volume, store=store
            )
            return error
        except HayloftError as error:
            self._journal.failed("compare", error.message, volume=volume, store=store)
            return error

    async def _attempt_set_aside(self, volume: VolumeId, store: StoreId) -> bool:
        try:
            await self.set_aside(volume, store)
        except HayloftError as error:
            self._journal.failed("set aside", error.message, volume=volume, store=store)
            return False
        return True


def _differing(digests: Digests) -> list[Sequence]:
    """The ranges in which the replicas do not hold the same."""
    # A volume that is not there yet and an empty one are the same, whatever their digests.
    if len({digest.digest if _holds(digest) else "" for digest in digests.values()}) <= 1:
        return []
    by_range: defaultdict[Sequence, list[str]] = defaultdict(list)
    for digest in digests.values():
        for each in digest.ranges:
            by_range[each.first].append(each.digest)
    return sorted(
        first for first, found in by_range.items() if len(found) < len(digests) or len(set(found)) > 1
    )


def _holds(digest: VolumeDigest) -> bool:
    return bool(digest.needles or digest.deleted)


def _empty(volume: VolumeId) -> VolumeDigest:
    return VolumeDigest(volume=volume, needles=0, live_bytes=0, deleted=0, damaged=0, digest="", ranges=())
