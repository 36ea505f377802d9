"""The real disk: complete writes or an error, locks between opens, memory shared through files."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from hayloft.disk import BUFFERS_PER_WRITE_MAX, BYTES_PER_WRITE_MAX, DISK_FULL, SystemDisk


@pytest.fixture
def disk() -> SystemDisk:
    return SystemDisk()


def test_writes_take_any_number_of_buffers(disk: SystemDisk, tmp_path: Path) -> None:
    file = disk.open(tmp_path / "file", create=True)
    buffers = [bytes([each % 256]) * (each % 7) for each in range(3 * BUFFERS_PER_WRITE_MAX)]
    file.write_at(buffers, 5)
    whole = b"".join(buffers)
    buffer = bytearray(len(whole))
    assert file.read_into(buffer, 5) == len(whole)
    assert buffer == whole
    assert file.size() == 5 + len(whole)


@pytest.mark.parametrize(
    "sizes",
    [
        [3 * BYTES_PER_WRITE_MAX + 5],
        [BYTES_PER_WRITE_MAX - 1, 2, 0, BYTES_PER_WRITE_MAX],
        [0, 70_000] * 40,
        [5] * (BUFFERS_PER_WRITE_MAX + 1) + [2 * BYTES_PER_WRITE_MAX],
    ],
)
def test_much_is_written_in_pieces(
    disk: SystemDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    file = disk.open(tmp_path / "file", create=True)
    pwritev, calls = os.pwritev, []

    def counted(descriptor: int, buffers: list[bytes], offset: int) -> int:
        calls.append((len(buffers), written := pwritev(descriptor, buffers, offset)))
        return written

    monkeypatch.setattr(os, "pwritev", counted)
    buffers = [memoryview(os.urandom(size)) for size in sizes]
    file.write_at(buffers, 7)
    assert (tmp_path / "file").read_bytes() == bytes(7) + b"".join(buffers)
    assert len(calls) > 1
    assert all(count <= BUFFERS_PER_WRITE_MAX and size <= BYTES_PER_WRITE_MAX for count, size in calls)


def test_short_writes_are_completed(
    disk: SystemDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = disk.open(tmp_path / "file", create=True)
    pwritev = os.pwritev

    def short(descriptor: int, buffers: list[bytes], offset: int) -> int:
        first = next(bytes(buffer) for buffer in buffers if len(buffer))
        return pwritev(descriptor, [first[:3]], offset)

    monkeypatch.setattr(os, "pwritev", short)
    file.write_at([b"hello", b"", b"world!"], 0)
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"helloworld!"


def test_reads_end_at_the_files_end(disk: SystemDisk, tmp_path: Path) -> None:
    file = disk.open(tmp_path / "file", create=True)
    file.write_at([b"hello"], 0)
    assert file.read_into(bytearray(10), 2) == 3
    assert file.read_cached_into(bytearray(3), 2) in (0, 3)


def test_a_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from hayloft.disk import SystemDisk\n"
        "file = SystemDisk().open(Path(sys.argv[1]), create=True)\n"
        "try: file.write_at([bytes(3000), bytes(3000)], 0)\n"
        "except OSError as error: print(error.errno, file.size())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "file")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        capture_output=True,
        text=True,
        check=True,
    )
    number, size = done.stdout.split()
    assert int(number) in DISK_FULL
    assert int(number) == errno.EFBIG
    assert int(size) == 4096


def test_the_lock_is_between_opens(disk: SystemDisk, tmp_path: Path) -> None:
    first, second = (disk.open(tmp_path / "lock", create=True) for _ in range(2))
    assert first.lock()
    assert not second.lock(wait=False)
    first.unlock()
    assert second.lock(wait=False)
    second.close()
    assert first.lock(wait=False)


def test_mapped_words_are_the_files_bytes(disk: SystemDisk, tmp_path: Path) -> None:
    file = disk.open(tmp_path / "file", create=True)
    file.truncate(8192)
    one, other = file.map(8192), disk.open(tmp_path / "file").map(8192)
    one.words[1000] = 2**64 - 2
    assert other.words[1000] == 2**64 - 2
    assert len(one.words) == 1024
    one.flush()
    assert (tmp_path / "file").read_bytes()[8000:8008] == (2**64 - 2).to_bytes(8, sys.byteorder)


def test_holes_are_skipped(disk: SystemDisk, tmp_path: Path) -> None:
    file = disk.open(tmp_path / "file", create=True)
    file.truncate(64 << 20)
    file.write_at([b"x"], 32 << 20)
    ranges = list(file.data_ranges())
    assert any(start <= 32 << 20 < end for start, end in ranges)
    assert sum(end - start for start, end in ranges) <= 1 << 20


def test_names(disk: SystemDisk, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    disk.make_directory(folder)
    disk.make_directory(folder)
    file = disk.open(folder / "one", create=True)
    disk.rename(folder / "one", folder / "two")
    assert disk.names(folder) == ["two"]
    assert disk.identity(folder / "two") == file.identity()
    assert disk.identity(folder / "one") is None
    disk.remove(folder / "two")
    disk.remove(folder / "two")
    with pytest.raises(FileNotFoundError):
        disk.open(folder / "two")
    free, total = disk.space(folder)
    assert 0 < free <= total


def test_files_close_when_forgotten(disk: SystemDisk, tmp_path: Path) -> None:
    file = disk.open(tmp_path / "forgotten", create=True)
    links = [os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]
    assert str(tmp_path / "forgotten") in links
    del file
    links = [os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]
    assert str(tmp_path / "forgotten") not in links


def test_the_incarnation_lasts_as_long_as_memory(disk: SystemDisk) -> None:
    assert disk.incarnation() == SystemDisk().incarnation() != b""
