"""The roles on one machine, opened in one process: local store and directory, similarity over a socket.

Every process that serves opens the same volumes and the same database; the formats and SQLite see to
it that they agree. ``roles`` opens what any process needs, ``front`` the gateway over them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from hayloft.assembly import fronts
from hayloft.assembly.data_directory import DataDirectory
from hayloft.config import Settings
from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.gateway.front import Front
from hayloft.gateway.gateway import Gateway
from hayloft.renditions.client import RenditionsClient
from hayloft.renditions.location import without_position
from hayloft.roles import Directory, Store
from hayloft.similarity.client import SimilarityClient
from hayloft.store.local import LocalStore
from hayloft.types import StoreId
from hayloft.wire.session import Patience

STORE: Final = StoreId("local")
"""The one store of an embedded server."""

SIMILARITY_PATIENCE: Final = Patience(connect_seconds=1.0, total_seconds=30.0, attempts=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """What an embedded process opens."""

    directory: Directory
    stores: dict[StoreId, Store]


@asynccontextmanager
async def roles(settings: Settings, data: DataDirectory) -> AsyncIterator[Roles]:
    """The directory and the store of a prepared data directory, the store registered."""
    store = LocalStore(data.volumes, store=STORE, settings=settings.volume)
    try:
        directory = LocalDirectory.open(data.directory_url, policy=write_policy(settings))
        try:
            await directory.register(await store.health())
            yield Roles(directory=directory, stores={STORE: store})
        finally:
            await directory.close()
    finally:
        await store.close()


def write_policy(settings: Settings) -> WritePolicy:
    """How volumes are made and filled on one machine."""
    return WritePolicy(
        writable_max=settings.volumes_writable,
        replication=1,
        volume_size_bytes_max=settings.volume.size_bytes_max,
        free_bytes_min=settings.volume.free_space_reserve_bytes,
    )


@asynccontextmanager
async def front(settings: Settings, data: DataDirectory, *, worker: str) -> AsyncIterator[Front]:
    """The gateway of one worker process, ready to serve."""
    similarity = None
    if settings.similarity.enabled:
        similarity = SimilarityClient(uds=data.similarity_socket, patience=SIMILARITY_PATIENCE)
    renditions = None
    if settings.renditions.enabled:
        renditions = RenditionsClient(uds=data.renditions_socket)
    try:
        async with roles(settings, data) as opened:
            gateway = Gateway(
                directory=opened.directory,
                stores=opened.stores,
                similarity=similarity,
                settings=settings,
                secret=data.secret(),
                worker=worker,
                renditions=renditions,
                public_view=without_position if settings.renditions.strip_gps else None,
            )
            async with fronts.opened(gateway) as front:
                yield front
    finally:
        if similarity is not None:
            await similarity.close()
        if renditions is not None:
            await renditions.close()
