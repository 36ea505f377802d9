"""Decides which volumes are compacted: those in which much is dead, one at a time in the whole cluster.

So never are two replicas of a volume busy with it at once. A volume of which a replica has failed waits:
whoever copies it would be reading what is being moved.
"""

from __future__ import annotations

from hayloft.errors import HayloftError
from hayloft.pitchfork.health import Health
from hayloft.pitchfork.journal import Journal
from hayloft.pitchfork.watched import Watched
from hayloft.types import StoreId, VolumeId, VolumeState


class Compaction:
    """See the module."""

    def __init__(self, watched: Watched, journal: Journal, health: Health) -> None:
        self._watched = watched
        self._journal = journal
        self._health = health

    async def compact(self) -> int:
        """Compact what is worth it; returns how many replicas were.

        Raises:
            HayloftError: the directory does not answer.
        """
        volumes = await self._watched.replicas()
        whole = {
            volume
            for volume, replicas in volumes.items()
            if all(replica.failure is None for replica in replicas)
        }
        candidates = [
            (_dead_bytes(state), name, state.volume)
            for name, health in self._health.answering.items()
            for state in health.volumes
            if state.volume in whole and self._is_worth_it(state)
        ]
        done = 0
        for _dead, name, volume in sorted(candidates, reverse=True):
            done += await self._compact(name, volume)
        return done

    def _is_worth_it(self, state: VolumeState) -> bool:
        dead = _dead_bytes(state)
        settings = self._watched.settings
        return (
            dead >= max(1, settings.compact_dead_bytes_min)
            and dead >= settings.compact_dead_share * state.size_bytes
        )

    async def _compact(self, name: StoreId, volume: VolumeId) -> int:
        with self._journal.doing("compact", volume=volume, store=name):
            try:
                compacting = self._watched.store(name).compact(volume)
                report = await self._watched.while_answering(name, compacting)
            except HayloftError as error:
                self._journal.failed("compact", error.message, volume=volume, store=name)
                return 0
        self._journal.did("volumes compacted")
        self._journal.did("bytes reclaimed", max(0, report.size_bytes_before - report.size_bytes_after))
        return 1


def _dead_bytes(state: VolumeState) -> int:
    return 0 if state.live_bytes is None else state.size_bytes - state.live_bytes
