"""Opening what others wrote or broke, closing in the middle of work, and callers who go away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hayloft.errors import FormatTooNew, ShuttingDown, VolumeCorrupt
from hayloft.types import VolumeId
from store_samples import VOLUME, needle, open_local, photo


async def test_a_closed_store_refuses(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(1))
    await store.close()
    with pytest.raises(ShuttingDown):
        await store.append(VOLUME, needle(2))
    with pytest.raises(ShuttingDown):
        await store.read(photo(1))


async def test_closing_finishes_what_is_in_flight(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(0))
    waiting = [asyncio.create_task(store.append(VOLUME, needle(each))) for each in range(1, 30)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*waiting)
    reopened = open_local(tmp_path / "store")
    for each in range(30):
        assert (await reopened.read(photo(each))).data == needle(each).data
    await reopened.close()


async def test_a_caller_that_stops_waiting_harms_nobody(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(0))
    tasks = [asyncio.create_task(store.append(VOLUME, needle(each))) for each in range(1, 10)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for each in (2, 4, 6, 8):
        assert (await store.read(photo(each))).data == needle(each).data
    await store.close()


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(1))
    await store.close()
    with (tmp_path / "store" / "lv-5.log").open("r+b") as log:
        log.seek(8)
        # A newer format lays out what follows in its own way.
        log.write((99).to_bytes(4, "little") + bytes(100))
    reopened = open_local(tmp_path / "store")
    with pytest.raises(FormatTooNew):
        await reopened.read(photo(1))
    assert [(state.volume, state.corrupt) for state in (await reopened.health()).volumes] == [(VOLUME, 1)]
    with pytest.raises(FormatTooNew):
        await reopened.set_aside(VOLUME)
    await reopened.close()


@pytest.mark.parametrize("version", [17, 2**31])
async def test_a_damaged_version_is_not_taken_for_a_newer_format(tmp_path: Path, version: int) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(1))
    await store.close()
    with (tmp_path / "store" / "lv-5.log").open("r+b") as log:
        log.seek(8)
        log.write(version.to_bytes(4, "little"))
    reopened = open_local(tmp_path / "store")
    with pytest.raises(VolumeCorrupt):
        await reopened.read(photo(1))
    await reopened.close()


async def test_one_broken_volume_leaves_the_others_alone(tmp_path: Path) -> None:
    store = open_local(tmp_path / "store")
    await store.append(VOLUME, needle(1))
    (tmp_path / "store" / "lv-9.log").write_bytes(b"nonsense")
    states = (await store.health()).volumes
    assert [(state.volume, state.corrupt) for state in states] == [(5, 0), (9, 1)]
    with pytest.raises(VolumeCorrupt):
        await store.read(photo(1, VolumeId(9)))
    assert (await store.read(photo(1))).data == needle(1).data
    await store.close()
