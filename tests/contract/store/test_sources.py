"""Where copies come from: sources that die, that nobody knows, or that share no secret."""

from __future__ import annotations

import asyncio
import random

import pytest

from hayloft.errors import HayloftError, RoleUnavailable, Unauthorized, VolumeNotFound
from hayloft.store.client import StoreClient
from hayloft.store.local import LocalStore
from hayloft.store.server import store_application
from hayloft.types import StoreId
from hayloft.wire.authentication import Authenticated
from hayloft.wire.serving import AppServer
from replica_samples import VOLUME, Replicas, copy, export, fill, key, needle


async def test_a_source_that_dies_while_it_sends_leaves_nothing(
    stores: tuple[LocalStore, LocalStore],
) -> None:
    one, other = stores
    await fill(one, 1)
    await one.append(VOLUME, needle(2, random.Random(2).randbytes(700_000)))
    records = await export(one, key(1), key(2))

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(records) + records[:-9])
        await writer.drain()
        writer.close()

    dying = await asyncio.start_server(die, "127.0.0.1", 0)
    source = StoreClient(f"http://127.0.0.1:{dying.sockets[0].getsockname()[1]}")
    with pytest.raises(RoleUnavailable):
        await copy(source, other, key(1), key(2))
    with pytest.raises(VolumeNotFound):
        await other.digest(VOLUME)
    await source.close()
    dying.close()


async def test_needles_are_fetched_and_given_away_only_among_those_who_share_the_secret(
    stores: tuple[LocalStore, LocalStore],
) -> None:
    one, other = stores
    secret, strange = b"the secret of these stores", b"another one, of strangers"
    await fill(one, 1)
    async with (
        AppServer(Authenticated(store_application(one), [secret])) as source,
        AppServer(Authenticated(store_application(other), [secret])) as target,
    ):
        knowing = StoreClient(target.url, secret=secret)
        stranger = StoreClient(target.url, secret=strange)
        sources = [StoreClient(source.url, secret=each) for each in (strange, secret)]
        with pytest.raises(Unauthorized):
            await copy(sources[1], stranger, key(1))
        with pytest.raises(HayloftError):
            await copy(sources[0], knowing, key(1))
        assert await copy(sources[1], knowing, key(1)) == (1, 0, 0)
        for client in (knowing, stranger, *sources):
            await client.close()


async def test_a_source_that_nobody_knows(replicas: Replicas) -> None:
    with pytest.raises(RoleUnavailable):
        await replicas.one.fetch_needles(VOLUME, [key(1)], source=StoreId("nobody"))
