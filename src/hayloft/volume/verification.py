"""Verification: read a whole volume from its disk and compare it with its index.

Walks the log in order and asks of every record whether the index agrees with it; if the index holds more
than the walk met, everything that it points at is read one by one. Takes no lock and little memory; what
is appended meanwhile is left for the next time. It reports, and mends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from hayloft.errors import NeedleCorrupt
from hayloft.needle import Kind, Needle
from hayloft.types import AlternateKey, PhotoId, Sequence, photo_id
from hayloft.volume.files import Generation
from hayloft.volume.index import DELETED, TAIL, entry_offset, entry_size, pack_entry
from hayloft.volume.log import Damage, Log
from hayloft.volume.superblock import SUPERBLOCK_BYTES

Finding: TypeAlias = tuple[PhotoId, AlternateKey, str]


def verify(generation: Generation) -> tuple[int, tuple[Finding, ...]]:
    """Read everything; returns how many live needles are whole, and what is wrong.

    Raises:
        OSError: the disk refused.
    """
    tail = generation.index.words[TAIL]
    checked = 0
    findings: list[Finding] = []
    for found in generation.log.walk(SUPERBLOCK_BYTES, tail):
        if isinstance(found, Damage):
            continue
        offset, needle = found
        if needle.kind == Kind.PHOTO:
            slot = needle.sequence * generation.log.superblock.slots + needle.alternate_key
            entry = generation.index.load(slot)
            checked += entry == pack_entry(offset, needle.size)
            if entry != DELETED and entry_offset(entry) < offset:
                findings.append(_finding(generation, slot, "The index has lost this needle."))
        else:
            findings += _lost_deletions(generation, offset, needle)
    if sum(1 for _each in _expected(generation, tail)) != checked:
        findings += _unreadable(generation, tail)
    return checked, tuple(findings)


def live_entries(generation: Generation) -> Iterator[tuple[int, int]]:
    """Every slot that holds a needle, with its entry, in slot order."""
    for first, entries in generation.index.blocks():
        for position in np.flatnonzero(entries > DELETED).tolist():
            yield first + position, int(entries[position])


def fault(log: Log, slot: int, entry: int, *, tail: int) -> str | None:
    """What is wrong with the needle that an entry points at, in a sentence; None if nothing is."""
    if entry_offset(entry) + entry_size(entry) > tail:
        return "The index points past the end of the log."
    try:
        needle = log.read(entry_offset(entry), entry_size(entry), wait=True)
    except NeedleCorrupt as damage:
        return damage.message
    assert needle is not None, "a read that waits returns or raises"
    if needle.kind or needle.sequence * log.superblock.slots + needle.alternate_key != slot:
        return "The index points at another needle."
    return None


def _lost_deletions(generation: Generation, offset: int, needle: Needle) -> Iterator[Finding]:
    for slot, _entry in needle.deleted if needle.kind == Kind.TOMBSTONE else ():
        entry = generation.index.load(slot)
        if entry != DELETED and entry_offset(entry) < offset:
            yield _finding(generation, slot, "The index has lost this needle's deletion.")


def _expected(generation: Generation, tail: int) -> Iterator[tuple[int, int]]:
    """Live entries without those appended since; what the log does not reach even now was not appended."""
    for slot, entry in live_entries(generation):
        if not tail <= entry_offset(entry) < generation.index.words[TAIL]:
            yield slot, entry


def _unreadable(generation: Generation, tail: int) -> Iterator[Finding]:
    for slot, entry in _expected(generation, tail):
        sentence = fault(generation.log, slot, entry, tail=generation.index.words[TAIL])
        if sentence and generation.index.load(slot) == entry:
            yield _finding(generation, slot, sentence)


def _finding(generation: Generation, slot: int, sentence: str) -> Finding:
    superblock = generation.log.superblock
    sequence, key = divmod(slot, superblock.slots)
    return photo_id(superblock.volume, Sequence(sequence)), AlternateKey(key), sentence
