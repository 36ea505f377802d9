"""Telling the directory that a replica failed, without holding up whoever noticed.

Reports go out in the background, one at a time for each replica and not more often than
``INTERVAL_SECONDS``, so that a broken disk under load makes one report and not thousands. A report that
cannot be delivered is logged and dropped: the next failure makes another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from hayloft.clock import Clock
from hayloft.errors import HayloftError, NotFound
from hayloft.gateway.metrics import Metrics
from hayloft.roles import Directory
from hayloft.types import PhotoId, StoreId, VolumeId, volume_of

INTERVAL_SECONDS: Final = 30.0

_log = structlog.get_logger(__name__)


class Reports:
    """Failures of replicas, on their way to the directory."""

    def __init__(self, directory: Directory, metrics: Metrics, clock: Clock) -> None:
        self._directory = directory
        self._metrics = metrics
        self._clock = clock
        self._reported_at: dict[tuple[VolumeId, StoreId], float] = {}
        self._sending: dict[tuple[VolumeId, StoreId], asyncio.Task[None]] = {}

    def damage(self, photo: PhotoId, failures: Mapping[StoreId, HayloftError]) -> None:
        """These replicas could not give a photo that they should have."""
        for store, failure in failures.items():
            lost = isinstance(failure, NotFound)
            self.failure(volume_of(photo), store, "needle_lost" if lost else failure.code, photo)

    def failure(self, volume: VolumeId, store: StoreId, code: str, photo: PhotoId | None = None) -> None:
        """A replica failed; tell the directory, unless it was told a moment ago."""
        self._metrics.replica_failed(store, code)
        now = self._clock.monotonic_seconds()
        if now - self._reported_at.get((volume, store), float("-inf")) >= INTERVAL_SECONDS:
            self._begin(volume, store, code if photo is None else f"{code} (photo {photo})")

    async def tell(self, volume: VolumeId, store: StoreId, code: str) -> None:
        """A replica failed a write: have the directory know it before the next volume is asked for.

        Writers that meet the same failure at once share one report. One that is not delivered is no error.
        """
        self._metrics.replica_failed(store, code)
        await (self._sending.get((volume, store)) or self._begin(volume, store, code))

    async def close(self) -> None:
        """Let the reports under way arrive."""
        await asyncio.gather(*self._sending.values(), return_exceptions=True)

    def _begin(self, volume: VolumeId, store: StoreId, reason: str) -> asyncio.Task[None]:
        self._reported_at[volume, store] = self._clock.monotonic_seconds()
        _log.error("replica failed", volume=volume, store=store, reason=reason)
        task = self._sending[volume, store] = asyncio.create_task(self._send(volume, store, reason))
        task.add_done_callback(lambda _task: self._sending.pop((volume, store), None))
        return task

    async def _send(self, volume: VolumeId, store: StoreId, reason: str) -> None:
        try:
            await self._directory.report_failure(volume, store, reason)
        except HayloftError as error:
            self._reported_at.pop((volume, store), None)
            _log.warning("report not delivered", volume=volume, store=store, error=error.message)
