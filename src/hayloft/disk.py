"""The only door to files.

Everything that the volume engine does to a disk passes through the two small protocols below, so that a
test can put a disk there which forgets, tears or refuses (``hayloft.testing.CrashDisk``).
``SystemDisk`` is the real one; it guarantees that a write is complete or raises, that ``sync`` returns
only when the bytes are on stable storage, and that ``rename`` is itself durable. It knows nothing of
what the bytes mean.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

BUFFERS_PER_WRITE_MAX: Final = 1000
"""Just below IOV_MAX, the buffers that one pwritev takes (1024 on Linux)."""

BYTES_PER_WRITE_MAX: Final = 1 << 20
"""From two megabytes in one call on, Linux keeps them in pages of that size. A virtual machine gives such
pages back to its host whenever they are free, and filling one again takes several times as long as what is
written in small pieces, as a file copy does."""

DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a write says when there is no room: on the device, in the quota, under the process's file limit."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Words(Protocol):
    """Mapped memory as 64-bit words. One assignment is one aligned store: never seen half done."""

    def __getitem__(self, position: int, /) -> int: ...

    def __setitem__(self, position: int, value: int, /) -> None: ...

    def __len__(self) -> int: ...


class Mapping(Protocol):
    """A file mapped into memory, shared with every process that maps it."""

    @property
    def words(self) -> Words:
        """The mapped bytes as native 64-bit words."""
        ...

    def flush(self, length: int = 0) -> None:
        """Bring the first ``length`` bytes (all if 0) to stable storage."""
        ...


class File(Protocol):
    """An open file. It stays usable, whatever happens to its name, until it is closed or forgotten."""

    def read_into(self, buffer: WriteableBuffer, offset: int) -> int:
        """Fill ``buffer`` from ``offset``, waiting for the disk; returns fewer bytes at the file's end."""
        ...

    def read_cached_into(self, buffer: WriteableBuffer, offset: int) -> int:
        """Read what memory holds, without waiting; fewer bytes than asked for mean a miss."""
        ...

    def write_at(self, buffers: Sequence[ReadableBuffer], offset: int) -> None:
        """Write all buffers one after the other from ``offset``; OSError if not everything was written."""
        ...

    def sync(self) -> None:
        """Bring data and length to stable storage."""
        ...

    def truncate(self, size: int) -> None:
        """Cut, or lengthen with zeros, to ``size`` bytes."""
        ...

    def size(self) -> int:
        """The file's length in bytes."""
        ...

    def allocate(self, offset: int, length: int) -> None:
        """Make sure that storing into these bytes cannot meet a full disk; their contents stay."""
        ...

    def holds_data(self, offset: int) -> bool:
        """Whether this byte lies neither in a hole nor past the file's end."""
        ...

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Start and end of every stretch that is not a hole, in order."""
        ...

    def advise_random(self) -> None:
        """Reads come in no order: read nothing ahead."""
        ...

    def advise_forget(self, offset: int = 0, length: int = 0) -> None:
        """Drop clean pages from memory, so that the next reads come from the medium; 0 bytes mean all."""
        ...

    def lock(self, *, wait: bool = True) -> bool:
        """Take the exclusive lock on this open file, against other processes and other opens."""
        ...

    def unlock(self) -> None:
        """Give the lock back. It is also given back when the process ends, however it ends."""
        ...

    def map(self, length: int) -> Mapping:
        """Map the first ``length`` bytes, for reading and writing."""
        ...

    def identity(self) -> tuple[int, int]:
        """Which file this is, whatever its name: device and inode."""
        ...

    def close(self) -> None:
        """Release it; twice is no error."""
        ...


class Disk(Protocol):
    """A place for files."""

    def open(self, path: Path, *, create: bool = False) -> File:
        """Open for reading and writing; FileNotFoundError if it is not there and not to be created."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name of the same directory, replacing what had it; durable on return."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a name; none there is no error."""
        ...

    def identity(self, path: Path) -> tuple[int, int] | None:
        """Which file has this name now, or None."""
        ...

    def make_directory(self, path: Path) -> None:
        """Create a directory and its parents, durably; one there already is no error."""
        ...

    def names(self, directory: Path) -> list[str]:
        """The names in a directory, in no order."""
        ...

    def space(self, path: Path) -> tuple[int, int]:
        """Bytes free for this process, and bytes in all, of the file system that holds ``path``."""
        ...

    def incarnation(self) -> bytes:
        """Changes whenever memory may have been lost: mapped pages survive anything within one."""
        ...


class SystemMapping:
    """Memory shared through a file."""

    __slots__ = ("_memory", "words")

    def __init__(self, descriptor: int, length: int) -> None:
        self._memory = mmap.mmap(descriptor, length)
        self.words: Words = memoryview(self._memory).cast("Q")

    def flush(self, length: int = 0) -> None:
        """Bring the first ``length`` bytes (all if 0) to stable storage."""
        self._memory.flush(0, length or len(self._memory))


class SystemFile:
    """A file of the operating system; closed when forgotten, so readers need no reference counts."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: Path, *, create: bool) -> None:
        self._descriptor = -1
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        self._descriptor = os.open(path, flags, 0o644)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Release the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def read_into(self, buffer: WriteableBuffer, offset: int) -> int:
        """Fill ``buffer``, waiting for the disk."""
        read = os.preadv(self._descriptor, (buffer,), offset)
        view = memoryview(buffer)
        if read == view.nbytes:
            return read
        view = view.cast("B")
        while read < view.nbytes:
            more = os.preadv(self._descriptor, (view[read:],), offset + read)
            if more == 0:
                break
            read += more
        return read

    def read_cached_into(self, buffer: WriteableBuffer, offset: int) -> int:
        """Read with RWF_NOWAIT; a file system that does not know it counts as a miss."""
        try:
            return os.preadv(self._descriptor, (buffer,), offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
                return 0
            raise

    def write_at(self, buffers: Sequence[ReadableBuffer], offset: int) -> None:
        """Write everything; what a short write left is written again, which says why it was short."""
        for some, length in _portions(buffers):
            written = os.pwritev(self._descriptor, some, offset)
            while written < length:
                rest = _skip(some, written)
                more = os.pwritev(self._descriptor, rest, offset + written)
                if more == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                written += more
            offset += length

    def sync(self) -> None:
        """Data and length, but not the times: fdatasync."""
        os.fdatasync(self._descriptor)

    def truncate(self, size: int) -> None:
        """Set the length."""
        os.ftruncate(self._descriptor, size)

    def size(self) -> int:
        """The length."""
        return os.fstat(self._descriptor).st_size

    def allocate(self, offset: int, length: int) -> None:
        """Reserve blocks: a store into a hole of a mapped file on a full disk would be a SIGBUS."""
        os.posix_fallocate(self._descriptor, offset, length)

    def holds_data(self, offset: int) -> bool:
        """Ask SEEK_DATA."""
        try:
            return os.lseek(self._descriptor, offset, os.SEEK_DATA) == offset
        except OSError as error:
            if error.errno == errno.ENXIO:
                return False
            raise

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Walk with SEEK_DATA and SEEK_HOLE."""
        position = 0
        while True:
            try:
                start = os.lseek(self._descriptor, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                raise
            position = os.lseek(self._descriptor, start, os.SEEK_HOLE)
            yield start, position

    def advise_random(self) -> None:
        """Turn read-ahead off."""
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def advise_forget(self, offset: int = 0, length: int = 0) -> None:
        """Drop the page cache's clean pages of this file, or of a stretch of it."""
        os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)

    def lock(self, *, wait: bool = True) -> bool:
        """Take the flock; False if it is taken and ``wait`` is not set."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        """Give the flock back."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def map(self, length: int) -> SystemMapping:
        """Map shared."""
        return SystemMapping(self._descriptor, length)

    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino


