"""What clients notice of a store that is killed, or stopped: requests that fail, and the slowest one.

A closed loop of connections reads, or uploads, for some seconds. Shortly after the start one of three
stores is struck; some seconds later it is back. Every answer is looked at: a status of 400 or more, a
broken connection, or a photo whose bytes are not the uploaded ones, counts as failed.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from measure.cluster import Cluster
from measure.photos import Template

CONNECTIONS = 16
STRUCK_AFTER_SECONDS = 2.0
AWAY_SECONDS = 5.0
SECONDS = 10.0

_serials = itertools.count(1 << 50)


@dataclass(slots=True)
class Noticed:
    """What clients noticed."""

    requests: int = 0
    slowest_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Noticed) -> None:
        """Take another load's into account."""
        self.requests += other.requests
        self.slowest_seconds = max(self.slowest_seconds, other.slowest_seconds)
        self.failures += other.failures


Request = Callable[[aiohttp.ClientSession], Awaitable[str]]
"""One request; what is wrong with its answer, or nothing."""


def under_load(cluster: Cluster, request: Request, *, number: int) -> Noticed:
    """Strike a store with this signal while the load goes on; it is back before the load ends."""
    return asyncio.run(_under_load(cluster, request, number))


async def _under_load(cluster: Cluster, request: Request, number: int) -> Noticed:
    noticed = Noticed()
    until = time.monotonic() + SECONDS
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS), timeout=aiohttp.ClientTimeout(total=60)
    ) as client:
        load = [asyncio.create_task(_loop(client, request, until, noticed)) for _ in range(CONNECTIONS)]
        await asyncio.sleep(STRUCK_AFTER_SECONDS)
        struck = cluster.stores[0]
        await asyncio.to_thread(cluster.signal, struck, number)
        await asyncio.sleep(AWAY_SECONDS)
        if number == signal.SIGKILL:
            await asyncio.to_thread(cluster.start_store, struck)
        else:
            cluster.signal(struck, signal.SIGCONT)
        await asyncio.gather(*load)
    await asyncio.to_thread(cluster.wait_until_ready, struck)
    return noticed


async def _loop(client: aiohttp.ClientSession, request: Request, until: float, noticed: Noticed) -> None:
    while (started := time.monotonic()) < until:
        try:
            wrong = await request(client)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            wrong = repr(error)
        noticed.requests += 1
        noticed.slowest_seconds = max(noticed.slowest_seconds, time.monotonic() - started)
        if wrong:
            noticed.failures.append(wrong)


def reading(url: str, photos: Sequence[tuple[str, bytes]]) -> Request:
    """Reads of photos, given by their paths and the SHA-256 of their bytes."""

    async def read(client: aiohttp.ClientSession) -> str:
        path, digest = random.choice(photos)
        async with client.get(url + path) as answer:
            body = await answer.read()
            if answer.status != 200:
                return f"{answer.status} {body[:200]!r}"
            return "" if hashlib.sha256(body).digest() == digest else "other bytes"

    return read


def uploading(url: str, template: Template, kept: list[tuple[str, bytes]]) -> Request:
    """Uploads of photos; what was acknowledged is noted in ``kept``."""

    async def upload(client: aiohttp.ClientSession) -> str:
        data = template.photo(next(_serials))
        async with client.post(
            f"{url}/upload", data=data, headers={"content-type": "image/jpeg"}
        ) as answer:
            told = await answer.json()
            if answer.status != 201:
                return f"{answer.status} {told}"
            path = f"/photo/{told['photo_id']}" + (f"/{told['cookie']}" if "cookie" in told else "")
            kept.append((path, hashlib.sha256(data).digest()))
            return ""

    return upload


def fill(url: str, template: Template, count: int, *, seconds_max: float = 60.0) -> list[tuple[str, bytes]]:
    """Upload so many photos, or as many as there is time for; their paths and digests."""
    until = time.monotonic() + seconds_max

    async def run() -> list[tuple[str, bytes]]:
        kept: list[tuple[str, bytes]] = []
        upload = uploading(url, template, kept)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client:

            async def some() -> None:
                while len(kept) < count and time.monotonic() < until:
                    if wrong := await upload(client):
                        raise RuntimeError(f"a photo was not stored: {wrong}")

            await asyncio.gather(*(some() for _ in range(CONNECTIONS)))
        return kept

    return asyncio.run(run())


def check(url: str, photos: Sequence[tuple[str, bytes]]) -> list[str]:
    """What is wrong with photos that were acknowledged; nothing if all are there."""

    async def run() -> list[str]:
        wrong: list[str] = []
        left = iter(photos)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client:

            async def some() -> None:
                for photo in left:
                    problem = await reading(url, [photo])(client)
                    wrong.extend([f"{photo[0]}: {problem}"] if problem else [])

            await asyncio.gather(*(some() for _ in range(CONNECTIONS)))
        return wrong

    return asyncio.run(run())
