"""One physical volume: reads that take one disk operation, writes that are durable or never happened.

Synchronous, safe for any number of threads and processes. Reads take no lock. Writes come as group
commits under an exclusive inter-process lock: planned at the shared tail, written, synced, and only then
published in the index. A write that fails is cut off again; a sync that fails bans the volume from
writing, because after it nobody knows what the medium holds. It knows no event loop, and nothing of
photos beyond their needles.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Sequences
from contextlib import contextmanager
from pathlib import Path

from hayloft.disk import DISK_FULL, Disk
from hayloft.errors import (
    Conflict,
    HayloftError,
    NeedleCorrupt,
    PhotoDeleted,
    PhotoNotFound,
    StorageFull,
    VolumeCorrupt,
    VolumeNotFound,
    VolumeReadOnly,
)
from hayloft.needle import Needle
from hayloft.types import (
    AlternateKey,
    CompactionReport,
    Existence,
    Sequence,
    VolumeId,
    VolumeReport,
    VolumeState,
    photo_id,
    volume_name,
)
from hayloft.volume import compaction, verification, writing
from hayloft.volume.commit import Operation, Outcome
from hayloft.volume.current import CurrentFiles
from hayloft.volume.files import Generation, VolumeFiles
from hayloft.volume.index import (
    DELETED,
    LIVE,
    LIVE_BYTES,
    RETIRED,
    SEALED,
    TAIL,
    entry_offset,
    entry_size,
    live,
)
from hayloft.volume.inventory import Inventory
from hayloft.volume.writing import Encoded


class Volume:
    """An open volume."""

    def __init__(self, files: VolumeFiles, generation: Generation, *, reserve_bytes: int) -> None:
        self.number = files.volume
        self.current = CurrentFiles(files, generation)
        self.reserve_bytes = reserve_bytes
        self.corrupt = 0
        """Reads since it was opened that met a damaged needle."""
        self._inventory: Inventory | None = None

    @classmethod
    def open(
        cls,
        disk: Disk,
        directory: Path,
        volume: VolumeId,
        *,
        create_size_bytes_max: int | None = None,
        reserve_bytes: int = 0,
    ) -> Volume:
        """Open a volume, and create it first if a size is given at which a new one is to be sealed.

        Takes time independent of the number of needles.

        Raises:
            VolumeNotFound: it is not there and not to be created.
            FormatTooNew, VolumeCorrupt: it cannot be used.
            StorageFull: the disk has no room for a new volume.
        """
        files = VolumeFiles(disk, directory, volume)
        if create_size_bytes_max is None and not files.exist():
            raise VolumeNotFound(f"There is no {volume_name(volume)} here.")
        with _refusals(volume), files.locked():
            if create_size_bytes_max is not None:
                files.create(create_size_bytes_max)
            return cls(files, files.open(), reserve_bytes=reserve_bytes)

    @staticmethod
    def set_aside(disk: Disk, directory: Path, volume: VolumeId) -> None:
        """Give the log of a volume that cannot be opened another name, so that one can be made anew.

        Raises:
            VolumeNotFound: it is not there.
            Conflict: it can be opened.
            FormatTooNew: a newer Hayloft can open it.
        """
        files = VolumeFiles(disk, directory, volume)
        with _refusals(volume), files.locked():
            try:
                files.open()
            except VolumeCorrupt:
                files.set_aside()
            else:
                raise Conflict(f"{volume_name(volume)} can be opened.")

    # Reading -------------------------------------------------------------------------------------

    def read_cached(self, sequence: Sequence, alternate_key: AlternateKey) -> Needle | None:
        """A needle, if it takes no waiting; None means that ``read`` has to be asked.

        Raises:
            PhotoNotFound, PhotoDeleted, NeedleCorrupt: as ``read``.
        """
        generation = self.current.generation
        if generation.index.words[RETIRED]:
            return None
        return self._read(generation, sequence, alternate_key, wait=False)

    def read(self, sequence: Sequence, alternate_key: AlternateKey) -> Needle:
        """A needle, read with one disk operation and verified.

        Raises:
            PhotoNotFound: no such needle.
            PhotoDeleted: it was deleted.
            NeedleCorrupt: the bytes on disk are not those that were written, or cannot be read.
        """
        self.follow_compaction()
        needle = self._read(self.current.generation, sequence, alternate_key, wait=True)
        assert needle is not None, "a read that waits returns or raises"
        return needle

    def exists(self, sequence: Sequence, alternate_key: AlternateKey) -> Existence | None:
        """What the index says, without waiting; None if ``follow_compaction`` has to be called first."""
        generation = self.current.generation
        index = generation.index
        if index.words[RETIRED]:
            return None
        entry = index.load(sequence * generation.log.superblock.slots + alternate_key)
        if not live(entry):
            return Existence(exists=False, deleted=entry == DELETED)
        return Existence(exists=True, offset=entry_offset(entry), size=entry_size(entry))

    def follow_compaction(self) -> None:
        """Change over to the files that a compaction, here or in another process, has put in place."""
        if self.current.generation.index.words[RETIRED]:
            with _refusals(self.number), self.current.locked():
                pass

    def state(self) -> VolumeState:
        """The volume as it is now."""
        self.follow_compaction()
        words = self.current.generation.index.words
        return VolumeState(
            volume=self.number,
            needles=words[LIVE],
            size_bytes=words[TAIL],
            sealed=bool(words[SEALED]),
            corrupt=self.corrupt,
            live_bytes=words[LIVE_BYTES],
        )

    def verify(self) -> VolumeReport:
        """Read everything from the disk and compare it with the index.

        Raises:
            VolumeCorrupt: the disk cannot be read.
        """
        self.follow_compaction()
        try:
            checked, damaged = verification.verify(self.current.generation)
        except OSError as failure:
            raise VolumeCorrupt(f"{volume_name(self.number)} cannot be read: {failure}.") from failure
        return VolumeReport(state=self.state(), checked=checked, damaged=damaged)

    @property
    def live_bytes(self) -> int:
        """Bytes of the records that a compaction would keep."""
        return self.current.generation.index.words[LIVE_BYTES]

    def inventory(self) -> Inventory:
        """What the volume holds, for comparing it with other replicas; see ``inventory.py``."""
        self.follow_compaction()
        generation = self.current.generation
        if self._inventory is None or self._inventory.generation is not generation:
            self._inventory = Inventory(generation)
        return self._inventory

    # Writing -------------------------------------------------------------------------------------

    def commit(self, operations: Sequences[Operation]) -> list[Outcome]:
        """Carry out all operations in one write and one sync; durable on return.

        Every operation has an outcome of its own: a refusal of one does not touch the others.
        """
        encoded = Encoded(operations, self.current.generation.log.superblock.salt)
        try:
            with _refusals(self.number), self.current.locked() as generation:
                salt = generation.log.superblock.salt
                if salt != encoded.salt:  # A compaction came in between.
                    encoded = Encoded(operations, salt)
                room_bytes = self.current.files.room_bytes() - self.reserve_bytes
                return writing.commit(generation, encoded, room_bytes=room_bytes)
        except HayloftError as refusal:
            return [refusal] * len(operations)

    def checkpoint(self) -> None:
        """Write down how much of the log the index on disk knows, so that the next opening reads less.

        Raises:
            StorageFull, VolumeReadOnly: the disk refused; the next opening reads more.
        """
        with _refusals(self.number), self.current.locked() as generation:
            writing.checkpoint(generation)

    def compact(self) -> CompactionReport:
        """Reclaim the space of deleted and replaced needles; see ``compaction.py``.

        Raises:
            Conflict, StorageFull, VolumeReadOnly, VolumeCorrupt: it was not done; nothing has changed.
        """
        with _refusals(self.number):
            return compaction.compact(self.current, reserve_bytes=self.reserve_bytes)

    def rebuild_index(self) -> None:
        """Make the index anew from the log, for when verification says that it is wrong.

        Writes wait meanwhile, reads go on; takes as long as reading the log does.

        Raises:
            StorageFull, VolumeReadOnly: the disk refused; the old index stays.
        """
        files = self.current.files
        with _refusals(self.number), self.current.locked() as generation:
            files.rebuild_index(generation.log)
            generation.index.words[RETIRED] = 1
            self.current.generation = files.open()

    def _read(
        self, generation: Generation, sequence: Sequence, alternate_key: AlternateKey, *, wait: bool
    ) -> Needle | None:
        index, log = generation.index, generation.log
        entry = index.load(sequence * log.superblock.slots + alternate_key)
        if entry <= DELETED:
            raise self._absence(entry, sequence)
        offset, size = (entry >> 32) << 3, entry & 0xFFFF_FFFF
        try:
            # A damaged index must not make anybody ask for gigabytes.
            if offset + size > index.words[TAIL]:
                # Another processor may show the entry before the tail; a thread looks again.
                if not wait:
                    return None
                raise NeedleCorrupt("The index points past the end of the log.")
            needle = log.read(offset, size, wait=wait)
            if needle is not None and (
                needle.sequence != sequence or needle.alternate_key != alternate_key or needle.kind
            ):
                raise NeedleCorrupt("The index points at another needle.")
        except (NeedleCorrupt, OSError) as damage:
            raise self._corrupt(sequence, alternate_key, damage) from damage
        return needle

    def _absence(self, entry: int, sequence: Sequence) -> HayloftError:
        kind = PhotoDeleted if entry == DELETED else PhotoNotFound
        return kind(photo_id=photo_id(self.number, sequence))

    def _corrupt(self, sequence: Sequence, alternate_key: AlternateKey, damage: Exception) -> NeedleCorrupt:
        self.corrupt += 1
        photo = photo_id(self.number, sequence)
        return NeedleCorrupt(str(damage), photo_id=photo, alt_key=AlternateKey(alternate_key).label)


@contextmanager
def _refusals(volume: VolumeId) -> Iterator[None]:
    """Turn what the disk says into what the caller can do about it."""
    try:
        yield
    except OSError as failure:
        if failure.errno in DISK_FULL:
            raise StorageFull("The disk is full.") from failure
        raise VolumeReadOnly(f"{volume_name(volume)} takes no writes: {failure}.") from failure
