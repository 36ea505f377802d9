"""A cache in this process: memory first, then disk.

Renditions come into memory; the least recently used leave it for the disk, and the least recently used
there are forgotten. Being read makes a rendition last ``ttl_seconds`` from then on, in memory again.
Every answer has been verified against the CRC-32C taken when the bytes came in; a damaged record is
forgotten, and the answer is a miss. What is on disk does not outlive the process (see ``files``). It knows
nothing of stores, and so cannot fill itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from pathlib import Path
from typing import Self

import structlog

from hayloft.cache.files import RecordFiles
from hayloft.cache.leases import Leases
from hayloft.cache.recency import Recency
from hayloft.cache.record import CachedNeedle, Key, from_record, to_record
from hayloft.clock import Clock, SystemClock
from hayloft.config import CacheSettings
from hayloft.disk import Disk, SystemDisk
from hayloft.errors import EmptyUpload, UploadTooLarge
from hayloft.types import AlternateKey, CacheMiss, CacheStatistics, NewNeedle, PhotoId

_log = structlog.get_logger(__name__)


class LocalCache:
    """``roles.Cache`` in this process. Made by ``open``, which starts its background work."""

    def __init__(
        self, settings: CacheSettings, *, files: RecordFiles | None = None, clock: Clock | None = None
    ) -> None:
        self._settings = settings
        self._files = files
        self._clock = clock or SystemClock()
        self._memory: Recency[Key, bytes] = Recency(
            bytes_max=settings.memory_bytes_max, items_max=settings.memory_items_max
        )
        self._leases = Leases()
        self._salt = secrets.randbits(32)
        self._hits = self._misses = 0
        self._sweeping: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        settings: CacheSettings,
        *,
        folder: Path | None = None,
        disk: Disk | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """An empty cache, with a second tier under ``folder`` when given.

        Raises:
            AlreadyServed: another cache uses the folder.
        """
        files = None
        if folder is not None and settings.disk_bytes_max > 0:
            files = RecordFiles(
                folder,
                disk=disk or SystemDisk(),
                bytes_max=settings.disk_bytes_max,
                items_max=settings.disk_items_max,
            )
        cache = cls(settings, files=files, clock=clock)
        cache._sweeping = asyncio.create_task(cache._sweep_for_ever())
        return cache

    async def get(
        self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG
    ) -> CachedNeedle | CacheMiss:
        """A rendition, or a miss with the lease for filling it."""
        key = (photo, alternate_key)
        record = self._from_memory(key)
        if record is None and self._files is not None:
            record = await self._from_files(key, self._files)
        if record is not None:
            needle = from_record(record, key, salt=self._salt)
            if needle is not None:
                self._hits += 1
                return needle
            _log.warning("cached rendition damaged", photo=photo, alternate_key=alternate_key.label)
            self._forget(key)
        self._misses += 1
        return CacheMiss(lease=self._leases.give())

    async def put(self, needle: NewNeedle, *, lease: str | None = None) -> bool:
        """Keep a rendition in memory; False if its photo was deleted since the lease was given."""
        if len(needle.data) == 0:
            raise EmptyUpload
        if lease is not None and not self._leases.honours(lease, needle.photo):
            return False
        record = to_record(needle, salt=self._salt)
        if len(record) > self.record_bytes_max:
            raise UploadTooLarge(limit_bytes=self.record_bytes_max)
        key = (needle.photo, needle.alternate_key)
        self._forget(key)
        self._keep(key, record)
        return True

    async def size(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> int | None:
        """A rendition's bytes, or None. Reads and verifies a record on disk, but does not move it."""
        key, now = (photo, alternate_key), self._now
        held = self._memory.peek(key, now=now)
        record = held.value if held is not None else None
        if record is None and self._files is not None:
            record = await self._files.read(key, now=now)
        needle = None if record is None else from_record(record, key, salt=self._salt)
        return None if needle is None else len(needle.data)

    async def delete(self, photo: PhotoId) -> bool:
        """Forget all of a photo's renditions, and make the leases given so far void for it."""
        self._leases.void(photo)
        forgotten = [self._forget((photo, alternate_key)) for alternate_key in AlternateKey]
        return any(forgotten)

    async def statistics(self) -> CacheStatistics:
        """How full it is, how well it does."""
        settings, files = self._settings, self._files
        in_memory = len(self._memory)
        on_disk = files.items if files is not None else 0
        twice = sum(key in files for key in self._memory) if files is not None else 0
        has_files = files is not None
        return CacheStatistics(
            items=in_memory + on_disk - twice,
            size_bytes=self._memory.size_bytes + (files.size_bytes if files is not None else 0),
            items_max=settings.memory_items_max + has_files * settings.disk_items_max,
            size_bytes_max=settings.memory_bytes_max + has_files * settings.disk_bytes_max,
            ttl_seconds=settings.ttl_seconds,
            hits=self._hits,
            misses=self._misses,
            memory_items=in_memory,
            disk_items=on_disk,
        )

    async def settled(self) -> None:
        """Wait until what left memory is on disk, and what was forgotten is not."""
        if self._files is not None:
            await self._files.settled()

    async def close(self) -> None:
        """Let go of everything."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        if self._files is not None:
            await self._files.close()

    def sweep(self) -> int:
        """Clear away what has expired; returns how many records."""
        now = self._now
        gone = len(self._memory.expire(now=now))
        return gone + (self._files.sweep(now=now) if self._files is not None else 0)

    @property
    def record_bytes_max(self) -> int:
        """The largest record that fits, in bytes."""
        disk = self._settings.disk_bytes_max if self._files is not None else 0
        return max(self._settings.memory_bytes_max, disk)

    @property
    def _now(self) -> float:
        return self._clock.monotonic_seconds()

    def _from_memory(self, key: Key) -> bytes | None:
        now = self._now
        held = self._memory.use(key, now=now, expires_at=now + self._settings.ttl_seconds)
        return None if held is None else held.value

    async def _from_files(self, key: Key, files: RecordFiles) -> bytes | None:
        """The record, brought back into memory. Its file stays, so that leaving memory again is free."""
        record = await files.read(key, now=self._now)
        if record is not None and key not in self._memory:
            self._keep(key, record)
        return record

    def _keep(self, key: Key, record: bytes) -> None:
        now = self._now
        gone = self._memory.put(key, record, len(record), expires_at=now + self._settings.ttl_seconds)
        if self._files is None:
            return
        for left, held in gone:
            if held.expires_at > now:
                self._files.offer(left, held.value, now=now, expires_at=held.expires_at)

    def _forget(self, key: Key) -> bool:
        in_memory = self._memory.pop(key) is not None
        on_disk = self._files is not None and self._files.forget(key)
        return in_memory or on_disk

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_seconds)
            self.sweep()
