"""The log: one append-only file of needles behind a superblock.

Reads one record at a given place, writes a group commit at the tail, and walks the records in order,
stepping over damaged stretches. It does not know what is live, who holds the lock, or where the tail is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from hayloft import needle as codec
from hayloft.disk import Disk, File
from hayloft.errors import NeedleCorrupt, VolumeCorrupt
from hayloft.needle import Needle, Record
from hayloft.types import VolumeId
from hayloft.volume import superblock as superblocks
from hayloft.volume.superblock import SUPERBLOCK_BYTES, Superblock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

WINDOW_BYTES: Final = 1 << 20
"""What a walk reads at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A stretch of the log in which no needle can be read."""

    offset: int
    end: int
    """Where the next whole needle begins, or the end of the walk."""


class Log:
    """One open log."""

    __slots__ = ("file", "superblock")

    def __init__(self, file: File, superblock: Superblock) -> None:
        self.file = file
        self.superblock = superblock

    @classmethod
    def create(cls, disk: Disk, path: Path, superblock: Superblock) -> Log:
        """A new, empty log; its superblock is durable. The caller gives it its final name."""
        disk.remove(path)
        file = disk.open(path, create=True)
        file.write_at([superblocks.encode(superblock)], 0)
        file.sync()
        return cls(file, superblock)

    @classmethod
    def open(cls, disk: Disk, path: Path, volume: VolumeId) -> Log:
        """Open a log.

        Raises:
            FileNotFoundError: it is not there.
            FormatTooNew, VolumeCorrupt: its superblock cannot be used.
        """
        file = disk.open(path)
        log = cls(file, _read_superblock(file, volume))
        file.advise_random()
        return log

    def check_superblock(self) -> None:
        """Read the superblock from the medium.

        Raises:
            VolumeCorrupt: it is not what it was.
        """
        self.file.advise_forget(0, SUPERBLOCK_BYTES)
        if _read_superblock(self.file, self.superblock.volume) != self.superblock:
            raise VolumeCorrupt("The superblock has become another log's.")

    def read(self, offset: int, size: int, *, wait: bool) -> Needle | None:
        """The needle whose record stands there; None if memory does not hold it and ``wait`` is not set.

        Raises:
            NeedleCorrupt: the bytes are not those that were written.
        """
        # Uninitialised memory: a bytearray would be zeroed first, for nothing.
        buffer = np.empty(size, np.uint8).data
        file = self.file
        read = file.read_into(buffer, offset) if wait else file.read_cached_into(buffer, offset)
        if read < size:
            if wait:
                raise NeedleCorrupt("The log ends before the needle does.")
            return None
        return codec.decode(buffer, size, salt=self.superblock.salt)

    def write(self, offset: int, records: Sequence[tuple[Record, bytes]]) -> None:
        """Write records, each with its footer, one after the other; not durable yet.

        Raises:
            OSError: not everything was written.
        """
        buffers: list[ReadableBuffer] = []
        for record, footer in records:
            buffers += (*record.body, footer)
        self.file.write_at(buffers, offset)

    def reader(self, end: int) -> Window:
        """For reading many records in order of their offsets, up to ``end``."""
        return Window(self.file, end, self.superblock.salt)

    def walk(self, start: int, end: int) -> Iterator[tuple[int, Needle] | Damage]:
        """Every record between two offsets, in order, with its place; damaged stretches in between."""
        window = self.reader(end)
        offset = start
        while offset < end:
            try:
                needle = window.needle(offset)
            except NeedleCorrupt:
                resume = window.next_needle(offset)
                yield Damage(offset=offset, end=resume)
                offset = resume
            else:
                yield offset, needle
                offset += needle.size


def _read_superblock(file: File, volume: VolumeId) -> Superblock:
    page = bytearray(SUPERBLOCK_BYTES)
    read = file.read_into(page, 0)
    return superblocks.decode(bytes(page[:read]), volume)


class Window:
    """A stretch of the log in memory that follows a walk."""

    def __init__(self, file: File, end: int, salt: int) -> None:
        self._file = file
        self._end = end
        self._salt = salt
        self._start = 0
        self._view = memoryview(b"")

    def needle(self, offset: int) -> Needle:
        """The needle that begins there, as long as its header says.

        Raises:
            NeedleCorrupt: there is none.
        """
        header = self._bytes(offset, codec.HEADER.size)
        size = codec.measure(header)
        return codec.decode(self._bytes(offset, size), size, salt=self._salt)

    def record(self, offset: int, size: int) -> Needle:
        """The needle whose record stands there.

        Raises:
            NeedleCorrupt: the bytes are not those that were written.
        """
        return codec.decode(self._bytes(offset, size), size, salt=self._salt)

    def next_needle(self, damaged: int) -> int:
        """Where the next whole needle after a damaged one begins, or the end."""
        # The damaged needle's own sizes are tried first, so that its data is not searched for needles.
        with contextlib.suppress(NeedleCorrupt):
            follower = damaged + codec.measure(self._bytes(damaged, codec.HEADER.size))
            self.needle(follower)
            return follower
        offset = damaged + codec.ALIGNMENT
        while (candidate := self._find_magic(offset)) is not None:
            with contextlib.suppress(NeedleCorrupt):
                self.needle(candidate)
                return candidate
            offset = candidate + codec.ALIGNMENT
        return self._end

    def _find_magic(self, offset: int) -> int | None:
        while offset + codec.HEADER.size <= self._end:
            view = self._bytes(offset, min(WINDOW_BYTES, self._end - offset))
            words = np.frombuffer(view, "<u4", len(view) // codec.ALIGNMENT * 2)[::2]
            found = np.flatnonzero(words == codec.HEADER_MAGIC)
            if len(found):
                return offset + int(found[0]) * codec.ALIGNMENT
            offset += len(words) * codec.ALIGNMENT
        return None

    def _bytes(self, offset: int, size: int) -> memoryview:
        if offset + size > self._end:
            raise NeedleCorrupt("The log ends before the needle does.")
        if not self._start <= offset <= offset + size <= self._start + len(self._view):
            # Uninitialised, as in ``read``.
            buffer = np.empty(min(max(size, WINDOW_BYTES), self._end - offset), np.uint8).data
            read = self._file.read_into(buffer, offset)
            self._start, self._view = offset, buffer[:read]
            if read < size:
                raise NeedleCorrupt("The log ends before the needle does.")
        return self._view[offset - self._start : offset - self._start + size]
