"""A file system that really is full: refusals, no damage, reads and deletions go on."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hayloft.config import VolumeSettings
from hayloft.errors import PhotoDeleted, StorageFull
from hayloft.store.local import LocalStore
from hayloft.types import Cookie, NewNeedle, Sequence, StoreId, VolumeId, photo_id

VOLUME = VolumeId(1)
NO_RESERVE = VolumeSettings(free_space_reserve_bytes=0)


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes; needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "small"
    place.mkdir()
    if request.param == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(place)]
    else:
        image = tmp_path / "image"
        image.write_bytes(bytes(8 << 20))
        made = subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], capture_output=True, check=False)
        if made.returncode:
            pytest.skip("mkfs.ext4 is not here")
        command = ["mount", "-o", "loop", str(image), str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


async def fill(store: LocalStore, first: int = 0) -> int:
    """Append until the disk is full; how many went in."""
    number = first
    while True:
        try:
            await store.append(VOLUME, needle(number))
        except StorageFull:
            return number
        number += 1
        assert number < 10_000


def needle(number: int, size: int = 30_000) -> NewNeedle:
    data = bytes([number % 256]) * size
    return NewNeedle(photo=photo_id(VOLUME, Sequence(number)), cookie=Cookie(number), data=data)


def take_the_last_block(path: Path) -> None:
    with path.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while ballast.write(bytes(512)):
            pass


async def test_a_full_disk_refuses_photos_and_nothing_else(small_disk: Path) -> None:
    store = LocalStore(small_disk, store=StoreId("local"), settings=NO_RESERVE)
    count = await fill(store)
    assert count > 10
    take_the_last_block(small_disk / "ballast")
    with pytest.raises(StorageFull):
        await store.append(VOLUME, needle(count + 1000))
    for number in range(count):
        assert (await store.read(needle(number).photo)).data == needle(number).data
    for unknown in (count + 10_000, 2**20, 2**32 - 1):  # In the index's holes, and past its end.
        assert not (await store.stat(needle(unknown).photo)).exists
        with pytest.raises(StorageFull):
            await store.append(VOLUME, needle(unknown, size=1))
    report = await store.verify(VOLUME)
    assert (report.checked, report.damaged) == (count, ())
    await store.close()

    reopened = LocalStore(small_disk, store=StoreId("local"), settings=NO_RESERVE)
    assert (await reopened.read(needle(count - 1).photo)).data == needle(count - 1).data
    (small_disk / "lv-1.log").open("ab").close()
    await reopened.close()


async def test_the_reserve_leaves_room_for_deletions_and_compaction(small_disk: Path) -> None:
    settings = VolumeSettings(free_space_reserve_bytes=1 << 20)
    store = LocalStore(small_disk, store=StoreId("local"), settings=settings)
    count = await fill(store)
    for number in range(count):
        if number % 8:
            assert await store.delete(needle(number).photo)
    relaxed = LocalStore(small_disk, store=StoreId("local"), settings=NO_RESERVE)
    assert (await relaxed.compact(VOLUME)).needles == -(-count // 8)
    await relaxed.close()
    assert await fill(store, count) > count
    with pytest.raises(PhotoDeleted):
        await store.read(needle(1).photo)
    assert (await store.read(needle(0).photo)).data == needle(0).data
    await store.close()


def test_a_file_size_limit_in_the_middle_of_a_commit(tmp_path: Path) -> None:
    """The limit cuts a write short for real; what was acknowledged before stays, what comes after works."""
    program = """
import asyncio, sys
from crash.test_full_disk import *
async def main():
    store = LocalStore(Path(sys.argv[1]), store=StoreId("local"), settings=NO_RESERVE)
    outcomes = await asyncio.gather(
        *(store.append(VOLUME, needle(number)) for number in range(8)), return_exceptions=True
    )
    count = await fill(store)
    assert any(isinstance(outcome, StorageFull) for outcome in outcomes) or count
    assert await store.delete(needle(0).photo)
    print(count)
    await store.close()
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "store")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5
