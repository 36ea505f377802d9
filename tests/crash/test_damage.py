"""Bytes that rot, syncs that fail and disks that fill up: reported, contained, never believed."""

from __future__ import annotations

import errno

import pytest

from crash.volume_history import ROOT, VOLUME, Delete, History, check, open_volume, read
from hayloft import limits
from hayloft.errors import NeedleCorrupt, PhotoNotFound, StorageFull, VolumeCorrupt, VolumeReadOnly
from hayloft.needle import Needle
from hayloft.testing.crash_disk import CrashDisk
from hayloft.types import AlternateKey, Appended, Sequence
from hayloft.volume import Volume, compaction
from hayloft.volume.superblock import SUPERBLOCK_BYTES

LOG = ROOT / "lv-7.log"
ORIG = AlternateKey.ORIG


def filled(*, commits: int = 4, each: int = 2) -> tuple[History, list[int]]:
    """A volume with some commits, and the offsets of their needles."""
    history = History()
    offsets: list[int] = []
    for commit in range(commits):
        outcomes = history.commit(*(history.photo(commit * each + one, 700) for one in range(each)))
        offsets += [outcome.offset for outcome in outcomes if isinstance(outcome, Appended)]
    return history, offsets


def without_index(disk: CrashDisk) -> CrashDisk:
    for name in [name for name in disk.names(ROOT) if name.endswith(".index")]:
        disk.remove(ROOT / name)
    return disk


def test_a_flipped_byte_is_an_error_and_is_counted() -> None:
    history, offsets = filled()
    history.disk.corrupt(LOG, offsets[3] + 100)
    with pytest.raises(NeedleCorrupt):
        read(history.volume, (3, ORIG))
    assert history.volume.state().corrupt == 1
    for sequence in (0, 1, 2, 4, 5, 6, 7):
        assert len(read(history.volume, (sequence, ORIG))) == 700


def test_verification_names_the_damaged_needle() -> None:
    history, offsets = filled()
    history.disk.corrupt(LOG, offsets[3] + 100)
    report = history.volume.verify()
    assert report.checked == 7
    assert [(photo & 0xFFFFFFFF, key) for photo, key, _reason in report.damaged] == [(3, ORIG)]


@pytest.mark.parametrize("at", [0, 4, 9, 100, 740])
def test_damage_in_the_middle_gives_up_nothing_behind_it(at: int) -> None:
    """The index is lost and one acknowledged needle is damaged: the later ones stay."""
    history, offsets = filled()
    history.disk.corrupt(LOG, offsets[3] + at)
    volume = open_volume(without_index(history.disk.after_kill(history.disk.moment)))
    for sequence in (0, 1, 2, 4, 5, 6, 7):
        assert len(read(volume, (sequence, ORIG))) == 700
    with pytest.raises((NeedleCorrupt, PhotoNotFound)):
        volume.read(Sequence(3), ORIG)


def test_damage_after_the_last_checkpoint_survives_a_power_cut() -> None:
    history, offsets = filled()
    history.disk.corrupt(LOG, offsets[3] + 100)
    disk = history.disk.after_power_cut(history.disk.moment, seed=0, survival="nothing")
    volume = open_volume(disk)
    for sequence in (0, 1, 2, 4, 5, 6, 7):
        assert len(read(volume, (sequence, ORIG))) == 700


def test_a_torn_commit_is_cut_off_where_it_tears() -> None:
    """The same damage, but in the last commit: nothing proves that it was ever whole."""
    history, offsets = filled(commits=3, each=3)
    history.disk.corrupt(LOG, offsets[7] + 100)
    volume = open_volume(without_index(history.disk.after_kill(history.disk.moment)))
    assert volume.state().size_bytes == offsets[7]
    assert read(volume, (6, ORIG)) != "absent"
    assert [read(volume, (sequence, ORIG)) for sequence in (7, 8)] == ["absent", "absent"]


def test_a_tail_that_reached_the_disk_proves_what_was_durable() -> None:
    history, offsets = filled(commits=3, each=3)
    history.disk.corrupt(LOG, offsets[7] + 100)
    disk = history.disk.after_power_cut(history.disk.moment, seed=0, survival="everything")
    volume = open_volume(disk)
    assert volume.state().size_bytes > offsets[8]
    assert len(read(volume, (8, ORIG))) == 700


def test_a_needle_inside_somebodys_photo_is_not_taken_for_one() -> None:
    history, offsets = filled()
    page = bytearray(offsets[-1] + 1000 - SUPERBLOCK_BYTES)
    history.disk.open(LOG).read_into(page, SUPERBLOCK_BYTES)
    smuggled = History()
    offset = smuggled.commit(smuggled.photo(1, 0))[0]
    assert isinstance(offset, Appended)
    # A whole foreign log as a photo, at an odd place, and then its own needle is damaged.
    evil = history.photo(50, 0)
    object.__setattr__(evil.needle, "data", bytes(4) + bytes(page))
    placed = history.commit(evil)[0]
    assert isinstance(placed, Appended)
    history.commit(history.photo(51, 100))
    history.disk.corrupt(LOG, placed.offset + 4)
    before = {sequence: read(history.volume, (sequence, ORIG)) for sequence in range(8)}
    volume = open_volume(without_index(history.disk.after_kill(history.disk.moment)))
    assert {sequence: read(volume, (sequence, ORIG)) for sequence in range(8)} == before
    assert volume.state().needles == 9


