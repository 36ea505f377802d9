"""``roles.Renditions`` in this process and over a Unix socket: the same answers, the same errors."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import rendition_samples as samples
from hayloft import errors
from hayloft.renditions.client import RenditionsClient
from hayloft.renditions.local import LocalRenditions
from hayloft.renditions.server import renditions_application
from hayloft.roles import Renditions
from hayloft.testing.memory import MemoryDirectory, MemoryStore
from hayloft.types import (
    AlternateKey,
    NewNeedle,
    NewPhoto,
    PhotoId,
    StoreId,
    new_cookie,
    photo_id,
)
from hayloft.wire.serving import AppServer

STORE = StoreId("one")


@dataclass
class Library:
    """Where the photos are."""

    directory: MemoryDirectory
    store: MemoryStore

    async def read_original(self, photo: PhotoId) -> bytes:
        return bytes((await self.store.read(photo)).data)

    async def add(self, data: bytes) -> PhotoId:
        lease = await self.directory.lease(holder="test", count=1)
        photo, cookie = photo_id(lease.volume, lease.first), new_cookie()
        await self.store.append(lease.volume, NewNeedle(photo=photo, cookie=cookie, data=data))
        new = NewPhoto(
            photo=photo,
            cookie=cookie,
            size=len(data),
            sha256=hashlib.sha256(data).digest(),
            media_type="image/jpeg",
            width=0,
            height=0,
        )
        await self.directory.commit(new)
        return photo


@pytest.fixture
async def library() -> Library:
    made = Library(MemoryDirectory(), MemoryStore(STORE))
    await made.directory.register(await made.store.health())
    return made


@pytest.fixture(params=["local", "socket"])
async def renditions(
    request: pytest.FixtureRequest, library: Library, tmp_path: Path
) -> AsyncIterator[Renditions]:
    local = LocalRenditions(directory=library.directory, stores={STORE: library.store}, reader=library)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(local.close)
        if request.param == "local":
            yield local
            return
        socket = tmp_path / "renditions.sock"
        await stack.enter_async_context(AppServer(renditions_application(local), uds=socket))
        client = RenditionsClient(uds=socket)
        stack.push_async_callback(client.close)
        yield client


PHOTO = samples.saved(samples.quadrants(600, 400), "JPEG", exif=samples.exif_block().tobytes())


async def test_what_is_made(renditions: Renditions, library: Library) -> None:
    photo = await library.add(PHOTO)
    details = await renditions.make(photo)
    assert (details.width, details.height, details.camera_model) == (600, 400, "Canon EOS R5")
    assert details == (await library.directory.details([photo]))[photo]
    assert details == await renditions.make(photo)
    thumb = await renditions.rendition(photo, AlternateKey.THUMB)
    assert thumb.media_type == "image/webp"
    assert samples.looks_like_quadrants(samples.opened(thumb.data), most=25)
    stored = await library.store.read(photo, AlternateKey.THUMB)
    assert bytes(stored.data) == thumb.data


async def test_pictures_to_order(renditions: Renditions, library: Library) -> None:
    photo = await library.add(PHOTO)
    made = await renditions.picture(photo, "pct:0,0,50,50/^!99,99/!0/color.png")
    assert (made.media_type, made.canonical) == ("image/png", "0,0,300,200/99,66/!0/default.png")
    assert samples.opened(made.data).size == (99, 66)
    information = await renditions.information(photo, address="http://localhost/iiif/3/a b?c")
    assert information["id"] == "http://localhost/iiif/3/a b?c"
    assert information["sizes"][0] == {"width": 256, "height": 171}


async def test_errors(renditions: Renditions, library: Library) -> None:
    photo, broken = await library.add(PHOTO), await library.add(b"\xff\xd8\xff no image")
    with pytest.raises(errors.InvalidRequest):
        await renditions.picture(photo, "full/99999,/0/default.jpg")
    for refused in (
        renditions.rendition(broken, AlternateKey.THUMB),
        renditions.picture(broken, "full/max/0/default.jpg"),
        renditions.information(broken, address="http://localhost"),
    ):
        with pytest.raises(errors.UnsupportedMedia):
            await refused
    assert (await renditions.make(broken)).failure
    with pytest.raises(errors.PhotoNotFound):
        await renditions.make(PhotoId(photo + 99))
    await library.directory.delete(photo)
    with pytest.raises(errors.PhotoDeleted):
        await renditions.rendition(photo, AlternateKey.THUMB)


async def test_a_service_that_is_just_starting_is_waited_for(library: Library, tmp_path: Path) -> None:
    photo = await library.add(PHOTO)
    socket = tmp_path / "late.sock"
    client = RenditionsClient(uds=socket)
    asked = asyncio.create_task(client.make(photo))
    await asyncio.sleep(0.2)
    local = LocalRenditions(directory=library.directory, stores={STORE: library.store}, reader=library)
    async with AppServer(renditions_application(local), uds=socket):
        assert (await asked).width == 600
    await client.close()
    await local.close()


async def test_a_service_that_never_comes_is_given_up(tmp_path: Path) -> None:
    client = RenditionsClient(uds=tmp_path / "never.sock", start_seconds_max=0.2)
    with pytest.raises(errors.RoleUnavailable):
        await client.make(PhotoId(1))
    await client.close()
