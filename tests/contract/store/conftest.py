"""A store in this process and over HTTP; two stores that are replicas of each other, in memory, too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hayloft.roles import Store
from hayloft.store.client import StoreClient
from hayloft.store.local import LocalStore
from hayloft.store.server import store_application
from hayloft.testing.memory import MemoryStore
from hayloft.types import StoreId
from hayloft.wire.serving import AppServer
from replica_samples import KNOWN, Replicas, local_store
from store_samples import open_local


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalStore]:
    store = open_local(tmp_path / "store")
    yield store
    await store.close()


@pytest.fixture(params=["local", "http"])
async def store(request: pytest.FixtureRequest, local: LocalStore) -> AsyncIterator[Store]:
    if request.param == "local":
        yield local
        return
    async with AppServer(store_application(local)) as server:
        client = StoreClient(server.url)
        yield client
        await client.close()


@pytest.fixture(params=["local", "http", "memory"])
async def replicas(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Replicas]:
    if request.param == "memory":
        yield Replicas(
            one=MemoryStore(StoreId("one"), peers=KNOWN), other=MemoryStore(StoreId("other"), peers=KNOWN)
        )
        return
    stores = [local_store(tmp_path / name) for name in ("a", "b")]
    if request.param == "local":
        yield Replicas(one=stores[0], other=stores[1])
    else:
        async with (
            AppServer(store_application(stores[0])) as one,
            AppServer(store_application(stores[1])) as other,
        ):
            clients = [StoreClient(server.url) for server in (one, other)]
            yield Replicas(one=clients[0], other=clients[1])
            for client in clients:
                await client.close()
    for store in stores:
        await store.close()


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[tuple[LocalStore, LocalStore]]:
    opened = [local_store(tmp_path / name) for name in ("a", "b")]
    yield opened[0], opened[1]
    for store in opened:
        await store.close()
