"""What a volume holds, told so that two replicas can be compared: listing, digest, export.

Every needle has a checksum of its body (header, data, metadata), which is the same on every replica,
whatever their logs' salts and offsets. It is learnt by reading and verifying the record, and remembered by
the entry that pointed at it: an entry means the same bytes for as long as its log lives. So the first
digest after an opening reads the volume, and later ones only what was appended since. A needle that cannot
be read counts as damaged and is not remembered. Takes no lock; tells of one moment for each range of
sequence numbers. It does not know what other replicas hold.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hayloft.errors import NeedleCorrupt
from hayloft.needle import Bytes, Needle
from hayloft.types import (
    RANGE_SEQUENCES,
    AlternateKey,
    NeedleEntry,
    NeedleKey,
    RangeDigest,
    Scrutiny,
    Sequence,
    VolumeDigest,
    photo_id,
    sequence_of,
)
from hayloft.volume.export import export
from hayloft.volume.files import Generation
from hayloft.volume.index import DELETED, PAGE_BYTES, TAIL, Index, entry_offset, entry_size, live
from hayloft.volume.log import Log, Window

DAMAGED: Final = 1 << 32
"""In place of a checksum: the needle cannot be read."""
_DELETED_MARK: Final = 2 << 32
"""In a digest, in place of a checksum: the needle was deleted."""

_Words: TypeAlias = npt.NDArray[np.uint64]
_Slots: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The entries of one range of sequence numbers that are not absent."""

    number: int
    slots: _Slots
    entries: _Words


