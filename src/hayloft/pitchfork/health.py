"""Checks every store: does it answer, can its volumes be used, can a needle picked by chance be read?

A store that leaves several checks in a row unanswered has its replicas reported, so that their volumes
take no writes; one whose needle is damaged has that replica reported at once. When no store at all answers,
it is this process that is cut off, and nothing is reported. It mends nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Final

from hayloft.errors import Corrupt, HayloftError, NotFound, RoleUnavailable, VolumeCorrupt
from hayloft.pitchfork.journal import Journal
from hayloft.pitchfork.watched import Watched
from hayloft.roles import Store
from hayloft.types import (
    NeedleKey,
    ReplicaState,
    Scrutiny,
    Sequence,
    StoreHealth,
    StoreId,
    VolumeId,
    photo_id,
)

UNANSWERED: Final = RoleUnavailable.code
"""Why replicas are reported whose store does not answer: nothing says that they are damaged."""

CHECK_SECONDS_MAX: Final = 5.0
"""How long a store may take for a check."""


class Health:
    """The state of all stores, as of the last check."""

    def __init__(self, watched: Watched, journal: Journal, chance: random.Random | None = None) -> None:
        self._watched = watched
        self._journal = journal
        self._chance = chance or random.Random()  # noqa: S311 - which needle is read is no secret
        self._failures: defaultdict[StoreId, int] = defaultdict(int)
        self._reported_ms: dict[tuple[StoreId, NeedleKey | None], int] = {}
        """When a needle was last found damaged."""
        self.answering: dict[StoreId, StoreHealth] = {}
        """What the stores that answered said."""

    async def check(self) -> None:
        """Check all stores, and report what fails.

        Raises:
            HayloftError: the directory does not answer.
        """
        replicas: defaultdict[StoreId, list[ReplicaState]] = defaultdict(list)
        for replica in await self._watched.directory.replicas():
            replicas[replica.store].append(replica)
        names = sorted({*replicas, *self._watched.stores})
        found = await asyncio.gather(*(self._ask(name) for name in names))
        self.answering = {
            name: health for name, health in zip(names, found, strict=True) if health is not None
        }
        for name in names:
            if name in self.answering:
                self._failures[name] = 0
                self._watched.silent.discard(name)
                await self._check_volumes(name, self.answering[name], replicas[name])
            else:
                await self._count_failure(name, replicas[name])
        await self._seal_alike(replicas)

    async def _ask(self, name: StoreId) -> StoreHealth | None:
        store = self._watched.stores.get(name)
        if store is None:
            return None  # Its address will become known.
        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                return await store.health()
        except (HayloftError, TimeoutError) as error:
            if self._failures[name] == 0:
                self._journal.failed("check", str(error) or "It does not answer in time.", store=name)
            return None

    async def _count_failure(self, name: StoreId, replicas: list[ReplicaState]) -> None:
        self._failures[name] += 1
        if self._failures[name] < self._watched.settings.failures_max:
            return
        self._watched.silent.add(name)
        if not self.answering:
            return
        for replica in replicas:
            if replica.failure is None:
                await self._report(replica.volume, name, UNANSWERED)

    # Volumes -------------------------------------------------------------------------------------

    async def _check_volumes(
        self, name: StoreId, health: StoreHealth, replicas: list[ReplicaState]
    ) -> None:
        sound = {replica.volume for replica in replicas if replica.failure is None}
        for state in health.volumes:
            if state.volume in sound and state.corrupt and not state.size_bytes:
                await self._report(state.volume, name, VolumeCorrupt.code)
        readable = [state for state in health.volumes if state.volume in sound and state.needles]
        if readable:
            state = self._chance.choice(readable)
            await self._read_one(name, state.volume, state.needles)

    async def _read_one(self, name: StoreId, volume: VolumeId, needles: int) -> None:
        """Read a needle that chance picks."""
        key: NeedleKey | None = None
        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                store = self._watched.store(name)
                key = await self._some_needle(store, volume, needles)
                if key is not None:
                    await store.read(key.photo, key.alternate_key)
        except Corrupt as damage:
            await self._report_needle(volume, name, key, damage.code)
        except NotFound:
            pass  # It was deleted meanwhile, or the store does not list its needles.
        except (HayloftError, TimeoutError) as error:
            self._journal.failed("test read", str(error) or "No answer in time.", volume=volume, store=name)

    async def _some_needle(self, store: Store, volume: VolumeId, needles: int) -> NeedleKey | None:
        start = NeedleKey(photo_id(volume, Sequence(self._chance.randrange(2 * needles))))
        for after in (start, None):
            page = await store.needles(volume, after=after, limit=16, scrutiny=Scrutiny.INDEX)
            live = [entry.key for entry in page if not entry.deleted]
            if live:
                return self._chance.choice(live)
        return None

    async def _report_needle(
        self, volume: VolumeId, name: StoreId, key: NeedleKey | None, reason: str
    ) -> None:
        """Report a damaged needle, but not for ever: what could not be mended must not close its volume."""
        now_ms = self._watched.clock.now_ms()
        forgotten_ms = now_ms - int(self._watched.settings.grace_seconds * 1000)
        self._reported_ms = {told: at for told, at in self._reported_ms.items() if at > forgotten_ms}
        if (name, key) not in self._reported_ms:
            self._reported_ms[name, key] = now_ms
            await self._report(volume, name, reason)

    async def _seal_alike(self, replicas: dict[StoreId, list[ReplicaState]]) -> None:
        """A volume that one replica takes no more photos in takes them nowhere."""
        placed = {(name, replica.volume) for name, some in replicas.items() for replica in some}
        states = {
            (name, state.volume): state.sealed
            for name, health in self.answering.items()
            for state in health.volumes
            if (name, state.volume) in placed
        }
        sealed = {volume for (_name, volume), is_sealed in states.items() if is_sealed}
        for (name, volume), is_sealed in states.items():
            if volume in sealed and not is_sealed:
                try:
                    await self._watched.store(name).seal(volume)
                    self._journal.did("volumes sealed")
                except HayloftError as error:
                    self._journal.failed("seal", error.message, volume=volume, store=name)

    async def _report(self, volume: VolumeId, name: StoreId, reason: str) -> None:
        self._journal.failed("replica", reason, volume=volume, store=name)
        await self._watched.directory.report_failure(volume, name, reason)
        self._journal.did("replicas reported")
