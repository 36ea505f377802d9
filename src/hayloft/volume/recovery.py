"""What happens when a volume is opened, or its lock taken after somebody died holding it.

Two questions are answered from the log, never from hope. *Where does it end?* Within one incarnation of
memory the shared tail says so, and bytes past it belong to a commit whose process died before it could
acknowledge: they are cut off. After a power cut the log is read from the last checkpoint on; the first
record that is not whole ends it, unless a later group commit, or the tail that reached the disk, proves
that it had once been durable: then it is damage to be reported, not a torn write, and nothing behind it
is given up. *What does the index lack?* Everything from the checkpoint on is applied again, in order, so
that deletions and replacements come out as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

from hayloft.needle import Kind, Needle
from hayloft.volume.index import (
    APPLIED,
    DELETED,
    LIVE,
    LIVE_BYTES,
    SEALED,
    TAIL,
    Index,
    entry_size,
    live,
    pack_entry,
)
from hayloft.volume.log import Damage, Log


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one record does to the index, reduced to numbers so that no buffer is kept alive."""

    offset: int
    size: int
    batch_offset: int
    stores: tuple[tuple[int, int], ...]
    """Slots and their new entries."""
    ended: tuple[int, ...]
    """Live entries that this record took the place of."""
    seals: bool = False


def change_of(offset: int, needle: Needle, slots: int) -> Change:
    """What this record does to an index with so many slots per sequence."""
    if needle.kind == Kind.TOMBSTONE:
        deleted = needle.deleted
        stores = tuple((slot, DELETED) for slot, _entry in deleted)
        ended = tuple(entry for _slot, entry in deleted if live(entry))
    elif needle.kind == Kind.SEAL:
        stores, ended = (), ()
    else:
        slot = needle.sequence * slots + needle.alternate_key
        stores = ((slot, pack_entry(offset, needle.size)),)
        ended = (needle.replaced,) if live(needle.replaced) else ()
    return Change(
        offset=offset,
        size=needle.size,
        batch_offset=needle.batch_offset,
        stores=stores,
        ended=ended,
        seals=needle.kind == Kind.SEAL,
    )


def apply(index: Index, change: Change) -> None:
    """Make the index know a durable record."""
    index.reserve(slot for slot, _entry in change.stores)
    for slot, entry in change.stores:
        index.store(slot, entry)
    words = index.words
    born = [entry for _slot, entry in change.stores if live(entry)]
    words[LIVE] = max(0, words[LIVE] + len(born) - len(change.ended))
    gained = sum(map(entry_size, born)) - sum(map(entry_size, change.ended))
    words[LIVE_BYTES] = max(0, words[LIVE_BYTES] + gained)
    if change.seals:
        words[SEALED] = 1


def replay(log: Log, index: Index, *, start: int, end: int, acknowledged: int) -> int:
    """Apply the log from ``start`` on; returns where it ends.

    ``acknowledged`` is an offset up to which the log is known to have been durable. Damage beyond it
    ends the log, unless a record follows whose group commit began after the damage: commits are
    strictly one after the other, so the damaged one had been complete.
    """
    slots = log.superblock.slots
    position = start
    doubtful: list[Change] = []
    damaged_at: int | None = None
    for found in log.walk(start, end):
        if isinstance(found, Damage):
            if found.offset >= acknowledged and damaged_at is None:
                damaged_at = found.offset
            elif damaged_at is None:
                position = min(found.end, acknowledged) if found.end == end else found.end
            continue
        change = change_of(*found, slots)
        if damaged_at is not None:
            doubtful.append(change)
            if change.batch_offset <= damaged_at:
                continue
            damaged_at = None
        for certain in doubtful or [change]:
            apply(index, certain)
        doubtful.clear()
        position = change.offset + change.size
    return position


def recover(log: Log, index: Index) -> None:
    """Bring a log and its index to a state from which both can go on, after memory was lost.

    Raises:
        OSError: the disk refused.
    """
    words = index.words
    mark = index.checkpoint()
    assert mark is not None, "an index without a checkpoint is rebuilt instead"
    acknowledged = max(mark.offset, words[TAIL])
    words[SEALED] = mark.sealed
    words[LIVE], words[LIVE_BYTES] = mark.live, mark.live_bytes
    end = replay(log, index, start=mark.offset, end=log.file.size(), acknowledged=acknowledged)
    settle(log, index, end)
    index.write_checkpoint()


def settle(log: Log, index: Index, end: int) -> None:
    """Cut the log off at ``end``, durably, and make that the tail."""
    if log.file.size() != end:
        log.file.truncate(end)
    log.file.sync()
    index.words[TAIL] = end
    index.words[APPLIED] = end


def resume(log: Log, index: Index) -> None:
    """Mend what a process left that died while it held the lock; nothing to do if none did."""
    words = index.words
    tail = words[TAIL]
    if words[APPLIED] != tail:
        replay(log, index, start=words[APPLIED], end=tail, acknowledged=tail)
        index.recount()
        words[APPLIED] = tail
    if log.file.size() != tail:
        settle(log, index, tail)
