"""A group commit carried out: planned, written, synced, published; never further than what succeeded.

Everything here happens under the volume's lock. A write that fails is cut off again, durably. A sync that
fails bans the volume from writing, because after it nobody knows what the medium holds, and asking again
would only be told that all is well. It does not know how the lock is taken, nor which files are current.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from hayloft import limits
from hayloft.disk import DISK_FULL
from hayloft.errors import HayloftError, StorageFull, VolumeReadOnly
from hayloft.needle import Needle, Record
from hayloft.types import volume_name
from hayloft.volume import recovery
from hayloft.volume.commit import (
    Append,
    Batch,
    Delete,
    Import,
    Operation,
    Outcome,
    Seal,
    encode,
    encode_import,
)
from hayloft.volume.files import Generation
from hayloft.volume.index import APPLIED, CHECKPOINTED, POISONED, TAIL
from hayloft.volume.inventory import read_needle


class Encoded:
    """Operations with the records of the appends among them, made with one log's salt."""

    def __init__(self, operations: Sequence[Operation], salt: int) -> None:
        self.operations = operations
        self.salt = salt
        self.records = [_record(operation, salt) for operation in operations]


def commit(generation: Generation, encoded: Encoded, *, room_bytes: int) -> list[Outcome]:
    """Carry out all operations in one write and one sync; photos may take so many bytes.

    Raises:
        VolumeReadOnly: the volume is banned from writing, or is so from now on.
        OSError: the disk refused; nothing was done.
    """
    if generation.index.words[POISONED]:
        raise _banned(generation)
    batch, outcomes = _plan(generation, encoded, room_bytes)
    try:
        _write(generation, batch)
    except OSError as failure:
        if failure.errno not in DISK_FULL:
            raise
        return _without_photos(generation, encoded, failure)
    words = generation.index.words
    if words[TAIL] - words[CHECKPOINTED] >= limits.CHECKPOINT_INTERVAL_BYTES:
        # What was committed stays committed if this fails; the ban then meets the next one.
        with suppress(VolumeReadOnly):
            checkpoint(generation)
    return outcomes


def checkpoint(generation: Generation) -> None:
    """Write down how much of the log the index on disk knows, if it is more than before.

    Raises:
        VolumeReadOnly: the index could not be synced; the volume is banned from writing.
    """
    index = generation.index
    if index.words[CHECKPOINTED] == index.words[APPLIED] or index.words[POISONED]:
        return
    try:
        index.write_checkpoint()
    except OSError as failure:
        # What the index on disk knows is unknown now: the next opening starts from the last checkpoint.
        index.end_session()
        index.words[POISONED] = 1
        raise _banned(generation) from failure


def _plan(generation: Generation, encoded: Encoded, room_bytes: int) -> tuple[Batch, list[Outcome]]:
    index = generation.index
    window = generation.log.reader(index.words[TAIL])
    read = partial(read_needle, generation.log, window)
    batch = Batch(generation.log.superblock, index, read, tail=index.words[TAIL], room_bytes=room_bytes)
    outcomes: list[Outcome] = []
    for operation, record in zip(encoded.operations, encoded.records, strict=True):
        match operation, record:
            case Delete(sequence=sequence), _:
                outcomes.append(batch.plan_delete(sequence))
            case Seal(), _:
                outcomes.append(batch.plan_seal())
            case _, Record():
                outcomes.append(batch.plan_append(record))
            case _, list():
                outcomes.append(batch.plan_import(record))
            case _, HayloftError():
                outcomes.append(record)
    return batch, outcomes


def _write(generation: Generation, batch: Batch) -> None:
    if not batch.records:
        return
    log, index = generation.log, generation.index
    try:
        # Room in the index first: once the log is durable, publishing must not fail.
        index.reserve(slot for change in batch.changes for slot, _entry in change.stores)
        log.write(batch.start, batch.records)
    except OSError as failure:
        _roll_back(generation, batch, banned=failure.errno not in DISK_FULL)
        raise
    try:
        log.file.sync()
    except OSError as failure:
        _roll_back(generation, batch, banned=True)
        raise _banned(generation) from failure
    index.words[TAIL] = batch.end
    for change in batch.changes:
        recovery.apply(index, change)
    index.words[APPLIED] = batch.end


def _roll_back(generation: Generation, batch: Batch, *, banned: bool) -> None:
    """Cut off what was written, durably: what is refused now must not appear after a power cut."""
    if banned:
        generation.index.words[POISONED] = 1
    try:
        recovery.settle(generation.log, generation.index, batch.start)
    except OSError:
        generation.index.words[POISONED] = 1


def _without_photos(generation: Generation, encoded: Encoded, failure: OSError) -> list[Outcome]:
    """Deletions are small, and what makes room again: they get a second chance without the photos."""
    full = StorageFull("The disk is full.")
    full.__cause__ = failure
    rest = [operation for operation in encoded.operations if not isinstance(operation, Append | Import)]
    if not rest or len(rest) == len(encoded.operations):
        return [full] * len(encoded.operations)
    outcomes = iter(commit(generation, Encoded(rest, encoded.salt), room_bytes=0))
    return [full if isinstance(each, Append | Import) else next(outcomes) for each in encoded.operations]


def _record(
    operation: Operation, salt: int
) -> Record | list[tuple[Needle, Record | None]] | HayloftError | None:
    try:
        match operation:
            case Append():
                return encode(operation, salt)
            case Import():
                return encode_import(operation, salt)
            case _:
                return None
    except HayloftError as refusal:
        return refusal


def _banned(generation: Generation) -> VolumeReadOnly:
    return VolumeReadOnly(
        f"{volume_name(generation.log.superblock.volume)} takes no writes: its disk failed to store some. "
        "It is verified when it is opened next."
    )
