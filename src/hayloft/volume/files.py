"""The files of one physical volume: their names, its lock, and how they are opened together.

A volume is ``lv-<n>.log`` with ``lv-<n>.<generation>.index`` and ``lv-<n>.lock``. The log's name decides:
the log that has it is the volume, its superblock names the generation, and that names the index. A
compaction therefore switches with a single rename. The lock has a file of its own, which is never
renamed or removed. Opening is safe at any moment, whatever other processes do or have died of.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hayloft.disk import Disk, File
from hayloft.errors import VolumeNotFound
from hayloft.types import VolumeId, volume_name
from hayloft.volume import recovery
from hayloft.volume.index import APPLIED, POISONED, RETIRED, TAIL, Index
from hayloft.volume.log import Damage, Log
from hayloft.volume.superblock import SUPERBLOCK_BYTES, Superblock


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A log with its index. Readers take both at once and never see one without the other."""

    log: Log
    index: Index
    identities: tuple[tuple[int, int], tuple[int, int]]
    """Which files these are."""


class VolumeFiles:
    """Names and opens the files of one volume in one directory."""

    def __init__(self, disk: Disk, directory: Path, volume: VolumeId) -> None:
        self.disk = disk
        self.volume = volume
        self._directory = directory
        self._name = volume_name(volume)
        self.log = directory / f"{self._name}.log"
        self.new_log = directory / f"{self._name}.log.new"
        self.new_index = directory / f"{self._name}.index.new"
        self._lock_path = directory / f"{self._name}.lock"
        self.compaction_lock_path = directory / f"{self._name}.compaction.lock"
        self._thread_lock = threading.Lock()
        self._lock_file: File | None = None

    def index(self, generation: int) -> Path:
        """The index of the log with this generation."""
        return self._directory / f"{self._name}.{generation}.index"

    def exist(self) -> bool:
        """Whether the volume is there."""
        return self.disk.identity(self.log) is not None

    def room_bytes(self) -> int:
        """What is free where they are."""
        free, _total = self.disk.space(self._directory)
        return free

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the volume against other threads, and against other processes."""
        with self._thread_lock:
            if self._lock_file is None:
                self._lock_file = self.disk.open(self._lock_path, create=True)
            self._lock_file.lock()
            try:
                yield
            finally:
                self._lock_file.unlock()

    def create(self, size_bytes_max: int) -> None:
        """Make an empty volume unless there is one. The lock is held."""
        if not self.exist():
            superblock = Superblock.new(self.volume, size_bytes_max=size_bytes_max)
            Log.create(self.disk, self.new_log, superblock)
            self.disk.rename(self.new_log, self.log)

    def open(self) -> Generation:
        """Open log and index, mending both where the last processes left them unfinished. The lock is held.

        Raises:
            VolumeNotFound: there is no such volume.
            FormatTooNew, VolumeCorrupt: its superblock cannot be used.
            OSError: the disk refused.
        """
        try:
            log = Log.open(self.disk, self.log, self.volume)
        except FileNotFoundError as missing:
            raise VolumeNotFound(f"There is no {self._name} here.") from missing
        index = Index.open(self.disk, self.index(log.superblock.generation), log.superblock)
        if index is None or not _usable(log, index):
            index = self.rebuild_index(log)
        elif not index.session_is(self.disk):
            recovery.recover(log, index)
            index.words[POISONED] = 0
        else:
            recovery.resume(log, index)
            if index.words[POISONED]:
                _reverify(log, index)
        index.words[RETIRED] = 0
        index.begin_session(self.disk)
        self._remove_leftovers(log.superblock.generation)
        return Generation(log=log, index=index, identities=(log.file.identity(), index.identity()))

    def set_aside(self) -> None:
        """Rename the log, so that a new volume can be made. The lock is held."""
        names = set(self.disk.names(self._directory))
        kept = (f"{self._name}.log.damaged-{number}" for number in itertools.count(1))
        name = next(name for name in kept if name not in names)
        self.disk.rename(self.log, self._directory / name)

    def current(self, generation: Generation) -> bool:
        """Whether these are still the volume's files."""
        index = self.index(generation.log.superblock.generation)
        return generation.identities == (self.disk.identity(self.log), self.disk.identity(index))

    def rebuild_index(self, log: Log) -> Index:
        """Make a lost or useless index anew from the log alone. The lock is held."""
        index = Index.create(self.disk, self.new_index, log.superblock)
        index.words[TAIL] = index.words[APPLIED] = SUPERBLOCK_BYTES
        size = log.file.size()
        end = recovery.replay(log, index, start=SUPERBLOCK_BYTES, end=size, acknowledged=SUPERBLOCK_BYTES)
        recovery.settle(log, index, end)
        index.recount()
        index.write_checkpoint()
        index.begin_session(self.disk)
        self.disk.rename(self.new_index, self.index(log.superblock.generation))
        return index

    def _remove_leftovers(self, generation: int) -> None:
        """Remove what an interrupted compaction left, unless one is running."""
        keep = self.index(generation).name
        stale = [
            name
            for name in self.disk.names(self._directory)
            if name.startswith(f"{self._name}.") and name.endswith((".index", ".new")) and name != keep
        ]
        if not stale:
            return
        compaction = self.disk.open(self.compaction_lock_path, create=True)
        if compaction.lock(wait=False):
            for name in stale:
                self.disk.remove(self._directory / name)
        compaction.close()


def _usable(log: Log, index: Index) -> bool:
    """Whether the index cannot know more than the log holds, as when they come from different backups."""
    mark = index.checkpoint()
    size = log.file.size()
    return mark is not None and SUPERBLOCK_BYTES <= mark.offset <= size and index.words[TAIL] <= size


def _reverify(log: Log, index: Index) -> None:
    """Lift the ban that a failed sync put on a volume, if the medium really holds what memory does."""
    mark = index.checkpoint()
    assert mark is not None, "a volume without a checkpoint has been rebuilt"
    log.file.sync()
    log.file.advise_forget()
    if not any(isinstance(found, Damage) for found in log.walk(mark.offset, index.words[TAIL])):
        index.words[POISONED] = 0
