"""The index: where every needle of one log stands, in memory that all processes share.

A memory-mapped, sparse file: one header page, then 64-bit entries ``offset / 8 << 32 | record size`` at
``sequence * slots + alternate key``. A lookup is one load. An entry is stored, in one aligned 8-byte
store, only after its needle is durable, so whatever state of the file a power cut leaves, no entry ever
points at bytes that are not there. What a power cut may leave is *older* entries than the log has:
everything past the last checkpoint is therefore read again from the log (``recovery.py``).

The header also carries what the processes share beside the entries: the log's tail, and whether the
volume is sealed, retired by a compaction, or poisoned by a failed sync. Those words are trusted within
one incarnation of the machine's memory only; the two checkpoint records carry checksums and are written
in turn, so that one of them is whole at any moment. Drawn in docs/FORMAT.md.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from hayloft.disk import Disk, File, Mapping, Words
from hayloft.volume.superblock import Superblock

PAGE_BYTES: Final = 4096
PAGE_WORDS: Final = PAGE_BYTES // 8
HEADER_WORDS: Final = PAGE_WORDS
FORMAT_VERSION: Final = 1

ABSENT: Final = 0
"""The entry of a slot that was never written: what a hole in the file reads as."""
DELETED: Final = 1
"""The entry of a deleted slot; no needle stands at offset 0, so no entry looks like it."""

SIZE_BYTES_MIN: Final = 64 << 10
"""The file's first length; it doubles, and stays a hole where nothing is written."""
PAGES_REMEMBERED_MAX: Final = 1 << 16
"""Pages that a process remembers to be no holes: 256 MiB of index. Forgetting one costs a system call."""

_MAGIC: Final = int.from_bytes(b"HAYINDEX", "little")

# Words of the header. Each group stands in a sector of its own, because sectors do not tear.
_IDENTITY_WORDS: Final = 7
_SESSION, TAIL, APPLIED, RETIRED, SEALED, POISONED, LIVE, LIVE_BYTES, CHECKPOINTED = range(64, 73)
_CHECKPOINTS: Final = (128, 192)
_CHECKPOINT: Final = struct.Struct("<QQQQQ")


def live(entry: int) -> bool:
    """Whether an entry points at a needle."""
    return entry > DELETED


def pack_entry(offset: int, size: int) -> int:
    """The entry of a record."""
    return (offset >> 3) << 32 | size


def entry_offset(entry: int) -> int:
    """Where the record stands in the log."""
    return (entry >> 32) << 3


