"""The cache's second tier: records that had to leave memory, one file each.

Nothing here ever waits for the disk on the event loop: what is offered is written by one background task,
and forgotten when too much of it waits. The index of the files is in memory only, so whatever an earlier
process left is unknown, and removed: deletions may have been missed meanwhile, and a deleted photo must not
come back. A disk that fails or is full costs hits and nothing else. Records are not looked into; whoever
reads them verifies them.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from hayloft import limits
from hayloft.cache.recency import Recency
from hayloft.cache.record import Key
from hayloft.disk import Disk
from hayloft.errors import AlreadyServed

BATCH_FILES: Final = 32
"""Files written in one go of the background thread."""

_log = structlog.get_logger(__name__)


class _Waiting(NamedTuple):
    record: bytes
    expires_at: float


class _Step(NamedTuple):
    """What the background thread is to do: write a record under a number, or remove the number's file."""

    number: int
    record: bytes | None


class RecordFiles:
    """Records in files under ``folder``, at most ``bytes_max`` and ``items_max`` of them.

    Raises:
        AlreadyServed: another cache uses the folder.
    """

    def __init__(self, folder: Path, *, disk: Disk, bytes_max: int, items_max: int) -> None:
        self._folder = folder
        self._disk = disk
        self._index: Recency[Key, int] = Recency(bytes_max=bytes_max, items_max=items_max)
        self._numbers = count()
        self._waiting: dict[Key, _Waiting] = {}
        self._waiting_bytes = 0
        self._doomed: list[int] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        disk.make_directory(folder)
        self._lock = disk.open(folder / "lock", create=True)
        if not self._lock.lock(wait=False):
            raise AlreadyServed(f"Another cache uses {folder}.")
        self._files = folder / secrets.token_hex(8)
        self._files.mkdir()
        self._task = asyncio.create_task(self._work())

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return self._index.size_bytes

    @property
    def items(self) -> int:
        """How many records there are, those that still wait to be written included."""
        return len(self._index) + sum(key not in self._index for key in self._waiting)

    def __contains__(self, key: object) -> bool:
        return key in self._waiting or key in self._index

    def size(self, key: Key, *, now: float) -> int | None:
        """A record's bytes, or None."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            return len(waiting.record)
        held = self._index.peek(key, now=now)
        return None if held is None else held.size

    def offer(self, key: Key, record: bytes, *, now: float, expires_at: float) -> None:
        """Keep a record, if there is room and the disk keeps up; one that is here is not written again."""
        if self._index.use(key, now=now, expires_at=expires_at) is not None or key in self._waiting:
            return
        if len(record) > self._index.bytes_max:
            return
        # What waits can be read too, so it is held to the caps as well.
        bytes_max = min(limits.CACHE_WAITING_BYTES_MAX, self._index.bytes_max)
        if self._waiting_bytes + len(record) > bytes_max or len(self._waiting) >= self._index.items_max:
            return
        self._waiting[key] = _Waiting(record, expires_at)
        self._waiting_bytes += len(record)
        self._have_work()

    async def read(self, key: Key, *, now: float) -> bytes | None:
        """A record, or None; None too if it was forgotten while it was being read."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            return waiting.record if waiting.expires_at > now else None
        held = self._index.peek(key, now=now)
        if held is None:
            return None
        record = await asyncio.to_thread(self._read_file, held.value, held.size)
        after = self._index.peek(key, now=now)
        if after is None or after.value != held.value:
            return None
        if record is None:
            self.forget(key)
        return record

    def forget(self, key: Key) -> bool:
        """Let go of a record; False if there was none. Its file goes a moment later."""
        waiting = self._take_waiting(key)
        held = self._index.pop(key)
        if held is not None:
            self._doom(held.value)
        return waiting is not None or held is not None

    def sweep(self, *, now: float) -> int:
        """Let go of what has expired; returns how many."""
        gone = self._index.expire(now=now)
        for held in gone:
            self._doom(held.value)
        return len(gone)

    async def settled(self) -> None:
        """Wait until nothing waits to be written or removed."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stop writing, remove all files."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._files, ignore_errors=True)
        self._lock.close()

    async def _work(self) -> None:
        await asyncio.to_thread(self._remove_leftovers)
        while True:
            while self._waiting or self._doomed:
                await self._work_once()
            self._wake.clear()
            self._idle.set()
            await self._wake.wait()

    async def _work_once(self) -> None:
        batch = dict(islice(self._waiting.items(), BATCH_FILES))
        steps = [_Step(number, None) for number in self._doomed]
        self._doomed = []
        numbers = {}
        for key, waiting in batch.items():
            numbers[key] = number = next(self._numbers)
            expired = self._index.pop(key)
            if expired is not None:
                steps.append(_Step(expired.value, None))
            gone = self._index.put(key, number, len(waiting.record), expires_at=waiting.expires_at)
            steps.extend(_Step(held.value, None) for _key, held in gone)
            steps.append(_Step(number, waiting.record))
        failed = await asyncio.to_thread(self._take, steps)
        for key, waiting in batch.items():
            if self._waiting.get(key) is waiting:
                self._take_waiting(key)
            held = self._index.peek(key, now=float("-inf"))
            if numbers[key] in failed and held is not None and held.value == numbers[key]:
                self._index.pop(key)

    def _take(self, steps: Sequence[_Step]) -> set[int]:
        """Write and remove, in order; returns the numbers that could not be written. For a thread."""
        failed: set[int] = set()
        for number, record in steps:
            try:
                if record is None:
                    self._disk.remove(self._path(number))
                else:
                    self._write_file(number, record)
            except OSError as error:
                if record is not None:
                    failed.add(number)
                _log.warning("cache file failed", number=number, error=str(error))
        return failed

    def _write_file(self, number: int, record: bytes) -> None:
        path = self._path(number)
        path.parent.mkdir(exist_ok=True)
        file = self._disk.open(path, create=True)
        try:
            file.write_at([record], 0)
        except OSError:
            self._disk.remove(path)
            raise
        finally:
            file.close()

    def _read_file(self, number: int, size: int) -> bytes | None:
        buffer = bytearray(size)
        try:
            file = self._disk.open(self._path(number))
            try:
                return bytes(buffer) if file.read_into(buffer, 0) == size else None
            finally:
                file.close()
        except FileNotFoundError:  # forgotten a moment ago
            return None
        except OSError as error:
            _log.warning("cache file failed", number=number, error=str(error))
            return None

    def _remove_leftovers(self) -> None:
        for path in self._folder.iterdir():
            if path.is_dir() and path != self._files:
                shutil.rmtree(path, ignore_errors=True)

    def _take_waiting(self, key: Key) -> _Waiting | None:
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            self._waiting_bytes -= len(waiting.record)
        return waiting

    def _doom(self, number: int) -> None:
        self._doomed.append(number)
        self._have_work()

    def _have_work(self) -> None:
        self._idle.clear()
        self._wake.set()

    def _path(self, number: int) -> Path:
        return self._files / f"{number & 255:02x}" / f"{number:x}"
