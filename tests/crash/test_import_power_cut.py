"""The power is cut, or the process killed, after every single write of an import.

An import is all there or not there at all, whatever it found: missing needles, damaged ones, older ones,
tombstones. Nothing that was acknowledged before is lost by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from crash.volume_history import ROOT, SIZE_MAX, VOLUME, Delete, History, Seal, open_volume, read
from hayloft.errors import HayloftError, NeedleCorrupt, StorageFull, VolumeReadOnly
from hayloft.needle import Bytes
from hayloft.testing.crash_disk import CrashDisk
from hayloft.types import AlternateKey, Imported, NeedleKey, Sequence, photo_id
from hayloft.volume import Import, Volume, transfer

ORIG, THUMB = AlternateKey.ORIG, AlternateKey.THUMB
SLOTS = [(sequence, key) for sequence in range(12) for key in (ORIG, THUMB)]
LOG = ROOT / f"lv-{VOLUME}.log"


def records(*, seed: int = 1) -> tuple[Bytes, Volume]:
    """What another replica exports: photos, a thumbnail, two deletions."""
    history = History(seed=seed)
    for sequence in (0, 1, 2, 3, 4, 7):
        history.commit(history.photo(sequence, 300 + sequence))
    history.commit(history.photo(1, 50, THUMB), Delete(sequence=Sequence(3)), Delete(sequence=Sequence(7)))
    keys = [NeedleKey(photo_id(VOLUME, Sequence(sequence)), key) for sequence, key in SLOTS]
    return history.volume.inventory().export(keys), history.volume


@dataclass
class Target:
    """A replica that has some, one of it damaged, and imports."""

    disk: CrashDisk
    volume: Volume
    before: dict[tuple[int, AlternateKey], object]
    began: int


def look(volume: Volume) -> dict[tuple[int, AlternateKey], object]:
    found: dict[tuple[int, AlternateKey], object] = {}
    for slot in SLOTS:
        try:
            found[slot] = read(volume, slot)
        except NeedleCorrupt:
            found[slot] = "damaged"
    return found


def target(*, sealed: bool = False, capacity_bytes: int = 1 << 30) -> Target:
    """It has needles of its own, a copy of 0 that is damaged, and had 4 deleted."""
    incoming, _source = records()
    history = History(CrashDisk(capacity_bytes=capacity_bytes), seed=2)
    history.commit(history.photo(9, 400), history.photo(10, 100))
    history.volume.commit([Import(needles=transfer.unpack(incoming))])
    history.commit(Delete(sequence=Sequence(4)))
    if sealed:
        history.commit(Seal())
    place = history.volume.exists(Sequence(0), ORIG)
    assert place is not None
    history.disk.corrupt(LOG, place.offset + 100)
    return Target(
        disk=history.disk, volume=history.volume, before=look(history.volume), began=history.disk.moment
    )


def fresh(*, sealed: bool = False) -> tuple[Target, Bytes]:
    """A target with the import still to come, in which most is missing."""
    incoming, _source = records()
    history = History(seed=2)
    history.commit(history.photo(9, 400), history.photo(2, 700), history.photo(3, 60), history.photo(4, 10))
    history.commit(Delete(sequence=Sequence(4)))
    if sealed:
        history.commit(Seal())
    # The index on the medium knows it: only so is a needle damaged after a power cut, and not absent.
    history.volume.checkpoint()
    place = history.volume.exists(Sequence(2), ORIG)
    assert place is not None
    history.disk.corrupt(LOG, place.offset + 200)
    made = Target(
        disk=history.disk, volume=history.volume, before=look(history.volume), began=history.disk.moment
    )
    return made, incoming


@pytest.mark.parametrize("sealed", [False, True])
def test_an_import_is_all_there_or_not_at_all(sealed: bool) -> None:
    made, incoming = fresh(sealed=sealed)
    (outcome,) = made.volume.commit([Import(needles=transfer.unpack(incoming))])
    assert outcome == Imported(stored=4, deleted=2, kept=1)
    after = look(made.volume)
    assert after != made.before
    _source_volume = records()[1]
    for slot in [(0, ORIG), (1, ORIG), (1, THUMB), (2, ORIG)]:
        assert after[slot] == read(_source_volume, slot)
    assert after[3, ORIG] == after[4, ORIG] == after[7, ORIG] == "deleted"
    assert after[9, ORIG] == made.before[9, ORIG]
    for moment in range(made.began, made.disk.moment + 1):
        for seed, survival in enumerate(("nothing", "everything", "anything", "anything")):
            disk = made.disk.after_power_cut(moment, seed=seed, survival=survival)  # type: ignore[arg-type]
            found = look(open_volume(disk))
            for slot in SLOTS:
                assert found[slot] in (made.before[slot], after[slot])
            if moment == made.disk.moment:
                assert found == after
        found = look(open_volume(made.disk.after_kill(moment)))
        assert found in (made.before, after)
        if moment == made.disk.moment:
            assert found == after


def test_an_index_lost_after_an_import_is_made_anew() -> None:
    made, incoming = fresh()
    made.volume.commit([Import(needles=transfer.unpack(incoming))])
    after = look(made.volume)
    disk = made.disk.after_power_cut(made.disk.moment, seed=1)
    for name in [name for name in disk.names(ROOT) if name.endswith(".index")]:
        disk.remove(ROOT / name)
    reopened = open_volume(disk)
    assert look(reopened) == after
    assert reopened.state().needles == sum(isinstance(each, bytes) for each in after.values())


def test_a_second_import_changes_only_what_was_damaged_since() -> None:
    made = target()
    assert made.before[0, ORIG] == "damaged"
    incoming, source = records()
    (outcome,) = made.volume.commit([Import(needles=transfer.unpack(incoming))])
    assert outcome == Imported(stored=1, deleted=0, kept=6)
    after = look(made.volume)
    assert after[0, ORIG] == read(source, (0, ORIG))
    assert after[4, ORIG] == "deleted"
    assert {k: v for k, v in after.items() if k != (0, ORIG)} == {
        k: v for k, v in made.before.items() if k != (0, ORIG)
    }


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_an_import_that_the_disk_refuses_leaves_no_trace(operation: str) -> None:
    made, incoming = fresh()
    made.disk.fail(operation, ".log")
    (outcome,) = made.volume.commit([Import(needles=transfer.unpack(incoming))])
    assert isinstance(outcome, VolumeReadOnly)
    assert look(made.volume) == made.before
    for survival in ("nothing", "everything"):
        disk = made.disk.after_power_cut(made.disk.moment, seed=1, survival=survival)  # type: ignore[arg-type]
        assert look(open_volume(disk)) == made.before


def test_an_import_for_which_there_is_no_room_leaves_no_trace() -> None:
    made, incoming = fresh()
    made.disk.capacity_bytes = made.disk.capacity_bytes - made.disk.space(ROOT)[0] + 500
    (outcome,) = made.volume.commit([Import(needles=transfer.unpack(incoming))])
    assert isinstance(outcome, StorageFull)
    assert look(made.volume) == made.before


def test_imports_beyond_the_size_at_which_a_volume_is_sealed() -> None:
    history = History()
    history.commit(history.photo(1, SIZE_MAX - 6000))
    assert isinstance(history.commit(history.photo(2, 5000))[0], HayloftError)
    incoming, source = records()
    (outcome,) = history.volume.commit([Import(needles=transfer.unpack(incoming))])
    assert isinstance(outcome, Imported)
    assert read(history.volume, (2, ORIG)) == read(source, (2, ORIG))
    disk = history.disk.after_power_cut(history.disk.moment, seed=0, survival="nothing")
    assert read(open_volume(disk), (2, ORIG)) == read(source, (2, ORIG))