class SystemDisk:
    """The machine's file systems."""

    def open(self, path: Path, *, create: bool = False) -> SystemFile:
        """Open, and create if asked to."""
        return SystemFile(path, create=create)

    def rename(self, source: Path, target: Path) -> None:
        """Rename, then sync the directory: a name is durable only when its directory is."""
        source.rename(target)
        sync_path(target.parent)

    def remove(self, path: Path) -> None:
        """Unlink; not synced, because a name that comes back after a power cut is removed again."""
        path.unlink(missing_ok=True)

    def identity(self, path: Path) -> tuple[int, int] | None:
        """Device and inode, or None."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def make_directory(self, path: Path) -> None:
        """Create it with its parents and sync each new name's directory."""
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in reversed(missing):
            sync_path(folder.parent)

    def names(self, directory: Path) -> list[str]:
        """What the directory holds."""
        return os.listdir(directory)  # noqa: PTH208 - names are wanted, not paths

    def space(self, path: Path) -> tuple[int, int]:
        """Free for this user, and total."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize

    def incarnation(self) -> bytes:
        """The kernel's boot id: the page cache lives as long as it."""
        return _BOOT_ID.read_bytes().strip()


def sync_path(path: Path) -> None:
    """Have a file, or the names in a directory, on stable storage."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _length(buffer: ReadableBuffer) -> int:
    return memoryview(buffer).nbytes


def _portions(buffers: Sequence[ReadableBuffer]) -> Iterator[tuple[Sequence[ReadableBuffer], int]]:
    """What one call may write, in order, each with its length."""
    lengths = list(map(_length, buffers))
    if (whole := sum(lengths)) <= BYTES_PER_WRITE_MAX and len(buffers) <= BUFFERS_PER_WRITE_MAX:
        yield buffers, whole
        return
    portion: list[ReadableBuffer] = []
    size = 0
    for buffer, length in zip(buffers, lengths, strict=True):
        view = memoryview(buffer).cast("B") if length else memoryview(b"")
        for start in range(0, length, BYTES_PER_WRITE_MAX):
            piece = view[start : start + BYTES_PER_WRITE_MAX]
            if size + len(piece) > BYTES_PER_WRITE_MAX or len(portion) == BUFFERS_PER_WRITE_MAX:
                yield portion, size
                portion, size = [], 0
            portion.append(piece)
            size += len(piece)
    if portion:
        yield portion, size


def _skip(buffers: Sequence[ReadableBuffer], count: int) -> list[ReadableBuffer]:
    """The buffers without their first ``count`` bytes."""
    rest: list[ReadableBuffer] = []
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        rest.append(view[min(count, view.nbytes) :])
        count -= min(count, view.nbytes)
    return rest