class Inventory:
    """What is known of one log's needles beyond its index. Safe for any number of threads."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self._known: dict[int, tuple[_Words, _Words]] = {}
        """By range: entries in ascending order, and their needles' checksums."""
        self._lock = threading.Lock()

    # Answers -------------------------------------------------------------------------------------

    def digest(self, scrutiny: Scrutiny = Scrutiny.KNOWN) -> VolumeDigest:
        """The whole volume, in short; looking at the index alone, sizes stand for checksums."""
        whole = hashlib.blake2b(digest_size=16)
        ranges: list[RangeDigest] = []
        needles = live_bytes = deleted = damaged = 0
        for stretch in stretches(self.generation.index, self._slots):
            alive = stretch.entries > DELETED
            checksums = self._checksums(stretch, alive, scrutiny)
            self._forget_others(stretch)
            needles += int(alive.sum())
            live_bytes += int((stretch.entries[alive] & np.uint64(0xFFFF_FFFF)).sum(dtype=np.uint64))
            deleted += int((~alive).sum())
            damaged += int((checksums == DAMAGED).sum())
            found = _digest(stretch, checksums, self._slots)
            whole.update(stretch.number.to_bytes(8, "little") + found)
            first = Sequence(stretch.number * RANGE_SEQUENCES)
            ranges.append(RangeDigest(first=first, digest=found.hex()))
        return VolumeDigest(
            volume=self.generation.log.superblock.volume,
            needles=needles,
            live_bytes=live_bytes,
            deleted=deleted,
            damaged=damaged,
            digest=whole.hexdigest(),
            ranges=tuple(ranges),
        )

    def needles(
        self, *, after: NeedleKey | None, limit: int, scrutiny: Scrutiny
    ) -> tuple[NeedleEntry, ...]:
        """So many needles past ``after``.

        Raises:
            VolumeCorrupt: the medium was to be read from the start, and the log's superblock is damaged.
        """
        if scrutiny is Scrutiny.MEDIUM and after is None:
            self.generation.log.check_superblock()
        start = 0 if after is None else self._slot(after) + 1
        found: list[NeedleEntry] = []
        for stretch in stretches(self.generation.index, self._slots, start):
            wanted = Stretch(
                number=stretch.number,
                slots=stretch.slots[: limit - len(found)],
                entries=stretch.entries[: limit - len(found)],
            )
            found += self._entries(wanted, scrutiny)
            if len(found) == limit:
                break
        return tuple(found)

    def export(self, keys: Iterable[NeedleKey]) -> Bytes:
        """The records of these needles, in the order in which they stand in the log."""
        exported = export(self.generation, map(self._slot, keys))
        learnt: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for slot, entry, checksum in exported.learnt:
            learnt[slot // (RANGE_SEQUENCES * self._slots)].append((entry, checksum))
        for number, pairs in learnt.items():
            words = np.array(pairs, np.uint64)
            self._remember(number, words[:, 0], words[:, 1])
        return exported.records

    # Within --------------------------------------------------------------------------------------

    @property
    def _slots(self) -> int:
        return self.generation.log.superblock.slots

    def _slot(self, key: NeedleKey) -> int:
        return sequence_of(key.photo) * self._slots + key.alternate_key

    def _entries(self, stretch: Stretch, scrutiny: Scrutiny) -> Iterator[NeedleEntry]:
        alive = stretch.entries > DELETED
        checksums = self._checksums(stretch, alive, scrutiny)
        volume = self.generation.log.superblock.volume
        listed = zip(stretch.slots.tolist(), stretch.entries.tolist(), checksums.tolist(), strict=True)
        for slot, entry, checksum in listed:
            sequence, key = divmod(slot, self._slots)
            told = live(entry) and scrutiny is not Scrutiny.INDEX
            yield NeedleEntry(
                key=NeedleKey(photo_id(volume, Sequence(sequence)), AlternateKey(key)),
                size=entry_size(entry) if live(entry) else 0,
                checksum=checksum if told and checksum != DAMAGED else None,
                deleted=not live(entry),
                damaged=told and checksum == DAMAGED,
            )

    def _checksums(self, stretch: Stretch, alive: npt.NDArray[np.bool_], scrutiny: Scrutiny) -> _Words:
        """Of every entry: its needle's checksum, or ``DAMAGED``, or the mark of a deletion.

        By the index alone, a needle's size stands for its checksum.
        """
        if scrutiny is Scrutiny.INDEX:
            return np.where(alive, stretch.entries & np.uint64(0xFFFF_FFFF), np.uint64(_DELETED_MARK))
        checksums = np.full(len(stretch.entries), _DELETED_MARK, np.uint64)
        entries, checksums_known = self._known.get(stretch.number, _NOTHING)
        places = np.searchsorted(entries, stretch.entries)
        places[places == len(entries)] = 0
        known = alive & (entries[places] == stretch.entries) if len(entries) else np.zeros_like(alive)
        if scrutiny is Scrutiny.MEDIUM:
            known[:] = False
        checksums[known] = checksums_known[places[known]] if known.any() else 0
        unknown = np.flatnonzero(alive & ~known)
        unknown = unknown[np.argsort(stretch.entries[unknown])]
        if scrutiny is Scrutiny.MEDIUM:
            self._forget_pages(stretch.entries[unknown].tolist())
        self._read_checksums(stretch, unknown.tolist(), checksums)
        self._remember(stretch.number, stretch.entries[unknown], checksums[unknown])
        return checksums

    def _forget_pages(self, entries: list[int]) -> None:
        """Before anything is read: a window reads ahead, and would find the next needles in memory."""
        for entry in entries:
            first = entry_offset(entry) // PAGE_BYTES * PAGE_BYTES
            end = entry_offset(entry) + entry_size(entry)
            length = -(-(end - first) // PAGE_BYTES) * PAGE_BYTES
            self.generation.log.file.advise_forget(first, length)

    def _read_checksums(self, stretch: Stretch, places: list[int], checksums: _Words) -> None:
        """Read the needles at these places, which are in the order of the log."""
        window = self._window()
        for place in places:
            needle = self._read(window, int(stretch.slots[place]), int(stretch.entries[place]))
            checksums[place] = DAMAGED if needle is None else needle.body_checksum

    def _remember(self, number: int, entries: _Words, checksums: _Words) -> None:
        if not len(entries):
            return
        with self._lock:
            before, before_checksums = self._known.get(number, _NOTHING)
            # What was read now stands first, and is what ``unique`` keeps.
            entries, first = np.unique(np.concatenate((entries, before)), return_index=True)
            checksums = np.concatenate((checksums, before_checksums))[first]
            whole = checksums != DAMAGED
            self._known[number] = (entries[whole], checksums[whole])

    def _forget_others(self, stretch: Stretch) -> None:
        """Keep nothing of this range that its index does not have any more."""
        with self._lock:
            entries, checksums = self._known.get(stretch.number, _NOTHING)
            if len(entries) > len(stretch.entries):
                current = np.isin(entries, stretch.entries)
                self._known[stretch.number] = (entries[current], checksums[current])

    def _window(self) -> Window:
        return self.generation.log.reader(self.generation.index.words[TAIL])

    def _read(self, window: Window, slot: int, entry: int) -> Needle | None:
        return read_needle(self.generation.log, window, slot, entry)


_NOTHING: Final = (np.empty(0, np.uint64), np.empty(0, np.uint64))


def read_needle(log: Log, window: Window, slot: int, entry: int) -> Needle | None:
    """The needle that belongs in a slot, if that is what its entry points at and it is whole."""
    try:
        needle = window.record(entry_offset(entry), entry_size(entry))
    except (NeedleCorrupt, OSError):
        return None
    is_it = not needle.kind and needle.sequence * log.superblock.slots + needle.alternate_key == slot
    return needle if is_it else None


def stretches(index: Index, slots_per_sequence: int, start_slot: int = 0) -> Iterator[Stretch]:
    """Everything in an index from a slot on, one range of sequence numbers after the other."""
    pending: Stretch | None = None
    for first, block in index.blocks(start_slot):
        places = np.flatnonzero(block)
        slots = places + first
        numbers = slots // (RANGE_SEQUENCES * slots_per_sequence)
        for some in np.split(np.arange(len(slots)), np.flatnonzero(np.diff(numbers)) + 1):
            if not len(some):
                continue
            found = Stretch(number=int(numbers[some[0]]), slots=slots[some], entries=block[places[some]])
            if pending is not None and pending.number == found.number:
                found = _joined(pending, found)
            elif pending is not None:
                yield pending
            pending = found
    if pending is not None:
        yield pending


def _joined(one: Stretch, other: Stretch) -> Stretch:
    return Stretch(
        number=one.number,
        slots=np.concatenate((one.slots, other.slots)),
        entries=np.concatenate((one.entries, other.entries)),
    )


def _digest(stretch: Stretch, checksums: _Words, slots_per_sequence: int) -> bytes:
    """Over every slot, as sequence and alternate key, with what it holds."""
    sequences, keys = np.divmod(stretch.slots, slots_per_sequence)
    rows = np.stack(((sequences << 8 | keys).astype("<u8"), checksums.astype("<u8")), axis=1)
    return hashlib.blake2b(rows.tobytes(), digest_size=16).digest()