def test_a_failed_sync_bans_the_volume_from_writing() -> None:
    history, _offsets = filled()
    history.disk.fail("sync", ".log")
    assert isinstance(history.commit(history.photo(20, 700))[0], VolumeReadOnly)
    assert isinstance(history.commit(history.photo(21, 700))[0], VolumeReadOnly)
    assert isinstance(history.commit(Delete(sequence=Sequence(1)))[0], VolumeReadOnly)
    assert len(read(history.volume, (1, ORIG))) == 700
    check(history, history.disk.after_power_cut(history.disk.moment, seed=0), history.disk.moment)


def test_the_ban_ends_when_the_disk_proves_good() -> None:
    history, _offsets = filled()
    history.disk.fail("sync", ".log")
    history.commit(history.photo(20, 700))
    volume = open_volume(history.disk.after_kill(history.disk.moment))
    assert isinstance(volume.commit([history.photo(21, 700)])[0], Appended)


def test_the_ban_stays_when_the_disk_lost_something() -> None:
    history, offsets = filled()
    history.disk.fail("sync", ".log")
    history.commit(history.photo(20, 700))
    disk = history.disk.after_kill(history.disk.moment)
    disk.corrupt(LOG, offsets[-1] + 30)
    volume = open_volume(disk)
    assert isinstance(volume.commit([history.photo(21, 700)])[0], VolumeReadOnly)


def test_a_failed_checkpoint_is_not_believed() -> None:
    history, _offsets = filled()
    history.disk.fail("flush", ".index")
    with pytest.raises(VolumeReadOnly):
        history.volume.checkpoint()
    for survival in ("nothing", "everything", "anything"):
        disk = history.disk.after_power_cut(history.disk.moment, seed=0, survival=survival)
        check(history, disk, history.disk.moment)
    check(history, history.disk.after_kill(history.disk.moment), history.disk.moment)


def test_a_write_that_fails_half_way_is_rolled_back() -> None:
    history, _offsets = filled()
    size = history.volume.state().size_bytes
    used = history.disk.capacity_bytes - history.disk.space(ROOT)[0]
    history.disk.capacity_bytes = used + 300
    # The room is checked first; let it look sufficient, as it may to two processes at once.
    history.volume.reserve_bytes = -10_000
    assert isinstance(history.commit(history.photo(20, 700))[0], StorageFull)
    assert history.volume.state().size_bytes == size == history.disk.open(LOG).size()
    mixed = history.commit(history.photo(21, 900), Delete(sequence=Sequence(1)))
    assert isinstance(mixed[0], StorageFull)
    assert mixed[1] is True
    assert read(history.volume, (1, ORIG)) == "deleted"
    history.disk.capacity_bytes += 10_000
    assert isinstance(history.commit(history.photo(22, 700))[0], Appended)
    for moment in range(history.disk.moment + 1):
        check(history, history.disk.after_power_cut(moment, seed=moment), moment)


def test_the_reserve_refuses_photos_and_lets_deletions_pass() -> None:
    history, _offsets = filled()
    history.volume.reserve_bytes = history.disk.space(ROOT)[0] - 100
    outcomes = history.commit(history.photo(20, 700), Delete(sequence=Sequence(1)))
    assert isinstance(outcomes[0], StorageFull)
    assert outcomes[1] is True


def test_a_write_error_bans_too() -> None:
    history, _offsets = filled()
    history.disk.fail("write", ".log", number=errno.EIO)
    assert isinstance(history.commit(history.photo(20, 700))[0], VolumeReadOnly)
    assert isinstance(history.commit(history.photo(21, 700))[0], VolumeReadOnly)


def test_a_damaged_needle_stays_reported_after_compaction() -> None:
    history, offsets = filled()
    history.commit(Delete(sequence=Sequence(0)))
    history.disk.corrupt(LOG, offsets[3] + 100)
    report = history.volume.compact()
    assert report.needles == 7
    with pytest.raises(NeedleCorrupt):
        read(history.volume, (3, ORIG))
    assert [photo & 0xFFFFFFFF for photo, _key, _reason in history.volume.verify().damaged] == [3]


