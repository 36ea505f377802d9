"""A gateway whose stores and caches are on the other side of HTTP, each behind a proxy that misbehaves."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from doubles.proxy import Proxy
from hayloft.cache.client import CacheClient
from hayloft.cache.local import LocalCache
from hayloft.cache.ring import ANSWER_SECONDS_MAX, CacheRing
from hayloft.cache.server import cache_application
from hayloft.config import CacheSettings, Settings
from hayloft.gateway import routes
from hayloft.gateway.cached import Admission
from hayloft.gateway.front import Front
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.protocol import photo_protocol
from hayloft.roles import Directory
from hayloft.store.client import StoreClient
from hayloft.store.server import store_application
from hayloft.testing.memory import MemoryDirectory, MemoryStore
from hayloft.types import PhotoId, StoreId
from hayloft.wire.serving import AppServer
from hayloft.wire.session import Answer, Patience, Session

SECRET = b"s" * 32
SECONDS_MAX = 20.0
PATIENCE = Patience(connect_seconds=10.0, total_seconds=120.0, attempts=1)
"""Longer than any test waits: whoever waits for a silent peer is found out."""


async def until(true: Callable[[], Any]) -> None:
    """Wait until something is so; whoever calls bounds how long."""
    while True:
        outcome = true()
        if await outcome if inspect.isawaitable(outcome) else outcome:
            return
        await asyncio.sleep(0.02)


@dataclass
class Remote:
    """What a test turns and looks at."""

    directory: Directory
    stores: dict[StoreId, MemoryStore]
    proxies: dict[StoreId, Proxy]
    caches: dict[str, LocalCache]
    cache_proxies: dict[str, Proxy]
    gateway: Gateway
    session: Session
    url: str

    async def upload(self, data: bytes) -> tuple[PhotoId, str]:
        """A photo's id and the path of its capability link."""
        answer = await self.request("POST", "/upload", data=data, headers={"content-type": "image/jpeg"})
        told = answer.json()
        return PhotoId(told["photo_id"]), f"/photo/{told['photo_id']}/{told['cookie']}"

    async def read(self, path: str) -> bytes:
        """A photo's bytes."""
        return (await self.request("GET", path)).body

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        """Any request, which is answered in time or fails the test."""
        async with asyncio.timeout(SECONDS_MAX):
            return await self.session.request(method, path, **options)


@asynccontextmanager
async def remote_gateway(
    *,
    stores: int = 3,
    caches: int = 0,
    admission: Admission = Admission.ALL,
    patient: bool = True,
    directory: Directory | None = None,
) -> AsyncIterator[Remote]:
    """The gateway, served, over memory stores and real caches, served too.

    A ``patient`` one waits for its caches however slow the machine is. The ``directory`` is one in memory
    when not given.
    """
    async with AsyncExitStack() as stack:
        held = {StoreId(f"s{number}"): MemoryStore(StoreId(f"s{number}")) for number in range(stores)}
        directory = directory or MemoryDirectory(replicas=stores)
        proxies, clients = {}, {}
        for name, store in held.items():
            await directory.register(await store.health())
            server = await stack.enter_async_context(AppServer(store_application(store)))
            proxies[name] = await stack.enter_async_context(Proxy(server.url))
            clients[name] = StoreClient(proxies[name].url, patience=PATIENCE)
            stack.push_async_callback(clients[name].close)
        kept, cache_proxies = {}, {}
        for number in range(caches):
            name = f"c{number}"
            kept[name] = await LocalCache.open(CacheSettings())
            stack.push_async_callback(kept[name].close)
            server = await stack.enter_async_context(AppServer(cache_application(kept[name])))
            cache_proxies[name] = await stack.enter_async_context(Proxy(server.url))
        ring = None
        if caches:
            ring = CacheRing(
                {
                    name: CacheClient(proxy.url, patience=PATIENCE if patient else None)
                    for name, proxy in cache_proxies.items()
                },
                answer_seconds_max=SECONDS_MAX if patient else ANSWER_SECONDS_MAX,
            )
            stack.push_async_callback(ring.close)
        gateway = Gateway(
            directory=directory,
            stores=clients,
            similarity=None,
            settings=Settings(),
            secret=SECRET,
            worker="worker",
            cache=ring,
            admission=admission,
        )
        if gateway.cached is not None and patient:
            gateway.cached._answer_seconds_max = SECONDS_MAX
        stack.push_async_callback(gateway.close)
        front = Front(gateway, routes.application(gateway))
        server = await stack.enter_async_context(AppServer(front, protocol=photo_protocol(front)))
        session = await stack.enter_async_context(Session(server.url, patience=PATIENCE))
        yield Remote(directory, held, proxies, kept, cache_proxies, gateway, session, server.url)
