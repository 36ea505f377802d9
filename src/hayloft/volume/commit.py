"""A group commit: many appends and deletions that share one write and one sync.

A ``Batch`` is planned against the index and the tail while the volume's lock is held; each operation
gets its outcome or its error on its own, and those that are refused leave no trace in the log. It does
no I/O and does not know when, or whether, it becomes durable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hayloft import needle as codec
from hayloft.errors import HayloftError, PhotoDeleted, StorageFull, UploadTooLarge, VolumeReadOnly
from hayloft.limits import VOLUME_SIZE_BYTES_LIMIT
from hayloft.needle import Kind, Record
from hayloft.types import Appended, NewNeedle, Sequence, sequence_of, volume_name
from hayloft.volume.index import DELETED, SEALED, Index, live, pack_entry
from hayloft.volume.recovery import Change
from hayloft.volume.superblock import SUPERBLOCK_BYTES, Superblock


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Append this needle."""

    needle: NewNeedle


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete all needles of this photo."""

    sequence: Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Take no photos any more."""


Operation: TypeAlias = Append | Delete | Seal
Outcome: TypeAlias = Appended | bool | HayloftError
"""Where an append went; whether a deletion or a sealing changed anything; or why it was refused."""


def encode(operation: Append, salt: int) -> Record:
    """An append's record.

    Raises:
        InvalidRequest, UploadTooLarge: it does not fit the format.
    """
    needle = operation.needle
    return codec.encode(
        salt=salt,
        sequence=sequence_of(needle.photo),
        cookie=needle.cookie,
        data=needle.data,
        alternate_key=needle.alternate_key,
        metadata=codec.encode_metadata(needle.metadata),
    )


class Batch:
    """Records in the order in which they will stand, and what they will do to the index."""

    def __init__(self, superblock: Superblock, index: Index, *, tail: int, room_bytes: int) -> None:
        self.start = self.end = tail
        self.records: list[tuple[Record, bytes]] = []
        self.changes: list[Change] = []
        self._superblock = superblock
        self._index = index
        self._room_bytes = room_bytes
        self._sealed = bool(index.words[SEALED])
        self._stored: dict[int, int] = {}
        """Entries as they will be when what is planned so far has been applied."""

    def plan_append(self, record: Record) -> Outcome:
        """Plan a photo's record, or say why not."""
        if refusal := self._refusal(record):
            return refusal
        slot = record.sequence * self._superblock.slots + record.alternate_key
        replaced = self._entry(slot)
        offset = self.end
        self._room_bytes -= record.size
        self._add(
            record,
            replaced=replaced if live(replaced) else 0,
            stores=((slot, pack_entry(offset, record.size)),),
            ended=(replaced,) if live(replaced) else (),
        )
        return Appended(offset=offset, size=record.data_size)

    def plan_delete(self, sequence: Sequence) -> bool:
        """Plan a tombstone for all of a photo's needles; False if it has none."""
        first = sequence * self._superblock.slots
        slots = range(first, first + self._superblock.slots)
        deleted = [(slot, entry) for slot in slots if live(entry := self._entry(slot))]
        if deleted:
            record = codec.encode_tombstone(salt=self._superblock.salt, sequence=sequence, deleted=deleted)
            self._add(
                record,
                stores=tuple((slot, DELETED) for slot, _entry in deleted),
                ended=tuple(entry for _slot, entry in deleted),
            )
        return bool(deleted)

    def plan_seal(self) -> bool:
        """Plan the record that ends a volume; False if it is sealed."""
        if self._sealed:
            return False
        self._sealed = True
        self._add(codec.encode_seal(salt=self._superblock.salt))
        return True

    def _refusal(self, record: Record) -> HayloftError | None:
        name = volume_name(self._superblock.volume)
        original = self._entry(record.sequence * self._superblock.slots)
        # A photo's renditions come after it and belong beside it: a volume that has become full with photos
        # takes them as long as its index can address them.
        belated = bool(record.alternate_key) and live(original)
        if self._sealed and not belated:
            return VolumeReadOnly(f"{name} is sealed.")
        size_max = VOLUME_SIZE_BYTES_LIMIT if belated else self._superblock.size_bytes_max
        if self.end + record.size > size_max:
            if SUPERBLOCK_BYTES + record.size > size_max:
                return UploadTooLarge(f"{name} could not hold this even if it were empty.")
            # Full is full: a smaller photo that would still fit is not worth an open volume.
            self.plan_seal()
            return VolumeReadOnly(f"{name} is full, and sealed now.")
        if record.size > self._room_bytes:
            return StorageFull("The disk has no room for this photo.")
        if record.alternate_key and original == DELETED:
            return PhotoDeleted("A deleted photo gets no renditions.")
        return None

    def _entry(self, slot: int) -> int:
        entry = self._stored.get(slot)
        return self._index.load(slot) if entry is None else entry

    def _add(
        self,
        record: Record,
        *,
        replaced: int = 0,
        stores: tuple[tuple[int, int], ...] = (),
        ended: tuple[int, ...] = (),
    ) -> None:
        self.records.append((record, record.footer(replaced=replaced, batch_offset=self.start)))
        self._stored.update(stores)
        self.changes.append(
            Change(
                offset=self.end,
                size=record.size,
                batch_offset=self.start,
                stores=stores,
                ended=ended,
                seals=record.kind == Kind.SEAL,
            )
        )
        self.end += record.size
