"""How fast a replica is filled again, next to a plain copy of the same file.

Two stores, each a process of its own behind HTTP as in a cluster, and the pitchfork in this one. One store
holds a volume of photos, the other one is empty; measured is the time until the directory has the empty
one as whole, comparison included. The plain copy is ``shutil.copyfile`` and an fsync of the same log.

    python bench/repair_rate.py --megabytes 512
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from hayloft.config import PitchforkSettings, VolumeSettings
from hayloft.pitchfork import Pitchfork
from hayloft.store.client import StoreClient
from hayloft.store.local import LocalStore
from hayloft.testing.memory import MemoryDirectory
from hayloft.types import Cookie, NewNeedle, NewPhoto, PhotoId, StoreId, VolumeId, photo_id
from hayloft.wire.serving import AppServer

ONE, OTHER = StoreId("one"), StoreId("other")
PHOTO_BYTES = 64 << 10
SECRET = b"the benchmark's own secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRate:
    """Seconds for one volume, either way."""

    copy_seconds: float
    repair_seconds: float

    @property
    def ratio(self) -> float:
        """The repair's rate as a share of the plain copy's."""
        return self.copy_seconds / self.repair_seconds


async def repair_rate(folder: Path, *, megabytes: int = 512) -> RepairRate:
    """Fill one store, have the other repaired from it, and copy the file for comparison."""
    directory = MemoryDirectory(volumes_writable=1, replicas=2)
    volume = await _fill(folder / ONE, directory, megabytes << 20)
    with _serving(folder, ONE) as one, _serving(folder, OTHER) as other:
        stores = {ONE: StoreClient(one, secret=SECRET), OTHER: StoreClient(other, secret=SECRET)}
        for name, store in stores.items():
            await directory.register(await store.health(), url=name)
        await directory.replace_replica(volume, None, OTHER)
        pitchfork = Pitchfork(
            directory=directory, stores=stores, settings=PitchforkSettings(copy_bytes_per_second=0)
        )
        await pitchfork.check()
        began = time.perf_counter()
        await pitchfork.mend()
        repair_seconds = time.perf_counter() - began
        failed = [replica for replica in await directory.replicas() if replica.failure is not None]
        assert not failed, pitchfork.journal.to_json()
        for store in stores.values():
            await store.close()
    log = folder / ONE / f"lv-{volume}.log"
    return RepairRate(
        copy_seconds=_copy_seconds(log, folder / "plain copy"),
        repair_seconds=repair_seconds,
    )


async def _fill(folder: Path, directory: MemoryDirectory, size_bytes: int) -> VolumeId:
    store = LocalStore(folder, store=ONE, settings=VolumeSettings(free_space_reserve_bytes=0))
    await directory.register(await store.health(), url="nowhere")
    count = size_bytes // PHOTO_BYTES
    lease = None
    chance = os.urandom(PHOTO_BYTES)
    volume = VolumeId(0)
    for first in range(0, count, 256):
        number = min(256, count - first)
        lease = await directory.lease(holder="bench", count=number, avoid=[OTHER])
        volume = lease.volume
        photos = [PhotoId(photo_id(volume, lease.first) + each) for each in range(number)]
        needles = [
            NewNeedle(photo=photo, cookie=Cookie(1), data=photo.to_bytes(8) + chance[8:])
            for photo in photos
        ]
        await asyncio.gather(*(store.append(volume, needle) for needle in needles))
        for photo in photos:
            await directory.commit(
                NewPhoto(
                    photo=photo,
                    cookie=Cookie(1),
                    size=PHOTO_BYTES,
                    sha256=photo.to_bytes(32),
                    media_type="image/jpeg",
                    width=1,
                    height=1,
                )
            )
    await directory.register(await store.health(), url="nowhere")
    await store.close()
    return volume


@contextlib.contextmanager
def _serving(folder: Path, name: StoreId) -> Iterator[str]:
    """A store in a process of its own; its address."""
    command = [sys.executable, __file__, "--serve", str(folder / name), "--name", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(30)


async def _serve(folder: Path, name: StoreId) -> None:
    from hayloft.store.server import store_application
    from hayloft.wire.authentication import Authenticated

    store = LocalStore(folder, store=name, settings=VolumeSettings(free_space_reserve_bytes=0))
    async with AppServer(Authenticated(store_application(store), [SECRET])) as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    await store.close()


def _copy_seconds(source: Path, target: Path) -> float:
    began = time.perf_counter()
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--folder", type=Path, help="where to measure; a temporary folder by default")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--name", default=ONE, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        uvloop.run(_serve(given.serve, StoreId(given.name)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        measured = uvloop.run(repair_rate(Path(folder), megabytes=given.megabytes))
    print(json.dumps({**asdict(measured), "ratio": round(measured.ratio, 3)}, indent=2))


if __name__ == "__main__":
    main()
