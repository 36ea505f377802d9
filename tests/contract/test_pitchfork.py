"""The pitchfork over real stores and a real directory, all behind HTTP, left to itself.

Nothing here calls a round: ``run`` works, and the tests wait until the replicas are whole again.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import pitchfork_process
from hayloft.config import PitchforkSettings, VolumeSettings
from hayloft.directory.client import DirectoryClient
from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.directory.server import directory_application
from hayloft.errors import HayloftError, PhotoDeleted
from hayloft.pitchfork import Pitchfork
from hayloft.pitchfork.server import pitchfork_application
from hayloft.roles import Store
from hayloft.store.client import StoreClient
from hayloft.store.local import LocalStore
from hayloft.store.server import store_application
from hayloft.types import (
    AlternateKey,
    Cookie,
    NeedleMetadata,
    NewNeedle,
    NewPhoto,
    PhotoId,
    Scrutiny,
    StoreId,
    VolumeId,
    photo_id,
    volume_of,
)
from hayloft.wire.operations import Operated
from hayloft.wire.serving import AppServer, free_port
from hayloft.wire.session import Patience

NAMES = tuple(map(StoreId, ("s1", "s2", "s3")))
S1, S2, S3 = NAMES
SETTINGS = PitchforkSettings(
    check_seconds=0.05, failures_max=2, compare_seconds=0.3, copy_bytes_per_second=0, sweep_seconds=0.5
)
VOLUMES = VolumeSettings(size_bytes_max=64 << 20, free_space_reserve_bytes=0)
WAIT_SECONDS_MAX = 60.0


class StoreProcess:
    """A store behind HTTP at an address that stays, as a process would have it."""

    def __init__(self, name: StoreId, folder: Path, peers: dict[StoreId, Store]) -> None:
        self.name, self.folder, self.peers, self.port = name, folder, peers, free_port()
        self.client = StoreClient(self.url, patience=Patience(attempts=1, total_seconds=20.0))
        self._server: AppServer | None = None
        self._store: LocalStore | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_up(self) -> bool:
        return self._server is not None

    async def start(self) -> None:
        self._store = LocalStore(self.folder, store=self.name, settings=VOLUMES, peers=self.peers)
        self._server = AppServer(store_application(self._store), port=self.port, stop_seconds_max=1)
        await self._server.__aenter__()

    async def stop(self) -> None:
        if self._server is not None and self._store is not None:
            await self._server.__aexit__(None, None, None)
            await self._store.close()
            self._server = self._store = None

    def log(self, volume: VolumeId) -> Path:
        return self.folder / f"lv-{volume}.log"


class Cluster:
    def __init__(self, folder: Path, directory: DirectoryClient, directory_url: str) -> None:
        self.directory, self.directory_url = directory, directory_url
        peers: dict[StoreId, Store] = {}
        self.stores = {name: StoreProcess(name, folder / name, peers) for name in NAMES}
        peers |= {name: store.client for name, store in self.stores.items()}
        self.photos: dict[PhotoId, bytes] = {}
        self.deleted: set[PhotoId] = set()

    async def heartbeats(self) -> None:
        for store in self.stores.values():
            if store.is_up:
                await self.directory.register(await store.client.health(), url=store.url)

    async def upload(self, count: int, *, size: int = 3000, seed: int = 0) -> None:
        lease = await self.directory.lease(holder="test", count=count)
        assert set(lease.replicas) == set(NAMES)
        chance = random.Random(seed)
        for number in range(count):
            photo = PhotoId(photo_id(lease.volume, lease.first) + number)
            data = chance.randbytes(size)
            digest = hashlib.sha256(data).digest()
            needle = NewNeedle(
                photo=photo,
                cookie=Cookie(photo),
                data=data,
                metadata=NeedleMetadata(sha256=digest, created_at_ms=1),
            )
            await asyncio.gather(*(self.stores[name].client.append(lease.volume, needle) for name in NAMES))
            await self.directory.commit(
                NewPhoto(
                    photo=photo,
                    cookie=Cookie(photo),
                    size=size,
                    sha256=digest,
                    media_type="image/jpeg",
                    width=1,
                    height=1,
                )
            )
            self.photos[photo] = data
        await self.heartbeats()

    async def delete(self, *photos: PhotoId) -> None:
        for photo in photos:
            await self.directory.delete(photo)
            self.deleted.add(photo)
            del self.photos[photo]
            for store in self.stores.values():
                with suppress(HayloftError):
                    await store.client.delete(photo)

    @property
    def volume(self) -> VolumeId:
        return volume_of(next(iter({*self.photos, *self.deleted})))

    async def is_whole(self) -> bool:
        await self.heartbeats()
        replicas = await self.directory.replicas()
        if any(replica.failure is not None for replica in replicas):
            return False
        for volume in {replica.volume for replica in replicas}:
            with suppress(HayloftError):
                if len({(await s.client.digest(volume)).digest for s in self.stores.values()}) > 1:
                    return False
        return True

    async def check(self) -> None:
        """Read every photo from every replica, by its bytes, and from the medium."""
        for store in self.stores.values():
            for photo, data in self.photos.items():
                assert (await store.client.read(photo)).data == data
            for photo in self.deleted:
                with pytest.raises(PhotoDeleted):
                    await store.client.read(photo)
        digests = [
            await store.client.digest(self.volume, scrutiny=Scrutiny.MEDIUM)
            for store in self.stores.values()
        ]
        assert digests[0] == digests[1] == digests[2]
        assert digests[0].damaged == 0
        assert all(placement.writable for placement in await self.directory.placements())


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    url = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    policy = WritePolicy(writable_max=1, replication=3, free_bytes_min=0)
    directory = LocalDirectory.open(url, policy=policy)
    async with AppServer(directory_application(directory)) as server:
        client = DirectoryClient(server.url)
        made = Cluster(tmp_path, client, server.url)
        for store in made.stores.values():
            await store.start()
        await made.heartbeats()
        yield made
        for store in made.stores.values():
            await store.client.close()
            await store.stop()
        await client.close()
    await directory.close()


def pitchfork_over(cluster: Cluster, settings: PitchforkSettings = SETTINGS) -> Pitchfork:
    stores = {name: store.client for name, store in cluster.stores.items()}
    return Pitchfork(directory=cluster.directory, stores=stores, settings=settings)


@asynccontextmanager
async def at_work(cluster: Cluster, settings: PitchforkSettings = SETTINGS) -> AsyncIterator[Pitchfork]:
    pitchfork = pitchfork_over(cluster, settings)
    task = asyncio.create_task(pitchfork.run())
    try:
        yield pitchfork
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], Any], what: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.05)
    raise AssertionError(what)


async def test_a_store_replaced_by_an_empty_one(cluster: Cluster) -> None:
    await cluster.upload(40)
    await cluster.delete(*list(cluster.photos)[:5])
    store = cluster.stores[S2]
    await store.stop()
    shutil.rmtree(store.folder)
    await store.start()
    await cluster.heartbeats()
    async with at_work(cluster):
        await until(cluster.is_whole, "whole")
    await cluster.check()


async def test_files_that_vanish_under_a_running_store(cluster: Cluster) -> None:
    await cluster.upload(10)
    for path in cluster.stores[S3].folder.iterdir():
        path.unlink()
    await cluster.heartbeats()
    assert not await cluster.is_whole()
    async with at_work(cluster):
        await until(cluster.is_whole, "whole")
    await cluster.check()


@pytest.mark.parametrize("seed", range(2))
async def test_a_volume_file_damaged_at_random_places(cluster: Cluster, seed: int) -> None:
    await cluster.upload(30)
    chance = random.Random(seed)
    damaged = cluster.stores[chance.choice(NAMES)]
    if restarted := seed % 2 == 1:
        await damaged.stop()
    log = damaged.log(cluster.volume)
    with log.open("r+b") as file:
        for _place in range(10):
            file.seek(chance.randrange(log.stat().st_size))
            file.write(chance.randbytes(chance.choice([1, 16, 400])))
    if restarted:
        await damaged.start()
    async with at_work(cluster) as pitchfork:
        await until(lambda: pitchfork.journal.done("needles copied"), "damage is found")
        await until(cluster.is_whole, "whole")
    await cluster.check()


async def test_a_superblock_damaged_under_a_running_store(cluster: Cluster) -> None:
    await cluster.upload(10)
    store = cluster.stores[S1]
    with store.log(cluster.volume).open("r+b") as file:
        file.seek(16)
        file.write(b"\xff" * 8)
    async with at_work(cluster) as pitchfork:
        await until(lambda: pitchfork.journal.done("volumes set aside"), "damage is found")
        await until(cluster.is_whole, "whole")
    await cluster.check()
    assert list(store.folder.glob("*.damaged-1"))


async def test_a_store_that_was_stopped_during_deletions_and_renditions(cluster: Cluster) -> None:
    await cluster.upload(20)
    photos = list(cluster.photos)
    async with at_work(cluster) as pitchfork:
        await cluster.stores[S3].stop()
        await until(lambda: _failed(cluster, S3), "the store that is away is reported")
        await cluster.delete(*photos[:6])
        for name in (S1, S2):
            thumb = NewNeedle(
                photo=photos[7], cookie=Cookie(1), data=b"thumb", alternate_key=AlternateKey.THUMB
            )
            await cluster.stores[name].client.append(cluster.volume, thumb)
        assert pitchfork.journal.done("replicas mended") == 0
        await cluster.stores[S3].start()
        await until(cluster.is_whole, "whole")
    await cluster.check()
    thumb_there = await cluster.stores[S3].client.read(photos[7], AlternateKey.THUMB)
    assert thumb_there.data == b"thumb"


async def _failed(cluster: Cluster, name: StoreId) -> bool:
    replicas = await cluster.directory.replicas()
    return any(replica.store == name and replica.failure for replica in replicas)


async def test_a_pitchfork_killed_while_it_copies_goes_on_where_it_was(cluster: Cluster) -> None:
    await cluster.upload(60, size=8000)
    store = cluster.stores[S2]
    await store.stop()
    shutil.rmtree(store.folder)
    await store.start()
    await cluster.heartbeats()
    command = [sys.executable, pitchfork_process.__file__, cluster.directory_url, "100000"]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await until(lambda: _needles(store, cluster.volume), "it has begun")
    finally:
        process.kill()
        await process.wait()
    copied = await _needles(store, cluster.volume)
    assert 0 < copied < 60
    async with at_work(cluster) as pitchfork:
        await until(cluster.is_whole, "whole")
        assert pitchfork.journal.done("needles copied") == 60 - copied
    await cluster.check()


async def _needles(store: StoreProcess, volume: VolumeId) -> int:
    states = (await store.client.health()).volumes
    return sum(state.needles for state in states if state.volume == volume)


async def test_two_pitchforks_do_no_harm(cluster: Cluster) -> None:
    await cluster.upload(30)
    store = cluster.stores[S1]
    await store.stop()
    shutil.rmtree(store.folder)
    await store.start()
    await cluster.heartbeats()
    async with at_work(cluster), at_work(cluster):
        await until(cluster.is_whole, "whole")
    await cluster.check()


async def test_it_tells_what_it_does(cluster: Cluster) -> None:
    await cluster.upload(3)
    async with at_work(cluster) as pitchfork:
        app = Operated(
            pitchfork_application(pitchfork),
            role="pitchfork",
            ready=pitchfork.ready,
            registry=pitchfork.journal.registry,
        )
        await cluster.directory.report_failure(cluster.volume, S1, "needle_corrupt")
        await until(cluster.is_whole, "whole")
        async with AppServer(app) as server, aiohttp.ClientSession(server.url) as session:
            async with session.get("/health") as answer:
                assert (await answer.json())["service"] == "pitchfork"
            async with session.get("/ready") as answer:
                assert answer.status == 200
            async with session.get("/status") as answer:
                told = await answer.json()
                assert told["done"]["replicas mended"] == 1
                assert {"doing", "done", "errors", "replicas_failed"} == told.keys()
            async with session.get("/metrics") as answer:
                assert 'hayloft_pitchfork_done_total{what="replicas mended"} 1.0' in await answer.text()
