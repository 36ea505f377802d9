"""Needles on their way out of a log: read run by run into one piece of memory, verified and packed there.

Needles that stand side by side in the log are read at once. Each is verified where it came to lie, and its
footer replaced by one that travels (``transfer.py``), so that the memory read into is what is sent. Only
leaving out a damaged one takes a copy. Takes no lock. It does not know who asked, nor why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from hayloft import limits
from hayloft import needle as codec
from hayloft.errors import NeedleCorrupt
from hayloft.needle import Bytes
from hayloft.recycled import transfers
from hayloft.volume import transfer
from hayloft.volume.files import Generation
from hayloft.volume.index import DELETED, TAIL, entry_offset, entry_size, live
from hayloft.volume.log import Log


class Learnt(NamedTuple):
    """A needle that was verified."""

    slot: int
    entry: int
    checksum: int
    """CRC-32C of its body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was read."""

    records: Bytes
    """Deletions, then needles in the order in which they stand in the log."""
    learnt: tuple[Learnt, ...]


class _Place(NamedTuple):
    """One needle: where it belongs, what the index says, and where in memory its record comes to lie."""

    slot: int
    entry: int
    start: int
    end: int


def export(generation: Generation, slots: Iterable[int]) -> Exported:
    """The records of these slots; needles past ``limits.TRANSFER_BYTES`` only if they are the first."""
    log, index = generation.log, generation.index
    entries = sorted((index.load(slot), slot) for slot in set(slots))
    deleted = [divmod(slot, log.superblock.slots) for entry, slot in entries if entry == DELETED]
    deletions = b"".join(transfer.pack_deletion(*one) for one in deleted)
    live_entries = ((slot, entry) for entry, slot in entries if live(entry))
    places = list(_places(live_entries, len(deletions), tail=index.words[TAIL]))
    memory = transfers.take(places[-1].end if places else len(deletions))
    memory[: len(deletions)] = deletions
    whole = [
        (place, checksum)
        for place in _read(log, places, memory)
        if (checksum := _pack(log, place, memory[place.start : place.end])) is not None
    ]
    records: Bytes = memory
    if len(whole) < len(places):
        records = deletions + b"".join(memory[place.start : place.end] for place, _checksum in whole)
    learnt = tuple(Learnt(place.slot, place.entry, checksum) for place, checksum in whole)
    return Exported(records=records, learnt=learnt)


def _places(entries: Iterable[tuple[int, int]], start: int, *, tail: int) -> Iterator[_Place]:
    """Where the records come to lie, one after the other, in the order of the log."""
    size = 0
    for slot, entry in entries:
        # A damaged index must not make anybody ask for gigabytes.
        if entry_size(entry) > limits.TRANSFER_BYTES_MAX or entry_offset(entry) + entry_size(entry) > tail:
            continue
        if size and size + entry_size(entry) > limits.TRANSFER_BYTES:
            return
        yield _Place(slot, entry, start + size, start + size + entry_size(entry))
        size += entry_size(entry)


def _read(log: Log, places: list[_Place], memory: memoryview) -> Iterator[_Place]:
    """Read what stands side by side at once; yields what could be read."""
    for run in _runs(places):
        if _read_at(log, entry_offset(run[0].entry), memory[run[0].start : run[-1].end]):
            yield from run
        else:
            # One bad sector must not take the others with it.
            for place in run:
                if _read_at(log, entry_offset(place.entry), memory[place.start : place.end]):
                    yield place


def _runs(places: list[_Place]) -> Iterator[list[_Place]]:
    """Groups of needles without a gap between them."""
    run = places[:1]
    for before, place in pairwise(places):
        if entry_offset(before.entry) + entry_size(before.entry) != entry_offset(place.entry):
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def _read_at(log: Log, offset: int, memory: memoryview) -> bool:
    try:
        return log.file.read_into(memory, offset) == memory.nbytes
    except OSError:
        return False


def _pack(log: Log, place: _Place, record: memoryview) -> int | None:
    """Verify a record and make it one that travels; its body's checksum, or None if it is damaged."""
    try:
        needle = codec.decode(record, record.nbytes, salt=log.superblock.salt)
    except NeedleCorrupt:
        return None
    if needle.kind or needle.sequence * log.superblock.slots + needle.alternate_key != place.slot:
        return None
    return transfer.pack(needle, record)
