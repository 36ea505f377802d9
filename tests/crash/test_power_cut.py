"""The power is cut after every single write, store, sync and rename of a volume's life.

What was acknowledged must be there byte for byte, what was in flight there whole or not at all, and what
was deleted must stay deleted: after the cut, after a second cut during recovery, and after the index has
been lost as well. History: the first version of the tail scan gave up everything behind a damaged needle.
"""

from __future__ import annotations

import itertools

import pytest

from crash.volume_history import (
    ROOT,
    Delete,
    History,
    Seal,
    check,
    open_volume,
    read,
    read_all,
)
from hayloft import limits
from hayloft.needle import Needle
from hayloft.testing.crash_disk import CrashDisk, Survival
from hayloft.types import AlternateKey, Sequence
from hayloft.volume import compaction

SURVIVALS: tuple[Survival, ...] = ("nothing", "everything", "anything", "anything")


CHECKPOINT_INTERVAL_BYTES = 6_000


@pytest.fixture(autouse=True)
def _frequent_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_INTERVAL_BYTES", CHECKPOINT_INTERVAL_BYTES)


def busy_life(seed: int) -> History:
    """Group commits, replacements, renditions, deletions, coming back after a deletion, a sealing."""
    history = History(seed=seed)
    chance = history.chance
    for first in range(0, 15, 3):
        history.commit(*(history.photo(first + each) for each in range(chance.randint(1, 3))))
    history.commit(history.photo(0), history.photo(1, key=AlternateKey.THUMB), Delete(sequence=Sequence(3)))
    history.commit(Delete(sequence=Sequence(1)))
    history.commit(history.photo(0), history.photo(0), Delete(sequence=Sequence(0)))
    history.commit(history.photo(3, 700), Delete(sequence=Sequence(6)), history.photo(20, 3000))
    history.commit(Seal())
    history.commit(Delete(sequence=Sequence(9)))
    return history


def compacted_life(seed: int) -> History:
    """A compaction among appends and deletions, some of them while it copies."""
    history = History(seed=seed)
    for sequence in range(8):
        history.commit(history.photo(sequence, 900))
    history.commit(Delete(sequence=Sequence(1)), Delete(sequence=Sequence(2)), history.photo(4, 500))
    meanwhile = iter(
        [
            (history.photo(30, 400),),
            (Delete(sequence=Sequence(3)), history.photo(5, 800)),
            (history.photo(1, 300),),
        ]
    )
    with pytest.MonkeyPatch.context() as patch:
        # Larger than the volume: the only sync of the new log is the one before the switch.
        patch.setattr(limits, "CHECKPOINT_INTERVAL_BYTES", 1 << 20)
        add_needle = compaction._Copy._add_needle

        def add_while_others_commit(copy: compaction._Copy, needle: Needle) -> None:
            add_needle(copy, needle)
            if (operations := next(meanwhile, None)) is not None:
                history.commit(*operations)

        patch.setattr(compaction._Copy, "_add_needle", add_while_others_commit)
        history.volume.compact()
    history.commit(history.photo(40, 200), Delete(sequence=Sequence(5)))
    history.volume.checkpoint()
    history.commit(history.photo(41, 200))
    return history


LIVES = {"busy": busy_life, "compacted": compacted_life}


@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("seed", range(2))
def test_every_power_cut_keeps_what_was_acknowledged(life: str, seed: int) -> None:
    history = LIVES[life](seed)
    for moment in range(history.disk.moment + 1):
        for number, survival in enumerate(SURVIVALS):
            disk = history.disk.after_power_cut(moment, seed=seed * 10 + number, survival=survival)
            check(history, disk, moment)


@pytest.mark.parametrize("life", LIVES)
def test_a_second_power_cut_during_recovery_changes_nothing(life: str) -> None:
    history = LIVES[life](3)
    for moment in range(0, history.disk.moment + 1, 7):
        disk = history.disk.after_power_cut(moment, seed=moment)
        start = disk.moment
        found = check(history, disk, moment)
        for again, survival in itertools.product(range(start, disk.moment + 1, 3), SURVIVALS[::2]):
            second = disk.after_power_cut(again, seed=again, survival=survival)
            assert check(history, second, moment) == found or again < disk.moment


@pytest.mark.parametrize("life", LIVES)
def test_recovery_is_final_once_it_has_opened(life: str) -> None:
    """What one opening has decided about unacknowledged needles, no later cut decides again."""
    history = LIVES[life](4)
    for moment in range(0, history.disk.moment + 1, 5):
        disk = history.disk.after_power_cut(moment, seed=moment)
        found = check(history, disk, moment)
        for survival in SURVIVALS:
            assert (
                check(history, disk.after_power_cut(disk.moment, seed=1, survival=survival), moment)
                == found
            )


@pytest.mark.parametrize("life", LIVES)
def test_a_lost_index_is_made_anew_from_the_log(life: str) -> None:
    history = LIVES[life](5)
    for moment in range(0, history.disk.moment + 1, 5):
        disk = history.disk.after_power_cut(moment, seed=moment)
        found = check(history, disk, moment)
        for name in [name for name in disk.names(ROOT) if name.endswith(".index")]:
            disk.remove(ROOT / name)
        assert check(history, disk, moment) == found


@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("seed", range(2))
def test_every_kill_leaves_a_volume_that_others_go_on_with(life: str, seed: int) -> None:
    history = LIVES[life](seed)
    for moment in range(history.disk.moment + 1):
        disk = history.disk.after_kill(moment)
        found = check(history, disk, moment)
        if not found:
            continue
        # What the dead process had not acknowledged and recovery did not keep never comes back.
        for survival in SURVIVALS[:3]:
            assert (
                check(history, disk.after_power_cut(disk.moment, seed=1, survival=survival), moment)
                == found
            )


def test_appends_go_on_after_every_power_cut() -> None:
    history = busy_life(6)
    last = history.commits[-2].began
    for moment in range(0, last, 3):
        disk = history.disk.after_power_cut(moment, seed=moment)
        found = check(history, disk, moment)
        if not found:
            continue
        volume = open_volume(disk)
        fresh = history.photo(99, 5_000)
        outcomes = volume.commit([fresh])
        if volume.state().sealed:
            continue
        assert not isinstance(outcomes[0], Exception)
        later = disk.after_power_cut(disk.moment, seed=moment)
        reopened = open_volume(later)
        assert read(reopened, (99, AlternateKey.ORIG)) == fresh.needle.data
        assert read_all(reopened, iter(found)) == found


def test_sealing_survives() -> None:
    history = History()
    history.commit(history.photo(1))
    history.commit(Seal())
    history.commit(Delete(sequence=Sequence(1)))
    for _checkpointed in range(2):
        disk = history.disk.after_power_cut(history.disk.moment, seed=0, survival="nothing")
        assert open_volume(disk).state().sealed
        history.volume.checkpoint()
    for name in [name for name in disk.names(ROOT) if name.endswith(".index")]:
        disk.remove(ROOT / name)
    assert open_volume(disk).state().sealed


def test_recovery_reads_no_more_than_a_checkpoint_interval_before_the_tail() -> None:
    history = History()
    for sequence in range(60):
        history.commit(history.photo(sequence, 1_000))
    disk: CrashDisk = history.disk.after_power_cut(history.disk.moment, seed=0, survival="nothing")
    volume = open_volume(disk)
    mark = volume.current.generation.index.checkpoint()
    assert mark is not None
    before = history.volume.current.generation.index.checkpoint()
    assert before is not None
    assert volume.state().size_bytes - before.offset <= CHECKPOINT_INTERVAL_BYTES + 1_200