def entry_size(entry: int) -> int:
    """The record's bytes."""
    return entry & 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A moment at which the index on disk knew the whole log up to ``offset``."""

    number: int
    offset: int
    live: int
    live_bytes: int
    sealed: bool


class Index:
    """One open index file. Stores happen under the volume's lock; loads need none."""

    __slots__ = ("_backed", "_file", "_growing", "_mapping", "capacity", "words")

    def __init__(self, file: File) -> None:
        self._file = file
        self._backed: set[int] = set()
        """Pages that are no holes, as far as this process has looked."""
        self._growing = threading.Lock()
        self._mapping: Mapping
        self.words: Words
        self.capacity = 0
        """Slots that this process has mapped."""
        self._map(file.size())

    @classmethod
    def create(cls, disk: Disk, path: Path, superblock: Superblock) -> Index:
        """A new, empty index for this log."""
        disk.remove(path)
        file = disk.open(path, create=True)
        file.truncate(SIZE_BYTES_MIN)
        file.allocate(0, PAGE_BYTES)
        index = cls(file)
        for position, word in enumerate(_identity(superblock)):
            index.words[position] = word
        return index

    @classmethod
    def open(cls, disk: Disk, path: Path, superblock: Superblock) -> Index | None:
        """The index of this log, or None if there is none that can be used."""
        try:
            file = disk.open(path)
        except FileNotFoundError:
            return None
        if file.size() < PAGE_BYTES or file.size() % PAGE_BYTES:
            return None
        index = cls(file)
        matches = all(index.words[at] == word for at, word in enumerate(_identity(superblock)))
        return index if matches else None

    # Entries -------------------------------------------------------------------------------------

    def load(self, slot: int) -> int:
        """A slot's entry."""
        if slot < self.capacity and (HEADER_WORDS + slot) // PAGE_WORDS in self._backed:
            return self.words[HEADER_WORDS + slot]
        return self._load_carefully(slot)

    def reserve(self, slots: Iterable[int]) -> None:
        """Make sure that entries can be stored in these slots, whatever happens to the disk.

        Raises:
            OSError: there is no room.
        """
        for slot in slots:
            if slot >= self.capacity:
                self._grow(slot)
            page = (HEADER_WORDS + slot) // PAGE_WORDS
            if page not in self._backed:
                self._file.allocate(page * PAGE_BYTES, PAGE_BYTES)
                self._remember(page)

    def store(self, slot: int, entry: int) -> None:
        """Publish an entry in a reserved slot."""
        self.words[HEADER_WORDS + slot] = entry

    def blocks(self, start_slot: int = 0) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
        """All entries that may be other than absent, from a slot on.

        Yields the first slot and a copy of what is there, in turn.
        """
        for start, end in self._file.data_ranges():
            position = max(start, PAGE_BYTES, (HEADER_WORDS + start_slot) * 8) // 8 * 8
            while position < end:
                buffer = bytearray(min(end - position, 1 << 20))
                self._file.read_into(buffer, position)
                yield position // 8 - HEADER_WORDS, np.frombuffer(buffer, np.uint64, len(buffer) // 8)
                position += len(buffer)

    def entries(self, first: int, count: int) -> npt.NDArray[np.uint64]:
        """A copy of the entries of so many slots."""
        buffer = bytearray(count * 8)
        self._file.read_into(buffer, (HEADER_WORDS + first) * 8)
        return np.frombuffer(buffer, np.uint64)

    def recount(self) -> None:
        """Count live needles and their bytes anew; takes time in proportion to the entries."""
        needles = size = 0
        for _first, entries in self.blocks():
            alive = entries[entries > DELETED]
            needles += len(alive)
            size += int((alive & np.uint64(0xFFFF_FFFF)).sum(dtype=np.uint64))
        self.words[LIVE] = needles
        self.words[LIVE_BYTES] = size

    # Sessions and checkpoints --------------------------------------------------------------------

    def session_is(self, disk: Disk) -> bool:
        """Whether the header's words were written within this incarnation of the machine's memory."""
        return self.words[_SESSION] == self._session(disk)

    def begin_session(self, disk: Disk) -> None:
        """Vouch for the header's words."""
        self.words[_SESSION] = self._session(disk)

    def end_session(self) -> None:
        """Make the next opening read the log from the last checkpoint, as after a power cut."""
        self.words[_SESSION] = 0

    def checkpoint(self) -> Checkpoint | None:
        """The last checkpoint that is whole."""
        found = [mark for at in _CHECKPOINTS if (mark := self._checkpoint_at(at)) is not None]
        return max(found, key=lambda mark: mark.number, default=None)

    def write_checkpoint(self) -> None:
        """Bring all entries to stable storage, then say so, in the older of the two records."""
        self._mapping.flush()
        last = self.checkpoint()
        number = last.number + 1 if last else 1
        words = self.words
        fields = (number, words[APPLIED], words[LIVE], words[LIVE_BYTES], words[SEALED])
        at = _CHECKPOINTS[number % 2]
        for position, word in enumerate((*fields, _checksum(fields))):
            words[at + position] = word
        words[CHECKPOINTED] = words[APPLIED]
        self._mapping.flush(PAGE_BYTES)

    # Within --------------------------------------------------------------------------------------

    def identity(self) -> tuple[int, int]:
        """Which file this is."""
        return self._file.identity()

    def _session(self, disk: Disk) -> int:
        # The device and inode are in it, so that a copy or a snapshot never passes for the original.
        seed = b"%b %d %d" % (disk.incarnation(), *self._file.identity())
        return int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "little") | 1

    def _checkpoint_at(self, at: int) -> Checkpoint | None:
        fields = tuple(self.words[at + position] for position in range(5))
        if fields[0] == 0 or self.words[at + 5] != _checksum(fields):
            return None
        number, offset, needles, size, sealed = fields
        return Checkpoint(number=number, offset=offset, live=needles, live_bytes=size, sealed=bool(sealed))

    def _load_carefully(self, slot: int) -> int:
        """Load from a page that was not touched here yet.

        Another process may have made the file longer since it was mapped. And a hole is not touched at
        all: it would take a page of memory for nothing, and on a full tmpfs even the process's life.
        """
        if slot >= self.capacity:
            size = self._file.size()
            if size // 8 - HEADER_WORDS <= slot:
                return ABSENT
            self._map(size)
        page = (HEADER_WORDS + slot) // PAGE_WORDS
        if page not in self._backed:
            if not self._file.holds_data(page * PAGE_BYTES):
                return ABSENT
            self._remember(page)
        return self.words[HEADER_WORDS + slot]

    def _remember(self, page: int) -> None:
        if len(self._backed) >= PAGES_REMEMBERED_MAX:
            self._backed.clear()
        self._backed.add(page)

    def _grow(self, slot: int) -> None:
        size = max(self._file.size(), SIZE_BYTES_MIN)
        while size // 8 - HEADER_WORDS <= slot:
            size *= 2
        if size > self._file.size():
            self._file.truncate(size)
        self._map(size)

    def _map(self, size: int) -> None:
        with self._growing:
            if size // 8 - HEADER_WORDS <= self.capacity:
                return
            mapping = self._file.map(size)
            # Other threads may see the longer words with the older capacity, never the other way round.
            self._mapping = mapping
            self.words = mapping.words
            self.capacity = size // 8 - HEADER_WORDS


def _identity(superblock: Superblock) -> tuple[int, ...]:
    fields = (
        _MAGIC,
        FORMAT_VERSION,
        int(superblock.volume),
        superblock.slots,
        superblock.identity,
        superblock.generation,
    )
    words = (*fields, google_crc32c.value(b"".join(word.to_bytes(8, "little") for word in fields)))
    assert len(words) == _IDENTITY_WORDS
    return words


def _checksum(fields: tuple[int, ...]) -> int:
    checksum: int = google_crc32c.value(_CHECKPOINT.pack(*fields))
    return checksum
