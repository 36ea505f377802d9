"""Makes volumes of one server writable again whose only replica failed, once it is found to be whole.

In a cluster the pitchfork compares a replica with the others; here there are no others, so the volume is
read from end to end instead. A failure to append may have been a moment's (a cable, a full table of open
files). One that a read met is not: a needle is damaged or gone, and the volume takes no more photos until
``hayloft verify --repair`` finds it whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from hayloft.clock import Clock, SystemClock
from hayloft.errors import HayloftError, NeedleCorrupt
from hayloft.roles import Directory, Store
from hayloft.types import ReplicaState, StoreId, VolumeId

LOOK_SECONDS: Final = 10.0
"""How often failing replicas are looked for."""

AGAIN_SECONDS: Final = 600.0
"""How long a volume that failed again, or was not whole, is left alone: reading it keeps a disk busy."""

READ_FAILURES: Final = (NeedleCorrupt.code, "needle_lost")
"""What a gateway reports of needles that it could not read."""

_log = structlog.get_logger(__name__)


class Mending:
    """Looks after the replicas of some stores."""

    def __init__(
        self, directory: Directory, stores: Mapping[StoreId, Store], *, clock: Clock | None = None
    ) -> None:
        self._directory = directory
        self._stores = stores
        self._clock = clock or SystemClock()
        self._looked_at: dict[tuple[VolumeId, StoreId], float] = {}

    async def for_ever(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except HayloftError as error:
                _log.warning("failing replicas cannot be looked at", error=error.message)

    async def look(self) -> None:
        """Examine the failing replicas that have not been examined lately."""
        for replica in await self._directory.replicas():
            if self._is_ours(replica) and self._is_due(replica):
                await self._examine(replica)

    def _is_ours(self, replica: ReplicaState) -> bool:
        if replica.failure is None or replica.store not in self._stores:
            return False
        return not replica.failure.startswith(READ_FAILURES)

    def _is_due(self, replica: ReplicaState) -> bool:
        now = self._clock.monotonic_seconds()
        key = (replica.volume, replica.store)
        if now - self._looked_at.get(key, float("-inf")) < AGAIN_SECONDS:
            return False
        self._looked_at[key] = now
        return True

    async def _examine(self, replica: ReplicaState) -> None:
        told = {"volume": replica.volume, "store": replica.store, "failure": replica.failure}
        try:
            damaged = (await self._stores[replica.store].verify(replica.volume)).damaged
        except HayloftError as error:
            _log.error("replica cannot be read", error=error.message, **told)
            return
        if damaged:
            _log.error("replica is damaged", needles=len(damaged), **told)
            return
        await self._directory.mend(replica.volume, replica.store)
        _log.info("replica is whole", **told)
