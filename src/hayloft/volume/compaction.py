"""Compaction: write a volume anew without what was deleted or replaced, while everybody goes on using it.

Copies without the lock, then catches up with what was appended meanwhile, and only for the last stretch
holds the lock: there it compares both indexes slot by slot, makes the new files durable, and switches
with one rename of the log. Until that rename the old files are untouched and after it the new ones are
complete, so a crash at any moment leaves one or the other; the leftovers are removed at the next
opening. Deletions are carried over, packed, so that they outlive even a lost index; damaged needles are
carried over as they are, so that they are still reported. It does not decide when compacting is worth it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from hayloft import limits
from hayloft import needle as codec
from hayloft.disk import DISK_FULL
from hayloft.errors import Conflict, NeedleCorrupt, StorageFull, VolumeCorrupt, VolumeReadOnly
from hayloft.needle import Kind, Needle, Record
from hayloft.types import CompactionReport, volume_name
from hayloft.volume import recovery
from hayloft.volume.current import CurrentFiles
from hayloft.volume.files import Generation, VolumeFiles
from hayloft.volume.index import (
    APPLIED,
    DELETED,
    LIVE,
    LIVE_BYTES,
    POISONED,
    RETIRED,
    SEALED,
    TAIL,
    Index,
    entry_offset,
    entry_size,
    live,
    pack_entry,
)
from hayloft.volume.log import Damage, Log
from hayloft.volume.recovery import Change
from hayloft.volume.superblock import SUPERBLOCK_BYTES, Superblock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BUFFER_BYTES_MAX: Final = 4 << 20
"""Records gathered for one write."""
CATCH_UP_BYTES: Final = 4 << 20
"""What may be left to copy when the lock is taken: about ten milliseconds' worth."""
CATCH_UP_ROUNDS_MAX: Final = 16
"""After so many rounds the writers are faster than the copy, and have to wait for it."""
TOMBSTONE_SLOTS_MAX: Final = 4096
"""Deleted slots packed into one tombstone."""

_Entries = npt.NDArray[np.uint64]


def compact(volume: CurrentFiles, *, reserve_bytes: int) -> CompactionReport:
    """Compact a volume; see ``roles.Store.compact``. So much room on the disk is left alone.

    Raises:
        Conflict: it is being compacted already, by this process or another one.
        StorageFull: the disk has no room for what stays.
        VolumeReadOnly: the volume is banned from writing.
        VolumeCorrupt: old and new files do not agree; the old ones stay.
        OSError: the disk refused; the old files stay.
    """
    files = volume.files
    lock = files.disk.open(files.compaction_lock_path, create=True)
    try:
        if not lock.lock(wait=False):
            raise Conflict(f"{volume_name(files.volume)} is being compacted already.")
        with volume.locked() as old:
            _check(files, old, reserve_bytes)
            start = old.index.words[TAIL]
        copy = _Copy(files, old)
        try:
            copy.copy_live(start)
            position = copy.catch_up(start)
            with volume.locked() as current:
                if current is not old or old.index.words[POISONED]:
                    raise Conflict(f"{volume_name(files.volume)} was changed while it was compacted.")
                return _switch(volume, copy, position)
        except BaseException:
            copy.discard()
            raise
    finally:
        lock.close()


def _check(files: VolumeFiles, old: Generation, reserve_bytes: int) -> None:
    if old.index.words[POISONED]:
        raise VolumeReadOnly(f"{volume_name(files.volume)} takes no writes.")
    if files.room_bytes() - reserve_bytes < old.index.words[LIVE_BYTES]:
        raise StorageFull("The disk has no room for a second copy of what stays.")


def _switch(volume: CurrentFiles, copy: _Copy, position: int) -> CompactionReport:
    """The last stretch. The lock is held."""
    old = copy.old
    copy.replay(position, old.index.words[TAIL])
    copy.reconcile()
    new = copy.finish(sealed=bool(old.index.words[SEALED]))
    # Readers that map the old index look up from it before the first append can go to the new log.
    old.index.words[RETIRED] = 1
    try:
        volume.files.disk.rename(volume.files.new_log, volume.files.log)
    except OSError:
        # Nobody knows which log a power cut would leave under the name: neither may grow.
        old.index.words[POISONED] = new.index.words[POISONED] = 1
        raise
    volume.generation = new
    volume.files.disk.remove(volume.files.index(old.log.superblock.generation))
    return CompactionReport(
        volume=volume.files.volume,
        size_bytes_before=old.index.words[TAIL],
        size_bytes_after=new.index.words[TAIL],
        needles=new.index.words[LIVE],
    )


