"""Two directories as real processes on one PostgreSQL, under load, while one after the other goes away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hayloft.directory.client import DirectoryClient
from hayloft.errors import RoleUnavailable
from hayloft.types import NewPhoto, PhotoId, Sequence, StoreHealth, StoreId, new_cookie, photo_id
from hayloft.wire.serving import free_port

SECRET = "a secret of the tests' own"
HEALTH = StoreHealth(store=StoreId("s1"), volumes=(), free_bytes=1 << 40, capacity_bytes=1 << 40)
WRITERS = 16


class Process:
    """One directory."""

    def __init__(self, folder: Path, database_url: str, mode: str, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._mode = mode
        self._environment = {
            **os.environ,
            "HAYLOFT_DATABASE_URL": database_url,
            "HAYLOFT_SECRET": SECRET,
            **settings,
        }
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "hayloft", "directory"]
        options = ["--port", str(self.port), "--mode", self._mode]
        with (self._folder / f"{self._mode}.log").open("ab") as log:
            self._running = subprocess.Popen(
                [*command, *options], env=self._environment, stderr=log, stdout=log, cwd=self._folder
            )

    def send(self, number: int) -> None:
        assert self._running is not None
        self._running.send_signal(number)
        if number == signal.SIGKILL:
            self._running.wait()

    def wait(self) -> None:
        assert self._running is not None
        assert self._running.wait(60) == 0

    def close(self) -> None:
        if self._running is not None and self._running.poll() is None:
            self._running.kill()
            self._running.wait()


@dataclass
class Pair:
    """A primary and a replica."""

    one: Process
    two: Process

    async def health(self, process: Process) -> dict[str, Any]:
        try:
            timeout = aiohttp.ClientTimeout(total=2)
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.get(f"{process.url}/health") as response,
            ):
                told: dict[str, Any] = await response.json()
                return told
        except (aiohttp.ClientError, TimeoutError, OSError):
            return {}

    async def until_mode(self, process: Process, mode: str) -> None:
        """Until it says that it is in this mode, and where the primary is."""
        primary = process if mode == "primary" else self.two if process is self.one else self.one
        async with asyncio.timeout(90):
            while True:
                told = await self.health(process)
                if (told.get("mode"), told.get("primary_directory")) == (mode, primary.url):
                    return
                await asyncio.sleep(0.1)


@contextmanager
def running(tmp_path: Path, url: str) -> Iterator[Pair]:
    pair = Pair(Process(tmp_path, url, "primary"), Process(tmp_path, url, "replica"))
    try:
        pair.one.start()
        pair.two.start()
        yield pair
    finally:
        pair.one.close()
        pair.two.close()


@pytest.fixture
async def pair(tmp_path: Path, postgres_database) -> AsyncIterator[Pair]:
    url = await asyncio.to_thread(postgres_database)
    with running(tmp_path, url) as pair:
        await pair.until_mode(pair.one, "primary")
        await pair.until_mode(pair.two, "replica")
        yield pair


@dataclass
class Load:
    """Uploads, as gateways make them: ids from leases, commits at the same time."""

    client: DirectoryClient
    acknowledged: list[PhotoId] = field(default_factory=list)
    refused: list[RoleUnavailable] = field(default_factory=list)
    slowest_seconds: float = 0.0
    requests: int = 0
    writers: list[asyncio.Task[None]] = field(default_factory=list)

    async def write(self, holder: str) -> None:
        """Until cancelled."""
        while True:
            try:
                lease = await self.client.lease(holder=holder, count=256)
            except RoleUnavailable as error:
                self.refused.append(error)
                continue
            for number in range(lease.count):
                await self.commit(photo_id(lease.volume, Sequence(lease.first + number)))

    async def beat(self) -> None:
        """A store's heartbeats, until cancelled."""
        while True:
            with contextlib.suppress(RoleUnavailable):
                await self.client.register(HEALTH)
            await asyncio.sleep(1)

    async def commit(self, photo: PhotoId) -> None:
        began = asyncio.get_running_loop().time()
        new = NewPhoto(
            photo=photo,
            cookie=new_cookie(),
            size=1,
            sha256=sha256(str(photo).encode()).digest(),
            media_type="image/png",
            width=1,
            height=1,
        )
        try:
            committed = await self.client.commit(new)
        except RoleUnavailable as error:
            self.refused.append(error)
            return
        assert committed.photo == photo
        assert not committed.repeated
        self.acknowledged.append(photo)
        self.slowest_seconds = max(self.slowest_seconds, asyncio.get_running_loop().time() - began)

    async def until_more(self, count: int = 200) -> None:
        """Until it has gone on for a while."""
        goal = len(self.acknowledged) + count
        async with asyncio.timeout(120):
            while len(self.acknowledged) < goal:
                await asyncio.sleep(0.05)
                for writer in self.writers:
                    if writer.done():
                        writer.result()


