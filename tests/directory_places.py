"""Where a directory may be that a test speaks to, and what it is told there.

In this process on SQLite, behind HTTP on a real socket, or a primary and a replica on one database of
PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from hayloft.database import open_database
from hayloft.directory.client import DirectoryClient
from hayloft.directory.leadership import Leadership
from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.directory.server import directory_application
from hayloft.roles import Directory
from hayloft.types import (
    Lease,
    NewPhoto,
    PhotoId,
    Sequence,
    StoreHealth,
    StoreId,
    VolumeId,
    VolumeState,
    new_cookie,
    photo_id,
)
from hayloft.wire.serving import AppServer, free_port

POLICY = WritePolicy(writable_max=2, volume_size_bytes_max=1000, free_bytes_min=10)
DAY_MS = 86_400_000


class Clock:
    """Time that stands still unless moved."""

    def __init__(self) -> None:
        self.ms = 20_000 * DAY_MS + 1000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_seconds(self) -> float:
        return self.ms / 1000


@dataclass(frozen=True)
class Place:
    """Where a test's directory is to be."""

    folder: Path
    clock: Clock
    postgres_database: Callable[[], str]
    """Makes a database that is up to date, and says its URL."""


@asynccontextmanager
async def local(place: Place) -> AsyncIterator[Directory]:
    url = f"sqlite:///{place.folder / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    directory = LocalDirectory.open(url, policy=POLICY, clock=place.clock)
    yield directory
    await directory.close()


@asynccontextmanager
async def over_http(place: Place) -> AsyncIterator[Directory]:
    async with local(place) as directory, AppServer(directory_application(directory)) as server:
        client = DirectoryClient(server.url)
        yield client
        await client.close()


@asynccontextmanager
async def primary_and_replica(place: Place) -> AsyncIterator[Directory]:
    """A client that asks the replica first: it reads there, and is sent to the primary to write."""
    url = await asyncio.to_thread(place.postgres_database)
    async with AsyncExitStack() as stack:
        urls = []
        for first in (True, False):
            port = free_port()
            database = open_database(url, name="directory")
            stack.push_async_callback(database.close)
            leadership = Leadership(database, url=f"http://127.0.0.1:{port}", first=first)
            directory = LocalDirectory(leadership.fenced, policy=POLICY, clock=place.clock)
            await stack.enter_async_context(leadership)
            app = directory_application(directory, mode=leadership)
            await stack.enter_async_context(AppServer(app, port=port))
            urls.append(leadership.url)
        client = DirectoryClient(urls[::-1])
        stack.push_async_callback(client.close)
        yield client


def store(name: str, *states: VolumeState, free_bytes: int = 1 << 40) -> StoreHealth:
    return StoreHealth(store=StoreId(name), volumes=states, free_bytes=free_bytes, capacity_bytes=1 << 41)


def state(volume: int, *, size_bytes: int = 0, sealed: bool = False) -> VolumeState:
    return VolumeState(volume=VolumeId(volume), needles=0, size_bytes=size_bytes, sealed=sealed)


def new(lease: Lease, number: int, data: bytes | None = None, **changes) -> NewPhoto:
    data = b"photo %d" % number if data is None else data
    photo = NewPhoto(
        photo=photo_id(lease.volume, Sequence(lease.first + number)),
        cookie=new_cookie(),
        size=len(data),
        sha256=sha256(data).digest(),
        media_type="image/jpeg",
        width=640,
        height=480,
        name="Größe 📷.jpg",
        created_at_ms=20_000 * DAY_MS + number,
    )
    return replace(photo, **changes)


async def fill(directory: Directory, lease: Lease, count: int, **changes) -> list[PhotoId]:
    await asyncio.gather(*(directory.commit(new(lease, n, **changes)) for n in range(count)))
    return [new(lease, n).photo for n in range(count)]
