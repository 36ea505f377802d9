"""The index file: one load for a lookup, eight bytes for a slot, grown and shared between opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from hayloft.disk import SystemDisk
from hayloft.types import VolumeId
from hayloft.volume.index import (
    ABSENT,
    APPLIED,
    DELETED,
    LIVE,
    LIVE_BYTES,
    PAGE_BYTES,
    SIZE_BYTES_MIN,
    Index,
    entry_offset,
    entry_size,
    live,
    pack_entry,
)
from hayloft.volume.superblock import Superblock

SUPERBLOCK = Superblock.new(VolumeId(4), size_bytes_max=1 << 30)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lv-4.0.index"


@pytest.fixture
def index(path: Path) -> Index:
    return Index.create(SystemDisk(), path, SUPERBLOCK)


@pytest.mark.parametrize(("offset", "size"), [(4096, 48), (8 * (2**32 - 1), 2**32 - 1), (8, 1)])
def test_entries_hold_what_a_volume_may_have(offset: int, size: int) -> None:
    entry = pack_entry(offset, size)
    assert (entry_offset(entry), entry_size(entry)) == (offset, size)
    assert live(entry)
    assert entry < 2**64


def test_an_entry_is_eight_bytes_at_its_slot(index: Index, path: Path) -> None:
    index.reserve((123,))
    index.store(123, pack_entry(4096, 48))
    raw = path.read_bytes()
    assert memoryview(raw).cast("Q")[PAGE_BYTES // 8 + 123] == pack_entry(4096, 48)
    assert index.load(122) == index.load(124) == ABSENT


def test_growth_is_seen_by_those_who_opened_before(index: Index, path: Path) -> None:
    other = Index.open(SystemDisk(), path, SUPERBLOCK)
    assert other is not None
    slot = SIZE_BYTES_MIN  # Eight times as many bytes as the file has.
    assert other.load(slot) == ABSENT
    index.reserve((slot,))
    index.store(slot, DELETED)
    assert other.load(slot) == DELETED
    assert other.load(slot * 100) == ABSENT
    other.reserve((slot * 2,))
    other.store(slot * 2, 77)
    assert index.load(slot * 2) == 77


def test_a_lone_slot_costs_a_page(index: Index, path: Path) -> None:
    index.reserve(((2**32 - 1) * 5 + 4,))
    index.store((2**32 - 1) * 5 + 4, 99)
    assert path.stat().st_blocks * 512 <= 8 * PAGE_BYTES
    found = [(first, block[block > 0].tolist()) for first, block in index.blocks() if block.any()]
    assert [entries for _first, entries in found] == [[99]]


def test_the_index_of_another_log_is_not_opened(index: Index, path: Path) -> None:
    index.store(0, 5)
    disk = SystemDisk()
    assert Index.open(disk, path, SUPERBLOCK) is not None
    assert Index.open(disk, path, Superblock.new(VolumeId(4), size_bytes_max=1 << 30)) is None
    assert Index.open(disk, path.with_name("none"), SUPERBLOCK) is None
    path.write_bytes(bytes(100))
    assert Index.open(disk, path, SUPERBLOCK) is None


def test_checkpoints_take_turns_and_a_torn_one_is_passed_over(index: Index) -> None:
    assert index.checkpoint() is None
    for offset in (5000, 6000, 7000):
        index.words[APPLIED] = offset
        index.write_checkpoint()
    mark = index.checkpoint()
    assert mark is not None
    assert (mark.number, mark.offset) == (3, 7000)
    index.words[192 + 1] = 9_999_999
    torn = index.checkpoint()
    assert torn is not None
    assert (torn.number, torn.offset) == (2, 6000)


def test_a_recount_counts_live_needles_only(index: Index) -> None:
    for slot, entry in ((0, pack_entry(4096, 48)), (7, DELETED), (900, pack_entry(8192, 100))):
        index.reserve((slot,))
        index.store(slot, entry)
    index.recount()
    assert (index.words[LIVE], index.words[LIVE_BYTES]) == (2, 148)


def test_a_session_is_of_one_file(index: Index, path: Path) -> None:
    disk = SystemDisk()
    assert not index.session_is(disk)
    index.begin_session(disk)
    assert index.session_is(disk)
    copy = path.with_name("copy.index")
    copy.write_bytes(path.read_bytes())
    copied = Index.open(disk, copy, SUPERBLOCK)
    assert copied is not None
    assert not copied.session_is(disk)
    index.end_session()
    assert not index.session_is(disk)