class _Copy:
    """The new log and index while they grow."""

    def __init__(self, files: VolumeFiles, old: Generation) -> None:
        self.old = old
        self._files = files
        before = old.log.superblock
        superblock = Superblock.new(
            before.volume, size_bytes_max=before.size_bytes_max, generation=before.generation + 1
        )
        self._slots = superblock.slots
        self._log = Log.create(files.disk, files.new_log, superblock)
        self._index = Index.create(files.disk, files.index(superblock.generation), superblock)
        self._index.words[TAIL] = SUPERBLOCK_BYTES
        self._batch_offset = self._end = SUPERBLOCK_BYTES
        self._synced = SUPERBLOCK_BYTES
        self._buffers: list[ReadableBuffer] = []

    # Steps ---------------------------------------------------------------------------------------

    def copy_live(self, start: int) -> None:
        """Copy what is live and stands before ``start``; what changes meanwhile is caught up with later."""
        deleted, entries, slots = _snapshot(self.old.index, start)
        self._add_deletions(deleted)
        order = np.argsort(entries)
        reader = self.old.log.reader(start)
        for slot, entry in zip(slots[order].tolist(), entries[order].tolist(), strict=True):
            try:
                self._add_needle(reader.record(entry_offset(entry), entry_size(entry)))
            except NeedleCorrupt:
                self._add_damaged(slot, entry)

    def catch_up(self, position: int) -> int:
        """Replay what was appended since, until little is left; returns up to where."""
        for _round in range(CATCH_UP_ROUNDS_MAX):
            tail = self.old.index.words[TAIL]
            if tail - position <= CATCH_UP_BYTES:
                break
            self.replay(position, tail)
            position = tail
        return position

    def replay(self, start: int, end: int) -> None:
        """Apply a stretch of the old log; damage in it is left to ``reconcile``."""
        for found in self.old.log.walk(start, end):
            if isinstance(found, Damage):
                continue
            offset, needle = found
            if needle.kind == Kind.TOMBSTONE:
                self._add_deletions([slot for slot, _entry in needle.deleted])
            elif needle.kind == Kind.PHOTO:
                slot = needle.sequence * self._slots + needle.alternate_key
                # A needle that is dead by now is skipped: what ended it comes later in the log.
                if self.old.index.load(slot) == pack_entry(offset, needle.size):
                    self._add_needle(needle)

    def reconcile(self) -> None:
        """Compare both indexes slot by slot and bring over what the log could not tell.

        Raises:
            VolumeCorrupt: the new index has something that the old one has not.
        """
        for first, before in self.old.index.blocks():
            after = self._index.entries(first, len(before))
            for position in np.flatnonzero(_nature(before) != _nature(after)).tolist():
                slot, entry = first + position, int(before[position])
                if live(entry):
                    self._add_damaged(slot, entry)
                elif entry == DELETED:
                    self._add_deletions([slot])
                else:
                    raise VolumeCorrupt(f"Slot {slot} is in the compacted volume only.")
        if self._index.words[LIVE] != self.old.index.words[LIVE]:
            self._index.recount()
            self.old.index.recount()
        if self._index.words[LIVE] != self.old.index.words[LIVE]:
            raise VolumeCorrupt("The compacted volume has not as many needles as before.")

    def finish(self, *, sealed: bool) -> Generation:
        """Make the new files durable."""
        if sealed:
            self._add(codec.encode_seal(salt=self._log.superblock.salt), ())
        self._flush()
        self._log.file.sync()
        self._log.file.advise_random()
        words = self._index.words
        words[TAIL] = words[APPLIED] = self._end
        self._index.write_checkpoint()
        self._index.begin_session(self._files.disk)
        identities = (self._log.file.identity(), self._index.identity())
        return Generation(log=self._log, index=self._index, identities=identities)

    def discard(self) -> None:
        """Remove the new files, unless the switch had already happened."""
        disk, files = self._files.disk, self._files
        with contextlib.suppress(OSError):
            if disk.identity(files.log) != self._log.file.identity():
                disk.remove(files.new_log)
                disk.remove(files.index(self._log.superblock.generation))

    # Records -------------------------------------------------------------------------------------

    def _add_needle(self, needle: Needle) -> None:
        """Add a needle, its checksum made anew from this log's salt."""
        record = codec.adopt(needle, salt=self._log.superblock.salt)
        slot = needle.sequence * self._slots + needle.alternate_key
        self._add(record, ((slot, pack_entry(self._end, record.size)),))

    def _add_damaged(self, slot: int, entry: int) -> None:
        """Carry a damaged needle over byte for byte: it stays damaged, and is reported as such."""
        past_the_end = entry_offset(entry) + entry_size(entry) > self.old.index.words[TAIL]
        if self.old.index.load(slot) != entry or past_the_end:
            return
        buffer = bytearray(entry_size(entry))
        self.old.log.file.read_into(buffer, entry_offset(entry))
        self._append([buffer], len(buffer), ((slot, pack_entry(self._end, len(buffer))),))

    def _add_deletions(self, slots: list[int]) -> None:
        for first in range(0, len(slots), TOMBSTONE_SLOTS_MAX):
            some = slots[first : first + TOMBSTONE_SLOTS_MAX]
            ended = [(slot, entry if live(entry := self._index.load(slot)) else 0) for slot in some]
            sequence = some[0] // self._slots
            record = codec.encode_tombstone(
                salt=self._log.superblock.salt, sequence=sequence, deleted=ended
            )
            self._add(record, tuple((slot, DELETED) for slot in some))

    def _add(self, record: Record, stores: tuple[tuple[int, int], ...]) -> None:
        replaced = 0
        if record.kind == Kind.PHOTO and live(before := self._index.load(stores[0][0])):
            replaced = before
        footer = record.footer(replaced=replaced, batch_offset=self._batch_offset)
        seals = record.kind == Kind.SEAL
        self._append([*record.body, footer], record.size, stores, seals=seals)

    def _append(
        self,
        buffers: list[ReadableBuffer],
        size: int,
        stores: tuple[tuple[int, int], ...],
        *,
        seals: bool = False,
    ) -> None:
        ended = tuple(entry for slot, _new in stores if live(entry := self._index.load(slot)))
        change = Change(
            offset=self._end,
            size=size,
            batch_offset=self._batch_offset,
            stores=stores,
            ended=ended,
            seals=seals,
        )
        self._buffers += buffers
        self._end += size
        recovery.apply(self._index, change)
        if self._end - self._batch_offset >= BUFFER_BYTES_MAX:
            self._flush()

    def _flush(self) -> None:
        try:
            self._log.file.write_at(self._buffers, self._batch_offset)
            # Synced piece by piece, so that little is left to do while the lock is held.
            if self._end - self._synced >= limits.CHECKPOINT_INTERVAL_BYTES:
                self._log.file.sync()
                self._synced = self._end
        except OSError as failure:
            if failure.errno in DISK_FULL:
                raise StorageFull("The disk has no room for a second copy of what stays.") from failure
            raise
        self._buffers = []
        self._batch_offset = self._end


def _snapshot(index: Index, start: int) -> tuple[list[int], _Entries, npt.NDArray[np.int64]]:
    """Deleted slots, then the entries before ``start`` with their slots."""
    deleted: list[int] = []
    entries: list[_Entries] = [np.empty(0, np.uint64)]
    slots: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    for first, block in index.blocks():
        deleted += (np.flatnonzero(block == DELETED) + first).tolist()
        wanted = np.flatnonzero((block > DELETED) & (block < np.uint64(pack_entry(start, 0))))
        entries.append(block[wanted])
        slots.append(wanted + first)
    return deleted, np.concatenate(entries), np.concatenate(slots)


def _nature(entries: _Entries) -> _Entries:
    """What must be the same before and after: absent, deleted, or live with this size."""
    return np.where(entries > DELETED, entries & np.uint64(0xFFFF_FFFF), entries)
