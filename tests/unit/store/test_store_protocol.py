"""A store's short way for hot needles: the same answers as through ASGI, for those who may have them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from hayloft.errors import PhotoDeleted, PhotoNotFound, Unauthorized
from hayloft.store.client import StoreClient
from hayloft.store.local import LocalStore
from hayloft.store.protocol import needle_protocol
from hayloft.store.server import store_application
from hayloft.types import (
    AlternateKey,
    Cookie,
    NeedleMetadata,
    NewNeedle,
    PhotoId,
    StoreId,
    VolumeId,
)
from hayloft.wire.authentication import Authenticated
from hayloft.wire.serving import AppServer

SECRET = b"a secret between them"
PHOTO = PhotoId(1 << 32 | 7)
NEEDLE = NewNeedle(
    photo=PHOTO,
    cookie=Cookie(0xABCDEF0123456789),
    data=b"photo" * 10_000,
    metadata=NeedleMetadata(
        media_type="image/jpeg", name="Größe 📷.jpg", sha256=b"\x07" * 32, created_at_ms=1234
    ),
)


@dataclass
class Served:
    server: AppServer


@pytest.fixture(params=[True, False], ids=["short way", "ASGI alone"])
async def served(request, tmp_path: Path) -> AsyncIterator[Served]:
    store = LocalStore(tmp_path, store=StoreId("s"))
    await store.append(VolumeId(1), NEEDLE)
    guarded = Authenticated(store_application(store), [SECRET])
    counted: list[int] = []
    options = {}
    if request.param:
        options["protocol"] = needle_protocol(
            store, admits=guarded.admits, answered=partial(counted.append, 1)
        )
    async with AppServer(guarded, **options) as server:
        yield Served(server)
        if request.param:
            assert counted, "nothing took the short way"
    await store.close()


async def test_a_needle_is_the_same_either_way(served):
    client = StoreClient(served.server.url, secret=SECRET)
    for _ in range(3):
        needle = await client.read(PHOTO)
        assert (needle.data, needle.cookie, needle.metadata) == (
            NEEDLE.data,
            NEEDLE.cookie,
            NEEDLE.metadata,
        )
    with pytest.raises(PhotoNotFound):
        await client.read(PHOTO, AlternateKey.THUMB)
    with pytest.raises(PhotoNotFound):
        await client.read(PhotoId(9 << 32))
    await client.delete(PHOTO)
    with pytest.raises(PhotoDeleted):
        await client.read(PHOTO)
    await client.close()


async def test_whoever_does_not_know_the_secret_gets_nothing(served):
    knowing = StoreClient(served.server.url, secret=SECRET)
    await knowing.read(PHOTO)
    await knowing.close()
    for secret in (None, b"another secret altogether"):
        client = StoreClient(served.server.url, secret=secret)
        with pytest.raises(Unauthorized):
            await client.read(PHOTO)
        await client.close()
    address = f"{served.server.url}/volume/lv-1/read?photo_id={PHOTO}&alt_key=orig"
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        assert answer.status == 401
        assert (await answer.json())["code"] == "unauthorized"
