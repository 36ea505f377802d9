"""A group commit: many appends and deletions that share one write and one sync.

A ``Batch`` is planned against the index and the tail while the volume's lock is held; each operation
gets its outcome or its error on its own, and those that are refused leave no trace in the log. It does
no I/O and does not know when, or whether, it becomes durable.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Sequences
from dataclasses import dataclass
from typing import TypeAlias

from hayloft import needle as codec
from hayloft.errors import (
    HayloftError,
    NeedleCorrupt,
    PhotoDeleted,
    StorageFull,
    UploadTooLarge,
    VolumeReadOnly,
)
from hayloft.limits import VOLUME_SIZE_BYTES_LIMIT
from hayloft.needle import Kind, Needle, Record
from hayloft.types import Appended, Imported, NewNeedle, Sequence, sequence_of, volume_name
from hayloft.volume.index import DELETED, SEALED, Index, entry_offset, live, pack_entry
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """Take over what another replica exported."""

    needles: Sequences[Needle]
    """As ``transfer.unpack`` verified them; they are written from the memory in which they lie."""


Operation: TypeAlias = Append | Delete | Seal | Import
Outcome: TypeAlias = Appended | Imported | bool | HayloftError
"""What an append or an import did; whether a deletion or a sealing changed anything; or why not."""

Read: TypeAlias = Callable[[int, int], Needle | None]
"""The needle that belongs in a slot and at which its entry points, or None if it is damaged."""


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


def encode_import(operation: Import, salt: int) -> list[tuple[Needle, Record | None]]:
    """What travelled, each needle with its record in this log; a deletion's depends on the index."""
    return [
        (needle, None if needle.kind == Kind.TOMBSTONE else codec.adopt(needle, salt=salt))
        for needle in operation.needles
    ]


class Batch:
    """Records in the order in which they will stand, and what they will do to the index."""

    def __init__(
        self, superblock: Superblock, index: Index, read: Read, *, tail: int, room_bytes: int
    ) -> None:
        self.start = self.end = tail
        self.records: list[tuple[Record, bytes]] = []
        self.changes: list[Change] = []
        self._superblock = superblock
        self._index = index
        self._read = read
        self._room_bytes = room_bytes
        self._sealed = bool(index.words[SEALED])
        self._stored: dict[int, int] = {}
        """Entries as they will be when what is planned so far has been applied."""

    def plan_append(self, record: Record) -> Outcome:
        """Plan a photo's record, or say why not."""
        if refusal := self._refusal(record):
            return refusal
        return Appended(offset=self._add_photo(record), size=record.data_size)

    def plan_delete(self, sequence: Sequence) -> bool:
        """Plan a tombstone for all of a photo's needles; False if it has none."""
        first = sequence * self._superblock.slots
        slots = range(first, first + self._superblock.slots)
        deleted = [slot for slot in slots if live(self._entry(slot))]
        if deleted:
            self._add_deletion(sequence, deleted)
        return bool(deleted)

    def plan_import(self, needles: list[tuple[Needle, Record | None]]) -> Outcome:
        """Plan what of another replica's needles is missing here, all of it, or say why not."""
        wanted = [(needle, record) for needle, record in needles if self._is_wanted(needle)]
        size = sum(record.size for _needle, record in wanted if record is not None)
        if size and size > self._room_bytes:
            return StorageFull("The disk has no room for these needles.")
        if size and self.end + size > VOLUME_SIZE_BYTES_LIMIT:
            return StorageFull("The index cannot address so long a volume.")
        # Deletions first: a tombstone wins over whatever comes with it.
        deletions = [needle for needle, record in wanted if record is None]
        for needle in deletions:
            self._add_deletion(needle.sequence, [self._slot(needle)])
        photos = [
            record for needle, record in wanted if record and self._entry(self._slot(needle)) != DELETED
        ]
        for record in photos:
            self._add_photo(record)
        done = len(deletions) + len(photos)
        return Imported(stored=len(photos), deleted=len(deletions), kept=len(needles) - done)

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

    def _is_wanted(self, needle: Needle) -> bool:
        entry = self._entry(self._slot(needle))
        if entry == DELETED or needle.kind == Kind.TOMBSTONE:
            return entry != DELETED
        if self._entry(needle.sequence * self._superblock.slots) == DELETED:
            return False
        if live(entry) and entry_offset(entry) >= self.start:
            # Somebody appends it in this very commit: that is newer than anything that travelled.
            return False
        if not live(entry) or (here := self._read(self._slot(needle), entry)) is None:
            return True
        return _age(needle) > _age(here)

    def _slot(self, needle: Needle) -> int:
        return needle.sequence * self._superblock.slots + needle.alternate_key

    def _entry(self, slot: int) -> int:
        entry = self._stored.get(slot)
        return self._index.load(slot) if entry is None else entry

    def _add_photo(self, record: Record) -> int:
        """Add a photo's record; returns where it will stand."""
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
        return offset

    def _add_deletion(self, sequence: int, slots: list[int]) -> None:
        """Add a tombstone for slots of one photo, live ones or such as never were."""
        deleted = [(slot, entry if live(entry := self._entry(slot)) else 0) for slot in slots]
        self._add(
            codec.encode_tombstone(salt=self._superblock.salt, sequence=sequence, deleted=deleted),
            stores=tuple((slot, DELETED) for slot in slots),
            ended=tuple(entry for _slot, entry in deleted if entry),
        )

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


def _age(needle: Needle) -> tuple[int, int]:
    """What decides between two whole needles of one slot, on every replica alike: the larger one stays."""
    try:
        created_at_ms = needle.metadata.created_at_ms
    except NeedleCorrupt:
        # Metadata that make no sense were written so, and say nothing of time.
        created_at_ms = 0
    return created_at_ms, needle.body_checksum