def test_damage_to_what_is_appended_during_a_compaction_stays_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log cannot tell of it any more; the comparison of both indexes does."""
    history, _offsets = filled()
    add_needle = compaction._Copy._add_needle

    def add_while_the_disk_fails(copy: compaction._Copy, needle: Needle) -> None:
        monkeypatch.setattr(compaction._Copy, "_add_needle", add_needle)
        add_needle(copy, needle)
        placed = history.commit(history.photo(30, 700), history.photo(31, 700))
        assert isinstance(placed[0], Appended)
        history.disk.corrupt(LOG, placed[0].offset + 5)

    monkeypatch.setattr(compaction._Copy, "_add_needle", add_while_the_disk_fails)
    assert history.volume.compact().needles == 10
    with pytest.raises(NeedleCorrupt):
        read(history.volume, (30, ORIG))
    assert len(read(history.volume, (31, ORIG))) == 700


def test_a_checkpoint_that_fails_after_a_commit_takes_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history, _offsets = filled()
    monkeypatch.setattr(limits, "CHECKPOINT_INTERVAL_BYTES", 1)
    history.disk.fail("flush", ".index")
    assert isinstance(history.commit(history.photo(20, 700))[0], Appended)
    assert isinstance(history.commit(history.photo(21, 700))[0], VolumeReadOnly)
    for survival in ("nothing", "everything"):
        disk = history.disk.after_power_cut(history.disk.moment, seed=0, survival=survival)
        check(history, disk, history.disk.moment)


def test_a_compaction_without_room_changes_nothing() -> None:
    history, _offsets = filled()
    history.disk.capacity_bytes -= history.disk.space(ROOT)[0] - 2_000
    with pytest.raises(StorageFull):
        history.volume.compact()
    assert not [name for name in history.disk.names(ROOT) if name.endswith(".new")]
    assert isinstance(history.volume.verify().checked, int)
    history.disk.capacity_bytes += 1 << 20
    assert history.volume.compact().needles == 8


def test_a_compaction_whose_rename_fails_stops_all_writing() -> None:
    history, _offsets = filled()
    history.disk.fail("rename", ".log")
    with pytest.raises(VolumeReadOnly):
        history.volume.compact()
    assert isinstance(history.commit(history.photo(21, 700))[0], VolumeReadOnly)
    for survival in ("nothing", "everything"):
        disk = history.disk.after_power_cut(history.disk.moment, seed=0, survival=survival)
        check(history, disk, history.disk.moment)


@pytest.mark.parametrize("entry", [2, 0xFFFF_FFFF_FFFF_FFF8, 512 << 32 | 64, 1 << 62 | 0xFFFF_FFFF])
def test_a_damaged_index_entry_serves_nothing_wrong_and_is_made_anew(entry: int) -> None:
    history, _offsets = filled()
    other = open_volume(history.disk)
    history.volume.current.generation.index.store(3 * 5, entry)
    with pytest.raises(NeedleCorrupt):
        read(history.volume, (3, ORIG))
    assert [photo & 0xFFFFFFFF for photo, _key, _reason in history.volume.verify().damaged][-1] == 3
    history.volume.rebuild_index()
    for volume in (history.volume, other):
        assert len(read(volume, (3, ORIG))) == 700
        assert volume.verify().damaged == ()
    assert isinstance(other.commit([history.photo(30, 10)])[0], Appended)
    assert read(history.volume, (30, ORIG)) != "absent"


def test_a_lost_index_entry_is_found_by_verification() -> None:
    history, _offsets = filled()
    history.commit(Delete(sequence=Sequence(1)))
    history.volume.current.generation.index.store(3 * 5, 0)
    history.volume.current.generation.index.store(1 * 5, 0)
    damaged = history.volume.verify().damaged
    assert {photo & 0xFFFFFFFF for photo, _key, _reason in damaged} == {1, 3}
    history.volume.rebuild_index()
    assert history.volume.verify().damaged == ()
    assert read(history.volume, (1, ORIG)) == "deleted"


@pytest.mark.parametrize("checkpointed", [True, False])
def test_an_index_that_knows_more_than_the_log_is_made_anew(checkpointed: bool) -> None:
    """A backup whose log is older than its index."""
    history, offsets = filled()
    if checkpointed:
        history.volume.checkpoint()
    disk = history.disk.after_power_cut(history.disk.moment, seed=0, survival="everything")
    disk.open(LOG).truncate(offsets[4])
    volume = open_volume(disk)
    assert [read(volume, (each, ORIG)) == "absent" for each in range(8)] == [False] * 4 + [True] * 4
    assert volume.verify().damaged == ()


def test_an_index_that_knows_less_than_the_log_catches_up() -> None:
    """A backup whose index is older than its log."""
    history, _offsets = filled(commits=2)
    history.volume.checkpoint()
    old = history.disk.after_power_cut(history.disk.moment, seed=0, survival="everything")
    history.commit(history.photo(50, 100), Delete(sequence=Sequence(0)))
    new = history.disk.after_power_cut(history.disk.moment, seed=0, survival="everything")
    log = bytearray(new.open(LOG).size())
    new.open(LOG).read_into(log, 0)
    old.open(LOG).write_at([log], 0)
    volume = open_volume(old)
    assert len(read(volume, (50, ORIG))) == 100
    assert read(volume, (0, ORIG)) == "deleted"
    assert volume.verify().damaged == ()


def test_another_volumes_log_is_refused() -> None:
    history, _offsets = filled()
    history.disk.rename(LOG, ROOT / "lv-8.log")
    with pytest.raises(VolumeCorrupt):
        Volume.open(history.disk, ROOT, type(VOLUME)(8))
