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

from hayloft import limits
from hayloft.disk import DISK_FULL, Disk
from hayloft.errors import (
    HayloftError,
    NeedleCorrupt,
    PhotoDeleted,
    PhotoNotFound,
    StorageFull,
    VolumeCorrupt,
    VolumeNotFound,
    VolumeReadOnly,
)
from hayloft.needle import Needle, Record
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
from hayloft.volume import compaction, recovery, verification
from hayloft.volume.commit import Append, Batch, Delete, Operation, Outcome, Seal, encode
from hayloft.volume.files import Generation, VolumeFiles
from hayloft.volume.index import (
    APPLIED,
    CHECKPOINTED,
    DELETED,
    LIVE,
    LIVE_BYTES,
    POISONED,
    RETIRED,
    SEALED,
    TAIL,
    entry_offset,
    entry_size,
    live,
)


class Volume:
    """An open volume."""

    def __init__(self, files: VolumeFiles, generation: Generation, *, reserve_bytes: int) -> None:
        self.number = files.volume
        self.files = files
        self.generation = generation
        self._directory = files.log.parent
        self.reserve_bytes = reserve_bytes
        self.corrupt = 0
        """Reads since it was opened that met a damaged needle."""

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

    # Reading -------------------------------------------------------------------------------------

    def read_cached(self, sequence: Sequence, alternate_key: AlternateKey) -> Needle | None:
        """A needle, if it takes no waiting; None means that ``read`` has to be asked.

        Raises:
            PhotoNotFound, PhotoDeleted, NeedleCorrupt: as ``read``.
        """
        generation = self.generation
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
        needle = self._read(self.generation, sequence, alternate_key, wait=True)
        assert needle is not None, "a read that waits returns or raises"
        return needle

    def exists(self, sequence: Sequence, alternate_key: AlternateKey) -> Existence | None:
        """What the index says, without waiting; None if ``follow_compaction`` has to be called first."""
        index = self.generation.index
        if index.words[RETIRED]:
            return None
        entry = index.load(sequence * self.generation.log.superblock.slots + alternate_key)
        if not live(entry):
            return Existence(exists=False, deleted=entry == DELETED)
        return Existence(exists=True, offset=entry_offset(entry), size=entry_size(entry))

    def follow_compaction(self) -> None:
        """Change over to the files that a compaction, here or in another process, has put in place."""
        if self.generation.index.words[RETIRED]:
            with _refusals(self.number), self.locked():
                pass

    def state(self) -> VolumeState:
        """The volume as it is now."""
        self.follow_compaction()
        words = self.generation.index.words
        return VolumeState(
            volume=self.number,
            needles=words[LIVE],
            size_bytes=words[TAIL],
            sealed=bool(words[SEALED]),
            corrupt=self.corrupt,
        )

    def verify(self) -> VolumeReport:
        """Read everything from the disk and compare it with the index.

        Raises:
            VolumeCorrupt: the disk cannot be read.
        """
        self.follow_compaction()
        try:
            checked, damaged = verification.verify(self.generation)
        except OSError as failure:
            raise VolumeCorrupt(f"{volume_name(self.number)} cannot be read: {failure}.") from failure
        return VolumeReport(state=self.state(), checked=checked, damaged=damaged)

    @property
    def live_bytes(self) -> int:
        """Bytes of the records that a compaction would keep."""
        return self.generation.index.words[LIVE_BYTES]

    # Writing -------------------------------------------------------------------------------------

    def commit(self, operations: Sequences[Operation]) -> list[Outcome]:
        """Carry out all operations in one write and one sync; durable on return.

        Every operation has an outcome of its own: a refusal of one does not touch the others.
        """
        encoded = self._encode(operations)
        try:
            with _refusals(self.number), self.locked() as generation:
                if generation.index.words[POISONED]:
                    raise self._banned()
                encoded = self._encode(operations, encoded)
                return self._commit(generation, operations, encoded)
        except HayloftError as refusal:
            return [refusal] * len(operations)

    def checkpoint(self) -> None:
        """Write down how much of the log the index on disk knows, so that the next opening reads less."""
        with _refusals(self.number), self.locked() as generation:
            words = generation.index.words
            if words[CHECKPOINTED] != words[APPLIED] and not words[POISONED]:
                self._checkpoint(generation)

    def compact(self) -> CompactionReport:
        """Reclaim the space of deleted and replaced needles; see ``compaction.py``.

        Raises:
            Conflict, StorageFull, VolumeReadOnly, VolumeCorrupt: it was not done; nothing has changed.
        """
        with _refusals(self.number):
            return compaction.compact(self)

    def rebuild_index(self) -> None:
        """Make the index anew from the log, for when verification says that it is wrong.

        Writes wait meanwhile, reads go on; takes as long as reading the log does.

        Raises:
            StorageFull, VolumeReadOnly: the disk refused; the old index stays.
        """
        with _refusals(self.number), self.locked() as generation:
            self.files.rebuild_index(generation.log)
            generation.index.words[RETIRED] = 1
            self.generation = self.files.open()

    @contextmanager
    def locked(self) -> Iterator[Generation]:
        """Hold the volume's lock over its current files, mended if somebody died holding it."""
        files = self.files
        with files.locked():
            generation = self.generation
            if not files.current(generation):
                # A process that died while it switched may not have told: tell all that map the old index.
                generation.index.words[RETIRED] = 1
                self.generation = generation = files.open()
            else:
                generation.index.words[RETIRED] = 0
                if not generation.index.words[POISONED]:
                    recovery.resume(generation.log, generation.index)
            yield generation

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
                raise NeedleCorrupt("The index points past the end of the log.")
            needle = log.read(offset, size, wait=wait)
            if needle is not None and (
                needle.sequence != sequence or needle.alternate_key != alternate_key or needle.kind
            ):
                raise NeedleCorrupt("The index points at another needle.")
        except (NeedleCorrupt, OSError) as damage:
            raise self._corrupt(sequence, alternate_key, damage) from damage
        return needle

    def _encode(self, operations: Sequences[Operation], before: _Encoded | None = None) -> _Encoded:
        """Encode appends before the lock is taken; again only if a compaction changed the salt since."""
        salt = self.generation.log.superblock.salt
        if before is not None and before.salt == salt:
            return before
        return _Encoded(salt, operations)

    def _commit(
        self, generation: Generation, operations: Sequences[Operation], encoded: _Encoded
    ) -> list[Outcome]:
        batch, outcomes = self._plan(generation, operations, encoded)
        try:
            self._write(generation, batch)
        except OSError as failure:
            if failure.errno not in DISK_FULL:
                raise
            full = StorageFull("The disk is full.")
            full.__cause__ = failure
            # Deletions are small, and what makes room again: they get a second chance without the photos.
            smaller: list[Operation] = [each for each in operations if not isinstance(each, Append)]
            if not smaller or len(smaller) == len(operations):
                return [full] * len(operations)
            rest = iter(self._commit(generation, smaller, _Encoded(encoded.salt, smaller)))
            return [full if isinstance(each, Append) else next(rest) for each in operations]
        if generation.index.words[TAIL] - generation.index.words[CHECKPOINTED] >= (
            limits.CHECKPOINT_INTERVAL_BYTES
        ):
            self._checkpoint(generation)
        return outcomes

    def _plan(
        self, generation: Generation, operations: Sequences[Operation], encoded: _Encoded
    ) -> tuple[Batch, list[Outcome]]:
        index = generation.index
        free, _total = self.files.disk.space(self._directory)
        batch = Batch(
            generation.log.superblock,
            index,
            tail=index.words[TAIL],
            room_bytes=free - self.reserve_bytes,
        )
        outcomes: list[Outcome] = []
        for operation, record in zip(operations, encoded.records, strict=True):
            match operation, record:
                case Delete(sequence=sequence), _:
                    outcomes.append(batch.plan_delete(sequence))
                case Seal(), _:
                    outcomes.append(batch.plan_seal())
                case _, Record():
                    outcomes.append(batch.plan_append(record))
                case _, HayloftError():
                    outcomes.append(record)
        return batch, outcomes

    def _write(self, generation: Generation, batch: Batch) -> None:
        """Write, sync, publish; in this order, and never further than what has succeeded."""
        if not batch.records:
            return
        log, index = generation.log, generation.index
        try:
            # Room in the index first: once the log is durable, publishing must not fail.
            index.reserve(slot for change in batch.changes for slot, _entry in change.stores)
            log.write(batch.start, batch.records)
        except OSError as failure:
            self._roll_back(generation, batch, banned=failure.errno not in DISK_FULL)
            raise
        try:
            log.file.sync()
        except OSError as failure:
            self._roll_back(generation, batch, banned=True)
            raise self._banned() from failure
        index.words[TAIL] = batch.end
        for change in batch.changes:
            recovery.apply(index, change)
        index.words[APPLIED] = batch.end

    def _roll_back(self, generation: Generation, batch: Batch, *, banned: bool) -> None:
        """Cut off what was written, durably: what is refused now must not appear after a power cut."""
        if banned:
            self._ban(generation)
        try:
            recovery.settle(generation.log, generation.index, batch.start)
        except OSError:
            self._ban(generation)

    def _checkpoint(self, generation: Generation) -> None:
        try:
            generation.index.write_checkpoint()
        except OSError as failure:
            # What the index on disk knows is unknown now: the next opening starts from the last checkpoint.
            generation.index.end_session()
            self._ban(generation)
            raise self._banned() from failure

    def _ban(self, generation: Generation) -> None:
        generation.index.words[POISONED] = 1

    def _banned(self) -> VolumeReadOnly:
        return VolumeReadOnly(
            f"{volume_name(self.number)} takes no writes: its disk failed to store some. "
            "It is verified when it is opened next."
        )

    def _absence(self, entry: int, sequence: Sequence) -> HayloftError:
        kind = PhotoDeleted if entry == DELETED else PhotoNotFound
        return kind(photo_id=photo_id(self.number, sequence))

    def _corrupt(self, sequence: Sequence, alternate_key: AlternateKey, damage: Exception) -> NeedleCorrupt:
        self.corrupt += 1
        photo = photo_id(self.number, sequence)
        return NeedleCorrupt(str(damage), photo_id=photo, alt_key=AlternateKey(alternate_key).label)


class _Encoded:
    """The operations' records, and the salt that they were made with; None where there is none yet."""

    def __init__(self, salt: int, operations: Sequences[Operation]) -> None:
        self.salt = salt
        self.records = [_record(each, salt) for each in operations]


@contextmanager
def _refusals(volume: VolumeId) -> Iterator[None]:
    """Turn what the disk says into what the caller can do about it."""
    try:
        yield
    except OSError as failure:
        if failure.errno in DISK_FULL:
            raise StorageFull("The disk is full.") from failure
        raise VolumeReadOnly(f"{volume_name(volume)} takes no writes: {failure}.") from failure


def _record(operation: Operation, salt: int) -> Record | HayloftError | None:
    if not isinstance(operation, Append):
        return None
    try:
        return encode(operation, salt)
    except HayloftError as refusal:
        return refusal
