"""Gives volumes replicas on other stores: in place of stores that are gone for good, and where there are
too few.

It only has the directory place them; they count as failed until they have been filled (``mending``). A
volume without a whole replica that answers is left alone: there is nothing to fill another one from. Zones
without a replica come first, then the store with the most room.
"""

from __future__ import annotations

from collections import defaultdict

from hayloft import limits
from hayloft.errors import Conflict, VolumeNotFound
from hayloft.pitchfork.health import Health
from hayloft.pitchfork.journal import Journal
from hayloft.pitchfork.watched import Watched
from hayloft.types import KnownStore, ReplicaState, StoreId, VolumeId


class Relocation:
    """See the module."""

    def __init__(self, watched: Watched, journal: Journal, health: Health) -> None:
        self._watched = watched
        self._journal = journal
        self._health = health
        self._promised: defaultdict[StoreId, int] = defaultdict(int)

    async def place(self) -> int:
        """Place what should be elsewhere; returns how many replicas.

        Raises:
            HayloftError: the directory does not answer.
        """
        known = {store.store: store for store in await self._watched.directory.stores()}
        volumes = await self._watched.replicas()
        self._promised.clear()
        placed = 0
        wanted = self._watched.settings.replication or max(map(len, volumes.values()), default=0)
        for volume, replicas in volumes.items():
            if not self._can_be_copied(replicas):
                continue
            gone = [replica.store for replica in replicas if self._is_gone(known.get(replica.store))]
            if gone:
                placed += await self._replace(volume, replicas, gone[0], known)
            elif len(replicas) < wanted:
                placed += await self._replace(volume, replicas, None, known)
        return placed

    def _can_be_copied(self, replicas: list[ReplicaState]) -> bool:
        """Whether there is a whole replica that answers, and none that is being filled already."""
        answering = [replica for replica in replicas if replica.store in self._health.answering]
        return bool(answering) and all(replica.failure is None for replica in answering)

    def _is_gone(self, store: KnownStore | None) -> bool:
        if store is None or store.store in self._health.answering:
            return False
        silent_ms = self._watched.clock.now_ms() - store.seen_at_ms
        return silent_ms > self._watched.settings.gone_seconds * 1000

    async def _replace(
        self,
        volume: VolumeId,
        replicas: list[ReplicaState],
        old: StoreId | None,
        known: dict[StoreId, KnownStore],
    ) -> int:
        size = max(replica.size_bytes for replica in replicas)
        new = self._choose({replica.store for replica in replicas}, old, size, known)
        if new is None:
            if old is not None:
                self._journal.failed("replace", "No other store has room.", volume=volume, store=old)
            return 0
        try:
            await self._watched.directory.replace_replica(volume, old, new)
        except (Conflict, VolumeNotFound) as refusal:
            # Somebody else was quicker.
            self._journal.failed("replace", refusal.message, volume=volume, store=new)
            return 0
        self._promised[new] += size
        self._journal.did("replicas placed")
        return 1

    def _choose(
        self,
        taken: set[StoreId],
        old: StoreId | None,
        size_bytes: int,
        known: dict[StoreId, KnownStore],
    ) -> StoreId | None:
        zones = {known[store].zone for store in taken - {old} if store in known}
        candidates = [
            (known[store].zone is not None and known[store].zone not in zones, room, store)
            for store, health in self._health.answering.items()
            if store in known and store not in taken
            if (room := health.free_bytes - self._promised[store])
            > size_bytes + limits.FREE_SPACE_RESERVE_BYTES
        ]
        return max(candidates)[2] if candidates else None
