"""Several processes use one store; some are killed with SIGKILL, at moments that chance picks."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crash import appender
from crash.appender import VOLUME, data_of, needle_of, photo_of
from hayloft.errors import PhotoDeleted
from hayloft.store.local import LocalStore
from hayloft.types import StoreId

SCRIPT = Path(appender.__file__)


def start(directory: Path, mode: str, first: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(directory), mode, str(first), str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )


def acknowledged(*outputs: str) -> tuple[set[int], set[int]]:
    """What was appended, and what of it was deleted. A line cut off by a kill says nothing."""
    lines = [
        line.split() for output in outputs for line in output.splitlines(keepends=True) if line[-1] == "\n"
    ]
    appended = {int(number) for word, number in lines if word == "appended"}
    return appended, {int(number) for word, number in lines if word == "deleted"}


async def check(directory: Path, *outputs: str, quiet: bool = True) -> None:
    """Everything acknowledged is there; ``quiet`` says that nobody appends or deletes meanwhile."""
    appended, deleted = acknowledged(*outputs)
    assert appended
    store = LocalStore(directory, store=StoreId("local"))
    for number in appended:
        try:
            assert (await store.read(photo_of(number))).data == data_of(number)
            assert number not in deleted
        except PhotoDeleted:
            # A deletion in flight at the kill may have happened; only multiples of five are deleted.
            assert number % 5 == 0
    report = await store.verify(VOLUME)
    assert report.damaged == ()
    # The count is taken after the reading: whoever is still at work has changed it by then.
    assert report.checked == report.state.needles or not quiet
    await store.close()


async def test_processes_append_to_one_volume(tmp_path: Path) -> None:
    processes = [start(tmp_path, "append", first, 160) for first in (0, 1000, 2000)]
    outputs = [process.communicate()[0] for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert len(acknowledged(*outputs)[0]) == 3 * 160
    await check(tmp_path, *outputs)


async def test_compaction_beside_appending_processes(tmp_path: Path) -> None:
    processes = [start(tmp_path, "append", first, 240) for first in (0, 1000)]
    compactors = [start(tmp_path, "compact", 0, 6) for _each in range(2)]
    store = LocalStore(tmp_path, store=StoreId("local"))
    while processes[0].poll() is None:  # This process reads across the switches, and never a wrong thing.
        for number in range(40):
            if (await store.stat(photo_of(number))).exists:
                try:
                    assert (await store.read(photo_of(number))).data == data_of(number)
                except PhotoDeleted:
                    assert number % 5 == 0
        await asyncio.sleep(0.01)
    outputs = [process.communicate()[0] for process in processes]
    compacted = [process.communicate()[0] for process in compactors]
    assert all(process.returncode == 0 for process in processes)
    assert any("compacted" in output for output in compacted)
    await store.append(VOLUME, needle_of(9_001))
    await store.close()
    await check(tmp_path, *outputs, "appended 9001\n")


@pytest.mark.parametrize("seed", range(4))
async def test_killed_processes_lose_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    outputs: list[str] = []
    survivor = start(tmp_path, "append", 100_000, 400)
    for life in range(3):
        modes = ("append", "append", "compact" if seed % 2 else "append")
        victims = [
            start(tmp_path, mode, life * 10_000 + each * 1000, 900) for each, mode in enumerate(modes)
        ]
        assert victims[0].stdout is not None
        outputs.append(victims[0].stdout.readline())
        await asyncio.sleep(chance.random() * 0.15)
        for victim in victims:
            os.kill(victim.pid, signal.SIGKILL)
            outputs.append(victim.communicate()[0])
        await check(tmp_path, *outputs, quiet=survivor.poll() is not None)
    outputs.append(survivor.communicate()[0])
    assert survivor.returncode == 0
    await check(tmp_path, *outputs)
