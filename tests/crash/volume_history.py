"""A volume's life on a CrashDisk, written down: what was asked for when, and when it was acknowledged.

``check`` opens the volume on what a disaster left and holds it against DESIGN's volume rules.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hayloft.errors import HayloftError, PhotoDeleted, PhotoNotFound, VolumeNotFound
from hayloft.testing.crash_disk import CrashDisk
from hayloft.types import (
    AlternateKey,
    Appended,
    Cookie,
    NeedleMetadata,
    NewNeedle,
    Sequence,
    VolumeId,
    photo_id,
)
from hayloft.volume import Append, Delete, Operation, Seal, Volume

ROOT = Path("/store")
VOLUME = VolumeId(7)
SIZE_MAX = 1 << 20
Slot = tuple[int, AlternateKey]
ABSENT, DELETED = "absent", "deleted"
State = bytes | str


@dataclass
class Commit:
    """Operations that were asked for together."""

    began: int
    operations: list[Operation]
    ended: int | None = None
    acknowledged: int | None = None
    accepted: list[bool] = field(default_factory=list)

    def apply(self, state: dict[Slot, State], *, everything: bool) -> Iterator[tuple[Slot, State]]:
        """Change the state as the operations do, one step after the other."""
        for slot, value in self._effects(state, everything=everything):
            state[slot] = value
            yield slot, value

    def _effects(self, state: dict[Slot, State], *, everything: bool) -> Iterator[tuple[Slot, State]]:
        for number, operation in enumerate(self.operations):
            if everything and self.accepted and not self.accepted[number]:
                continue
            if isinstance(operation, Append):
                needle = operation.needle
                yield (needle.photo & 0xFFFFFFFF, needle.alternate_key), bytes(needle.data)
            elif isinstance(operation, Delete):
                for key in AlternateKey:
                    slot = (int(operation.sequence), key)
                    if isinstance(state.get(slot, ABSENT), bytes):
                        yield slot, DELETED


class History:
    """Runs a workload and remembers it."""

    def __init__(self, disk: CrashDisk | None = None, seed: int = 0) -> None:
        self.disk = disk or CrashDisk()
        self.chance = random.Random(seed)
        self.commits: list[Commit] = []
        self.sealed_at: int | None = None
        self.volume = open_volume(self.disk, create=True)

    def commit(self, *operations: Operation) -> list[object]:
        commit = Commit(began=self.disk.moment, operations=list(operations))
        self.commits.append(commit)
        outcomes = self.volume.commit(operations)
        commit.ended = self.disk.moment
        commit.accepted = [not isinstance(outcome, HayloftError) for outcome in outcomes]
        if any(commit.accepted):
            commit.acknowledged = self.disk.moment
        for operation, outcome in zip(operations, outcomes, strict=True):
            if isinstance(operation, Append) and not isinstance(outcome, HayloftError):
                assert isinstance(outcome, Appended)
        return list(outcomes)

    def photo(
        self, sequence: int, size: int | None = None, key: AlternateKey = AlternateKey.ORIG
    ) -> Append:
        size = self.chance.choice([0, 1, 100, 600, 1500]) if size is None else size
        return Append(
            needle=NewNeedle(
                photo=photo_id(VOLUME, Sequence(sequence)),
                cookie=Cookie(sequence + 1),
                data=self.chance.randbytes(size),
                alternate_key=key,
                metadata=NeedleMetadata(name=f"{sequence}.jpg", media_type="image/jpeg"),
            )
        )

    def acceptable(self, moment: int) -> dict[Slot, set[State]]:
        """What every slot may read as, if the disaster came right after this moment."""
        state: dict[Slot, State] = {}
        options: dict[Slot, set[State]] = {}
        for commit in self.commits:
            if commit.acknowledged is not None and commit.acknowledged <= moment:
                list(commit.apply(state, everything=True))
            elif commit.began < moment and (commit.ended is None or moment < commit.ended):
                # In flight: each operation may have happened or not, but none by half.
                for slot, value in commit.apply(dict(state), everything=False):
                    options.setdefault(slot, {state.get(slot, ABSENT)}).add(value)
                break
        slots = {slot for commit in self.commits for slot, _ in commit.apply({}, everything=False)}
        return {slot: options.get(slot, {state.get(slot, ABSENT)}) for slot in slots}


def open_volume(disk: CrashDisk, *, create: bool = False) -> Volume:
    return Volume.open(disk, ROOT, VOLUME, create_size_bytes_max=SIZE_MAX if create else None)


def read(volume: Volume, slot: Slot) -> State:
    try:
        return bytes(volume.read(Sequence(slot[0]), slot[1]).data)
    except PhotoNotFound:
        return ABSENT
    except PhotoDeleted:
        return DELETED


def read_all(volume: Volume, slots: Iterator[Slot] | dict[Slot, set[State]]) -> dict[Slot, State]:
    return {slot: read(volume, slot) for slot in slots}


def check(history: History, disk: CrashDisk, moment: int) -> dict[Slot, State]:
    """Open what a disaster left, and hold it against the rules; returns what was found."""
    acceptable = history.acceptable(moment)
    try:
        volume = open_volume(disk)
    except VolumeNotFound:
        assert not any(each.acknowledged and each.acknowledged <= moment for each in history.commits)
        return {}
    found = read_all(volume, acceptable)
    for slot, state in found.items():
        assert state in acceptable[slot], (
            f"after moment {moment}, {slot} reads {state[:20]!r}, "
            f"not one of {[option[:20] for option in acceptable[slot]]}"
        )
    report = volume.verify()
    assert report.damaged == ()
    assert report.checked == report.state.needles == sum(isinstance(each, bytes) for each in found.values())
    return found


__all__ = ["Delete", "History", "Seal", "check", "open_volume", "read", "read_all"]
