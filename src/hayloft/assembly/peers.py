"""Clients to the other roles of a cluster, all with its secret: what local roles are to one server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from hayloft.assembly.fleet import Fleet
from hayloft.assembly.settings import DirectoryUserSettings
from hayloft.cache.client import CacheClient
from hayloft.cache.ring import CacheRing
from hayloft.directory.client import DirectoryClient
from hayloft.roles import Directory, Store
from hayloft.store.client import StoreClient
from hayloft.types import StoreId
from hayloft.wire.session import Patience

STORE_PATIENCE: Final = Patience(connect_seconds=1.0, total_seconds=30.0, attempts=2)


@asynccontextmanager
async def directory_of(settings: DirectoryUserSettings) -> AsyncIterator[Directory]:
    """The directory of this role's cluster."""
    directory = DirectoryClient(settings.directories, secret=settings.key())
    try:
        yield directory
    finally:
        await directory.close()


def fleet_of(settings: DirectoryUserSettings, directory: Directory) -> Fleet:
    """The stores of this role's cluster."""
    return Fleet(directory, partial(_store, settings.key()))


def _store(key: bytes | None, _name: StoreId, url: str) -> Store:
    return StoreClient(url, patience=STORE_PATIENCE, secret=key)


@asynccontextmanager
async def caches_of(urls: Sequence[str], key: bytes | None) -> AsyncIterator[CacheRing | None]:
    """The caches at these addresses as one; None when there are none."""
    if not urls:
        yield None
        return
    ring = CacheRing({url: CacheClient(url, secret=key) for url in urls})
    try:
        yield ring
    finally:
        await ring.close()
