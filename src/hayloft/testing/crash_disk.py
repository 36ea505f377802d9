"""A disk in memory that remembers everything, so that the power can be cut at any moment of its past.

``CrashDisk`` is a ``Disk`` for one thread. Every write, store into mapped memory, change of length, sync
and change of a name is a *moment*. ``after_power_cut(moment, seed)`` makes the disk that a machine could
find after losing power right then: what was synced is there; every 512-byte sector that was changed since
its last sync holds, independently of all others, any one of the contents that it had in between; lengths
likewise; names go back to some point since the directory's last sync. ``after_kill(moment)`` is what
other processes find when one dies right then: everything, but nobody holds its locks.

Not modelled: sectors that tear within, and a medium that lies about a sync.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

SECTOR_BYTES: Final = 512
Survival = Literal["nothing", "everything", "anything"]
"""What becomes of what was not synced: all of it is lost, none, or each sector as chance has it."""

_Value = TypeVar("_Value")

_WORD: Final = struct.Struct("=Q")
_ZEROS: Final = bytes(SECTOR_BYTES)
_incarnations = itertools.count(1)


@dataclass(slots=True)
class _Inode:
    """A file without its name: what it holds now, and what it held."""

    number: int
    content: bytearray = field(default_factory=bytearray)
    sectors: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)
    """Each sector's contents, with the moment at which it got them."""
    sizes: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    syncs: list[tuple[int, int | None]] = field(default_factory=list)
    """Moments of syncs, with the length that was synced; None is all of it."""
    locked_by: object | None = None

    def changed(self, start: int, end: int, moment: int) -> None:
        for sector in range(start // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
            at = sector * SECTOR_BYTES
            now = bytes(self.content[at : at + SECTOR_BYTES]).ljust(SECTOR_BYTES, b"\0")
            self.sectors.setdefault(sector, []).append((moment, now))

    def forget_unsynced(self, moment: int) -> None:
        """A sync failed: the medium has what it had, memory goes on showing what was written.

        Nor will a later sync bring it there, since the kernel takes those pages for clean.
        """
        for sector, history in self.sectors.items():
            synced = self.synced(sector, moment)
            durable = [content for at, content in history if at <= synced]
            if history[-1][0] > synced:
                history.append((moment, durable[-1] if durable else _ZEROS))

    def synced(self, sector: int, moment: int) -> int:
        """When this sector was last on stable storage, as of a moment."""
        covering = (
            at
            for at, length in self.syncs
            if at <= moment and (length is None or sector * SECTOR_BYTES < length)
        )
        return max(covering, default=-1)


class CrashDisk:
    """See the module. Paths are only names; directories need not be made."""

    def __init__(self, *, capacity_bytes: int = 1 << 30) -> None:
        self.moment = 0
        """How many changes there have been."""
        self.capacity_bytes = capacity_bytes
        self._incarnation = b"incarnation %d" % next(_incarnations)
        self._numbers = itertools.count(1)
        self._names: dict[str, _Inode] = {}
        self._names_before: list[tuple[int, dict[str, _Inode]]] = [(0, {})]
        self._directory_syncs: list[int] = [0]
        self._failures: list[tuple[str, str, int]] = []

    # Disasters -----------------------------------------------------------------------------------

    def after_power_cut(self, moment: int, *, seed: int, survival: Survival = "anything") -> CrashDisk:
        """The disk that a machine may find after losing power right after this moment."""
        chance = random.Random(f"{seed} {moment} {survival}")  # noqa: S311 - replayable, not secret
        disk = CrashDisk(capacity_bytes=self.capacity_bytes)
        synced = max(at for at in self._directory_syncs if at <= moment)
        names = _choose(self._names_before, synced, moment, survival, chance)
        disk._adopt({name: _survivor(inode, moment, survival, chance) for name, inode in names.items()})
        return disk

    def after_kill(self, moment: int) -> CrashDisk:
        """What the others find when the process that did all this is killed right after this moment."""
        disk = CrashDisk(capacity_bytes=self.capacity_bytes)
        chance = random.Random(0)  # noqa: S311 - nothing is left to it
        names = _choose(self._names_before, -1, moment, "everything", chance)
        disk._adopt({name: _survivor(inode, moment, "everything", chance) for name, inode in names.items()})
        disk._incarnation = self._incarnation
        return disk

    def fail(self, operation: str, suffix: str, *, number: int = errno.EIO) -> None:
        """Let the next ``write``, ``sync``, ``flush`` or ``rename`` of a file so named fail."""
        self._failures.append((operation, suffix, number))

    def corrupt(self, path: Path, offset: int, mask: int = 0xFF) -> None:
        """Flip bits of one byte, as a failing medium does: durably, and nobody is told."""
        inode = self._names[str(path)]
        inode.content[offset] ^= mask
        self._advance()
        inode.changed(offset, offset + 1, self.moment)
        inode.syncs.append((self.moment, None))

    # Disk ----------------------------------------------------------------------------------------

    def open(self, path: Path, *, create: bool = False) -> CrashFile:
        """Open, and create if asked to."""
        inode = self._names.get(str(path))
        if inode is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            inode = _Inode(next(self._numbers))
            self._rename({**self._names, str(path): inode})
        return CrashFile(self, inode, str(path))

    def rename(self, source: Path, target: Path) -> None:
        """Rename, then sync the directory: two moments."""
        self._may_fail("rename", str(target))
        names = dict(self._names)
        names[str(target)] = names.pop(str(source))
        self._rename(names)
        self._advance()
        self._directory_syncs.append(self.moment)

    def remove(self, path: Path) -> None:
        """Remove a name; not synced."""
        if str(path) in self._names:
            self._rename({name: inode for name, inode in self._names.items() if name != str(path)})

    def identity(self, path: Path) -> tuple[int, int] | None:
        """Which file has this name."""
        inode = self._names.get(str(path))
        return (1, inode.number) if inode else None

    def make_directory(self, path: Path) -> None:
        """Nothing to do."""

    def names(self, directory: Path) -> list[str]:
        """What a directory holds."""
        return [Path(name).name for name in self._names if Path(name).parent == directory]

    def space(self, path: Path) -> tuple[int, int]:  # noqa: ARG002 - there is one file system
        """Free and total bytes."""
        used = sum(len(inode.content) for inode in self._names.values())
        return max(0, self.capacity_bytes - used), self.capacity_bytes

    def incarnation(self) -> bytes:
        """Another one after every power cut."""
        return self._incarnation

    # Within --------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self.moment += 1

    def _rename(self, names: dict[str, _Inode]) -> None:
        self._advance()
        self._names = names
        self._names_before.append((self.moment, names))

    def _adopt(self, names: dict[str, _Inode]) -> None:
        self._names = names
        self._names_before = [(0, names)]
        self._numbers = itertools.count(1 + max((each.number for each in names.values()), default=0))

    def _may_fail_on(self, operation: str, inode: _Inode) -> None:
        for name in [name for name, each in self._names.items() if each is inode]:
            self._may_fail(operation, name)

    def _may_fail(self, operation: str, name: str) -> None:
        for failure in self._failures:
            if failure[0] == operation and name.endswith(failure[1]):
                self._failures.remove(failure)
                raise OSError(failure[2], os.strerror(failure[2]), name)


class CrashFile:
    """An open file of a ``CrashDisk``."""

    def __init__(self, disk: CrashDisk, inode: _Inode, name: str) -> None:
        self._disk = disk
        self._inode = inode
        self._name = name

    def read_into(self, buffer: WriteableBuffer, offset: int) -> int:
        """Read what is there."""
        view = memoryview(buffer).cast("B")
        found = self._inode.content[offset : offset + view.nbytes]
        view[: len(found)] = found
        return len(found)

    def read_cached_into(self, buffer: WriteableBuffer, offset: int) -> int:
        """Everything is in memory."""
        return self.read_into(buffer, offset)

    def write_at(self, buffers: Sequence[ReadableBuffer], offset: int) -> None:
        """Write what there is room for; OSError if that was not everything."""
        data = b"".join(bytes(buffer) for buffer in buffers)
        inode, disk = self._inode, self._disk
        self._disk._may_fail_on("write", self._inode)
        room = disk.space(Path())[0] + len(inode.content) - offset
        written = data[: max(0, room)]
        if written:
            disk._advance()
            end = offset + len(written)
            if end > len(inode.content):
                inode.content.extend(bytes(end - len(inode.content)))
                inode.sizes.append((disk.moment, end))
            inode.content[offset:end] = written
            inode.changed(offset, end, disk.moment)
        if len(written) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        """Everything so far is on stable storage."""
        self._sync("sync", None)

    def truncate(self, size: int) -> None:
        """Cut or lengthen."""
        inode, before = self._inode, len(self._inode.content)
        self._disk._advance()
        inode.content[size:] = bytes(max(0, size - before))
        inode.sizes.append((self._disk.moment, size))
        if size < before:
            inode.changed(size, before, self._disk.moment)

    def size(self) -> int:
        """The length."""
        return len(self._inode.content)

    def allocate(self, offset: int, length: int) -> None:
        """Lengthen if need be; there are no holes here."""
        if offset + length > len(self._inode.content):
            self.truncate(offset + length)

    def holds_data(self, offset: int) -> bool:
        """Whether the file reaches that far."""
        return offset < len(self._inode.content)

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """All of it."""
        if self._inode.content:
            yield 0, len(self._inode.content)

    def advise_random(self) -> None:
        """Nothing to do."""

    def advise_forget(self, offset: int = 0, length: int = 0) -> None:
        """Nothing to do: what fails here fails in memory too."""

    def lock(self, *, wait: bool = True) -> bool:
        """Take the lock; waiting for it would be for ever, with one thread."""
        if self._inode.locked_by not in (None, self):
            if wait:
                raise AssertionError(f"{self._name} is locked, and nobody else runs")
            return False
        self._inode.locked_by = self
        return True

    def unlock(self) -> None:
        """Give the lock back."""
        if self._inode.locked_by is self:
            self._inode.locked_by = None

    def map(self, length: int) -> CrashMapping:
        """Map it."""
        return CrashMapping(self, length)

    def identity(self) -> tuple[int, int]:
        """A number that stays with the file."""
        return 1, self._inode.number

    def close(self) -> None:
        """Give the lock back with it."""
        self.unlock()

    def _sync(self, operation: str, length: int | None) -> None:
        self._disk._advance()
        try:
            self._disk._may_fail_on(operation, self._inode)
        except OSError:
            self._inode.forget_unsynced(self._disk.moment)
            raise
        self._inode.syncs.append((self._disk.moment, length))


class CrashMapping:
    """Mapped memory; it is its own words, so that every store is a moment."""

    def __init__(self, file: CrashFile, length: int) -> None:
        self._file = file
        self._length = length

    @property
    def words(self) -> CrashMapping:
        """Itself."""
        return self

    def __len__(self) -> int:
        return self._length // 8

    def __getitem__(self, position: int) -> int:
        if not 0 <= position < len(self):
            raise IndexError(position)
        return int(_WORD.unpack_from(self._file._inode.content, position * 8)[0])

    def __setitem__(self, position: int, value: int) -> None:
        if not 0 <= position < len(self):
            raise IndexError(position)
        inode, disk = self._file._inode, self._file._disk
        disk._advance()
        _WORD.pack_into(inode.content, position * 8, value)
        inode.changed(position * 8, position * 8 + 8, disk.moment)

    def flush(self, length: int = 0) -> None:
        """What is mapped there is on stable storage."""
        self._file._sync("flush", length or self._length)


def _survivor(inode: _Inode, moment: int, survival: Survival, chance: random.Random) -> _Inode:
    """The file as it may be found after a power cut."""
    whole = max((at for at, _length in inode.syncs if at <= moment), default=-1)
    size = _choose(inode.sizes, whole, moment, survival, chance)
    content = bytearray(-(-size // SECTOR_BYTES) * SECTOR_BYTES)
    for sector, history in inode.sectors.items():
        if sector * SECTOR_BYTES < size:
            synced = inode.synced(sector, moment)
            found = _choose([(-1, _ZEROS), *history], synced, moment, survival, chance)
            content[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = found
    del content[size:]
    survivor = _Inode(inode.number, content)
    survivor.sizes = [(0, size)]
    survivor.changed(0, size, 0)
    survivor.syncs = [(0, None)]
    return survivor


def _choose(
    history: list[tuple[int, _Value]], synced: int, moment: int, survival: Survival, chance: random.Random
) -> _Value:
    """One of the values between a sync and a moment."""
    past = [entry for entry in history if entry[0] <= moment]
    first = max((place for place, entry in enumerate(past) if entry[0] <= synced), default=0)
    if survival == "everything":
        return past[-1][1]
    return past[first][1] if survival == "nothing" else chance.choice(past[first:])[1]