@asynccontextmanager
async def load(urls: list[str]) -> AsyncIterator[Load]:
    client = DirectoryClient(urls, secret=SECRET.encode())
    await client.register(HEALTH)
    made = Load(client)
    send = client._session.request

    async def counted(*arguments: Any, **options: Any) -> Any:
        made.requests += 1
        return await send(*arguments, **options)

    client._session.request = counted  # type: ignore[method-assign]
    made.writers = [asyncio.create_task(made.write(f"gateway {number}")) for number in range(WRITERS)]
    made.writers.append(asyncio.create_task(made.beat()))
    try:
        yield made
    finally:
        for writer in made.writers:
            writer.cancel()
        await asyncio.gather(*made.writers, return_exceptions=True)
        await client.close()


async def check(urls: list[str], made: Load) -> None:
    """Everything acknowledged is there, once; the log has no gap and nothing twice."""
    client = DirectoryClient(urls, secret=SECRET.encode())
    events: list[Any] = []
    while more := await client.events(after=len(events), limit=10_000):
        events += more
    await client.close()
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    uploaded = Counter(event.photo for event in events)
    assert set(uploaded.values()) == {1}
    assert set(made.acknowledged) <= set(uploaded)
    assert len(set(made.acknowledged)) == len(made.acknowledged)


async def test_uploads_go_on_whatever_becomes_of_the_directories(pair: Pair, postgres, capsys) -> None:
    urls = [pair.two.url, pair.one.url]

    async def primary_killed() -> None:
        pair.one.send(signal.SIGKILL)
        await pair.until_mode(pair.two, "primary")
        pair.one.start()
        await pair.until_mode(pair.one, "replica")

    async def primary_stopped() -> None:
        pair.two.send(signal.SIGSTOP)
        await pair.until_mode(pair.one, "primary")
        pair.two.send(signal.SIGCONT)
        await pair.until_mode(pair.two, "replica")

    async def replica_killed() -> None:
        pair.two.send(signal.SIGKILL)
        await asyncio.sleep(0.5)
        pair.two.start()
        await pair.until_mode(pair.two, "replica")

    async def primary_ended() -> None:
        pair.one.send(signal.SIGTERM)
        await pair.until_mode(pair.two, "primary")
        await asyncio.to_thread(pair.one.wait)
        pair.one.start()
        await pair.until_mode(pair.one, "replica")

    async def database_restarted() -> None:
        await asyncio.to_thread(postgres.stop)
        await asyncio.to_thread(postgres.run)

    async def database_killed() -> None:
        await asyncio.to_thread(postgres.stop, "immediate")
        await asyncio.to_thread(postgres.run)

    faults: list[Callable[[], Awaitable[None]]] = [
        primary_killed,
        primary_stopped,
        replica_killed,
        primary_ended,
        database_restarted,
        database_killed,
    ]
    async with load(urls) as made:
        await made.until_more()
        calm = made.requests / len(made.acknowledged)
        for fault in faults:
            made.slowest_seconds = 0.0
            await fault()
            await made.until_more()
            with capsys.disabled():
                print(f"\n{fault.__name__}: slowest {made.slowest_seconds:.1f} s", end="")  # noqa: T201
    with capsys.disabled():
        print(f"\n{calm:.2f} requests to the directory for each of {len(made.acknowledged)} uploads")  # noqa: T201
    # Commits that come at the same time share a request, and a lease serves hundreds of them.
    assert calm < 0.5
    assert not made.refused
    await check(urls, made)


async def test_uploads_wait_for_as_many_stores_as_are_wanted(tmp_path: Path, postgres_database) -> None:
    url = await asyncio.to_thread(postgres_database)
    process = Process(tmp_path, url, "primary", HAYLOFT_REPLICAS_MIN="2")
    process.start()
    client = DirectoryClient([process.url], secret=SECRET.encode())
    pair = Pair(process, process)
    try:
        await pair.until_mode(process, "primary")
        await client.register(HEALTH)
        with pytest.raises(RoleUnavailable, match="an upload needs 2") as refused:
            await client.lease(holder="gateway", count=1)
        assert (await pair.health(process))["uploads_refused"] == refused.value.message
        await client.register(replace(HEALTH, store=StoreId("s2")))
        assert set((await client.lease(holder="gateway", count=1)).replicas) == {"s1", "s2"}
        assert (await pair.health(process))["uploads_refused"] == ""
    finally:
        await client.close()
        process.close()
