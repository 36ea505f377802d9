"""What photos' files say: recorded, replaced, read many at once, and erased with the photo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hayloft.directory.client import DirectoryClient
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.directory.server import directory_application
from hayloft.errors import InvalidRequest
from hayloft.limits import PAGE_PHOTOS_MAX
from hayloft.roles import Directory
from hayloft.testing.memory import MemoryDirectory
from hayloft.types import (
    AlternateKey,
    NewPhoto,
    PhotoDetails,
    PhotoId,
    RenditionSize,
    StoreHealth,
    StoreId,
    new_cookie,
    photo_id,
)
from hayloft.wire.serving import AppServer

DETAILS = PhotoDetails(
    width=4000,
    height=3000,
    taken_at="2024-05-17T18:42:03.250+02:00",
    camera_model="Kamera ☃",
    exposure_seconds=0.004,
    latitude=52.52,
    longitude=-13.41,
    placeholder=bytes(range(24)),
    renditions=(RenditionSize(alternate_key=AlternateKey.THUMB, width=256, height=192),),
)


@pytest.fixture(params=["memory", "local", "http"])
async def directory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Directory]:
    health = StoreHealth(store=StoreId("one"), volumes=(), free_bytes=1 << 40, capacity_bytes=1 << 41)
    if request.param == "memory":
        memory = MemoryDirectory()
        await memory.register(health)
        yield memory
        return
    url = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    local = LocalDirectory.open(url)
    await local.register(health)
    if request.param == "local":
        yield local
    else:
        async with AppServer(directory_application(local)) as server:
            client = DirectoryClient(server.url)
            yield client
            await client.close()
    await local.close()


async def committed(directory: Directory) -> PhotoId:
    lease = await directory.lease(holder="test", count=1)
    photo = photo_id(lease.volume, lease.first)
    digest = photo.to_bytes(32)
    new = NewPhoto(
        photo=photo, cookie=new_cookie(), size=1, sha256=digest, media_type="image/png", width=1, height=1
    )
    await directory.commit(new)
    return photo


async def test_recorded_and_replaced(directory: Directory) -> None:
    first, second = await committed(directory), await committed(directory)
    assert await directory.details([first, second]) == {}
    await directory.set_details(first, DETAILS)
    await directory.set_details(second, PhotoDetails(failure="It is no image."))
    assert await directory.details([first, second, PhotoId(1)]) == {
        first: DETAILS,
        second: PhotoDetails(failure="It is no image."),
    }
    await directory.set_details(first, PhotoDetails(width=1, height=1))
    assert (await directory.details([first]))[first].width == 1


async def test_erased_with_the_photo_and_never_recorded_after_it(directory: Directory) -> None:
    photo = await committed(directory)
    await directory.set_details(photo, DETAILS)
    await directory.delete(photo)
    assert await directory.details([photo]) == {}
    await directory.set_details(photo, DETAILS)
    await directory.set_details(PhotoId(photo + 1), DETAILS)
    assert await directory.details([photo, PhotoId(photo + 1)]) == {}


async def test_so_many_and_no_more(directory: Directory) -> None:
    photo = await committed(directory)
    await directory.set_details(photo, DETAILS)
    asked = [photo, *(PhotoId(number) for number in range(1, PAGE_PHOTOS_MAX))]
    assert await directory.details(asked) == {photo: DETAILS}
    assert await directory.details([]) == {}
    if not isinstance(directory, MemoryDirectory):
        with pytest.raises(InvalidRequest):
            await directory.details([*asked, photo])
