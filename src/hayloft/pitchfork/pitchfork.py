"""The pitchfork at work: its rounds, each at its own pace, until it is stopped.

A round that fails is written down and comes again; no state is lost with it, because there is none that
matters: what is to be done follows from what the directory and the stores say. For the same reason two
pitchforks may run at once without harm: everything they do may be done twice, or is refused the second
time. They would only do much of it in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from functools import partial
from typing import Any, Final

import structlog

from hayloft.clock import Clock, SystemClock
from hayloft.config import PitchforkSettings
from hayloft.errors import ERRORS_BY_CODE, HayloftError, Unavailable
from hayloft.pitchfork.compaction import Compaction
from hayloft.pitchfork.copying import Copying
from hayloft.pitchfork.deletes import MISSED, Deletes
from hayloft.pitchfork.health import Health
from hayloft.pitchfork.journal import Journal
from hayloft.pitchfork.mending import Mending
from hayloft.pitchfork.relocation import Relocation
from hayloft.pitchfork.scrub import Scrub
from hayloft.pitchfork.sweep import Sweep
from hayloft.pitchfork.watched import Watched
from hayloft.roles import Directory, Store
from hayloft.types import MISSING, ReplicaState, StoreId, VolumeId

COMPARISONS: Final = 60
"""How often, in the time in which all volumes are to be compared, it is asked which are due."""

COMPACT_SECONDS: Final = 60.0
"""How often volumes are looked at for compaction."""

_log = structlog.get_logger(__name__)


class Pitchfork:
    """Watches ``stores``, which may come and go, as ``directory`` knows them."""

    def __init__(
        self,
        *,
        directory: Directory,
        stores: Mapping[StoreId, Store],
        settings: PitchforkSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        settings = settings or PitchforkSettings()
        self._watched = Watched(directory=directory, stores=stores, settings=settings, clock=clock)
        self.journal = Journal(clock)
        """What it is doing, for ``/status`` and ``/metrics``."""
        self._health = Health(self._watched, self.journal)
        self._relocation = Relocation(self._watched, self.journal, self._health)
        self._mending = Mending(self._watched, self.journal, Copying(self._watched, self.journal))
        self._deletes = Deletes(self._watched, self.journal)
        self._sweep = Sweep(self._watched, self.journal)
        self._scrub = Scrub(self._watched, self.journal, self._mending)
        self._compaction = Compaction(self._watched, self.journal, self._health)
        self._compared_at: dict[VolumeId, float] = {}
        self._in_hand: set[VolumeId] = set()
        """Failed volumes that are being mended, or wait for their turn."""
        self._turns = {long: asyncio.Semaphore(settings.repairs_at_once) for long in (False, True)}
        """What only missed something does not wait for those that have to be read or copied as a whole."""

    async def run(self) -> None:
        """Work until cancelled."""
        settings = self._watched.settings
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(settings.check_seconds, "check", self.check))
            mending = partial(self._begin_mending, group)
            group.create_task(self._every(settings.check_seconds, "mend", mending))
            comparing = max(settings.check_seconds, settings.compare_seconds / COMPARISONS)
            group.create_task(self._every(comparing, "compare", self.compare))
            group.create_task(self._every(settings.check_seconds, "retry deletions", self._deletes.retry))
            group.create_task(self._every(settings.sweep_seconds, "sweep", self.sweep))
            group.create_task(self._every(COMPACT_SECONDS, "compact", self._compaction.compact))
            group.create_task(self._every(0.0, "follow deletions", self._deletes.follow))
            if settings.scrub_bytes_per_second:
                group.create_task(self._every(settings.compare_seconds, "scrub", self.scrub))

    async def _every(self, seconds: float, what: str, work: Callable[[], Awaitable[Any]]) -> None:
        while True:
            try:
                await work()
                pause = seconds
            except HayloftError as error:
                self.journal.failed(what, error.message)
                pause = max(seconds, self._watched.settings.check_seconds)
            except Exception as error:
                # One round that meets something unforeseen must not end the others.
                _log.exception("round failed", what=what)
                self.journal.failed(what, repr(error))
                pause = max(seconds, self._watched.settings.check_seconds)
            await asyncio.sleep(pause)

    # Rounds --------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Check all stores; then have volumes placed whose stores are gone for good.

        Raises:
            HayloftError: the directory does not answer.
        """
        await self._health.check()
        await self._relocation.place()

    async def mend(self) -> int:
        """Mend every volume of which a replica has failed; returns how many changes that took.

        Raises:
            HayloftError: the directory does not answer.
        """
        failed = await self._failed_volumes()
        return sum(
            await asyncio.gather(*(self._mend_in_turn(volume, need) for volume, need in failed.items()))
        )

    async def _begin_mending(self, group: asyncio.TaskGroup) -> None:
        """Begin with those that are not in hand already, without waiting for them: some take hours."""
        for volume, need in (await self._failed_volumes()).items():
            if volume not in self._in_hand:
                self._in_hand.add(volume)
                group.create_task(self._mend_in_background(volume, need))

    async def _mend_in_background(self, volume: VolumeId, need: _Need) -> None:
        try:
            await self._mend_in_turn(volume, need)
        except Exception as error:
            _log.exception("mending failed", volume=volume)
            self.journal.failed("mend", repr(error), volume=volume)

    async def _failed_volumes(self) -> dict[VolumeId, _Need]:
        """Volumes with a failed replica that answers, each with what that takes."""
        volumes = await self._watched.replicas()
        failed = {
            volume: [replica for replica in replicas if replica.failure is not None]
            for volume, replicas in volumes.items()
        }
        self.journal.count_failed_replicas(sum(map(len, failed.values())))
        # A replica whose store is away is waited for.
        return {
            volume: max(map(_need, replicas))
            for volume, replicas in failed.items()
            if any(replica.store in self._health.answering for replica in replicas)
        }

    async def _mend_in_turn(self, volume: VolumeId, need: _Need) -> int:
        """Mend one of several; one that fails does not keep the others waiting."""
        try:
            async with self._turns[need > _Need.CATCHING_UP]:
                return await self._mend(volume, deep=need is _Need.READING)
        except HayloftError as error:
            self.journal.failed("mend", error.message, volume=volume)
            return 0
        finally:
            self._in_hand.discard(volume)

    async def compare(self) -> int:
        """Compare the volumes that are due; returns how many changes that took.

        By their indexes alone, as long as the scrub reads them all sooner or later.

        Raises:
            HayloftError: the directory does not answer.
        """
        now = self._watched.clock.monotonic_seconds()
        volumes = await self._watched.replicas()
        for volume in self._compared_at.keys() - volumes.keys():
            del self._compared_at[volume]
        due = [volume for volume in volumes if self._is_due(volume, now)]
        changes = 0
        for volume in due:
            # Begun is done: one that fails is due again when all others have had their turn.
            self._compared_at[volume] = self._watched.clock.monotonic_seconds()
            changes += await self._mend(volume, deep=not self._watched.settings.scrub_bytes_per_second)
        return changes

    async def sweep(self) -> int:
        """Clear away what no photo needs; returns how many photos that concerned.

        Raises:
            HayloftError: the directory does not answer.
        """
        return await self._sweep.everything()

    async def scrub(self) -> int:
        """Read every replica of every volume from the medium; returns how many needles were damaged.

        Raises:
            HayloftError: the directory does not answer.
        """
        volumes = await self._watched.replicas()
        return sum([await self._scrub.volume(volume, replicas) for volume, replicas in volumes.items()])

    async def compact(self) -> int:
        """Compact what is worth it; returns how many replicas were."""
        return await self._compaction.compact()

    async def ready(self) -> None:
        """Ask whether it can work.

        Raises:
            HayloftError: the directory does not answer.
        """
        await self._watched.directory.stores()

    async def finish_deletions(self) -> int:
        """Deal with all deletions so far; returns how many could not be finished."""
        while await self._deletes.follow(wait_seconds=0.0):
            pass
        return await self._deletes.retry()

    # Within --------------------------------------------------------------------------------------

    def _is_due(self, volume: VolumeId, now: float) -> bool:
        last = self._compared_at.get(volume)
        return last is None or now - last >= self._watched.settings.compare_seconds

    async def _mend(self, volume: VolumeId, *, deep: bool) -> int:
        return (await self._mending.mend(volume, deep=deep)).changes


class _Need(IntEnum):
    """What a replica takes to be whole again, the least first."""

    CATCHING_UP = 0
    """It was away: what it missed."""
    FILLING = 1
    """It has nothing: all of it, which is verified as it is read and as it is taken over."""
    READING = 2
    """It may be damaged: nobody knows what it has before all of it has been read."""


def _need(replica: ReplicaState) -> _Need:
    code = (replica.failure or "").partition(" ")[0]
    if code == MISSING:
        return _Need.FILLING
    if code == MISSED or issubclass(ERRORS_BY_CODE.get(code, HayloftError), Unavailable):
        return _Need.CATCHING_UP
    return _Need.READING
