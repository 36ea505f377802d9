"""Renditions that are damaged or missing on some replicas, over real stores and by plain HTTP.

An address names one size for ever, and caches keep its answer for a year. So whatever became of the stored
needles, the answer is that size, or an error: never quietly a smaller one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import rendition_samples as samples
from hayloft.assembly.originals import Originals
from hayloft.config import RenditionSettings, Settings, VolumeSettings
from hayloft.errors import NotFound
from hayloft.gateway import routes
from hayloft.gateway.front import Front
from hayloft.gateway.gateway import Gateway
from hayloft.renditions.local import LocalRenditions
from hayloft.store.local import LocalStore
from hayloft.testing.memory import MemoryDirectory
from hayloft.types import AlternateKey, NewNeedle, PhotoId, StoreId, volume_of
from hayloft.wire.serving import AppServer

NAMES = (StoreId("s0"), StoreId("s1"))
SIZES = RenditionSettings(thumb=32, small=64, medium=128, large=256)
PHOTO = samples.saved(samples.quadrants(320, 200), "JPEG", quality=90)
LARGE, SMALLER = (256, 160), (AlternateKey.MEDIUM, AlternateKey.SMALL, AlternateKey.THUMB)


@dataclass
class Library:
    """A served gateway, the roles behind it, and a client."""

    folder: Path
    directory: MemoryDirectory
    stores: dict[StoreId, LocalStore]
    originals: Originals
    renditions: LocalRenditions = field(init=False)
    client: aiohttp.ClientSession = field(init=False)
    reads: int = 0

    async def read_original(self, photo: PhotoId) -> bytes:
        self.reads += 1
        return await self.originals.read_original(photo)

    async def upload(self, data: bytes = PHOTO, query: str = "") -> PhotoId:
        headers = {"content-type": "image/jpeg"}
        async with self.client.post(f"/upload{query}", data=data, headers=headers) as answer:
            assert answer.status == 201
            return PhotoId((await answer.json())["photo_id"])

    async def get(self, path: str) -> tuple[int, Any, bytes]:
        async with self.client.get(path) as answer:
            return answer.status, answer.headers, await answer.read()

    async def size(self, photo: PhotoId, rendition: str) -> tuple[int, int]:
        """The size of the picture that is served as a rendition, for ever."""
        status, headers, body = await self.get(f"/photo/{photo}/{rendition}")
        assert (status, headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        return samples.opened(body).size

    async def make_on(self, photo: PhotoId, *names: StoreId) -> None:
        """Make the renditions while only these stores answer."""
        some = {name: self.stores[name] for name in names}
        renditions = LocalRenditions(directory=self.directory, stores=some, reader=self, settings=SIZES)
        await renditions.make(photo)
        await renditions.close()

    async def copy(self, photo: PhotoId, key: AlternateKey, source: StoreId, target: StoreId) -> None:
        """Give a store a needle that another one has."""
        needle = await self.stores[source].read(photo, key)
        copied = NewNeedle(
            photo=photo,
            cookie=needle.cookie,
            data=bytes(needle.data),
            alternate_key=key,
            metadata=needle.metadata,
        )
        await self.stores[target].append(volume_of(photo), copied)

    async def damage(self, photo: PhotoId, key: AlternateKey, name: StoreId) -> None:
        """Change a byte of a needle's data in the file that holds it."""
        data = bytes((await self.stores[name].read(photo, key)).data)
        (log,) = (self.folder / name).glob("*.log")
        content = bytearray(log.read_bytes())
        at = content.rindex(data) + len(data) // 2
        with log.open("r+b") as file:
            file.seek(at)
            file.write(bytes([content[at] ^ 0x40]))

    async def holds(self, photo: PhotoId, key: AlternateKey, name: StoreId) -> bool:
        try:
            await self.stores[name].read(photo, key)
        except NotFound:
            return False
        return True


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    async with AsyncExitStack() as stack:
        directory = MemoryDirectory(replicas=len(NAMES))
        settings = VolumeSettings(free_space_reserve_bytes=0)
        stores = {name: LocalStore(tmp_path / name, store=name, settings=settings) for name in NAMES}
        for store in stores.values():
            stack.push_async_callback(store.close)
            await directory.register(await store.health())
        made = Library(tmp_path, directory, stores, Originals(directory, stores))
        made.renditions = LocalRenditions(directory=directory, stores=stores, reader=made, settings=SIZES)
        stack.push_async_callback(made.renditions.close)
        gateway = Gateway(
            directory=directory,
            stores=stores,
            similarity=None,
            renditions=made.renditions,
            settings=Settings(),
            secret=b"s" * 32,
            worker="worker",
        )
        stack.push_async_callback(gateway.close)
        server = await stack.enter_async_context(AppServer(Front(gateway, routes.application(gateway))))
        made.client = await stack.enter_async_context(aiohttp.ClientSession(server.url))
        yield made


@pytest.mark.parametrize(("lacks", "has"), [NAMES, NAMES[::-1]])
async def test_damaged_where_it_is_and_missing_elsewhere(
    library: Library, lacks: StoreId, has: StoreId
) -> None:
    """The one store was away when the largest was stored; on the other its bytes have changed since."""
    photo = await library.upload()
    await library.make_on(photo, has)
    for key in SMALLER:
        await library.copy(photo, key, has, lacks)
    await library.damage(photo, AlternateKey.LARGE, has)
    assert await library.size(photo, "large") == LARGE
    # Made anew, and stored on both.
    for store in library.stores.values():
        needle = await store.read(photo, AlternateKey.LARGE)
        assert samples.opened(bytes(needle.data)).size == LARGE


@pytest.mark.parametrize(("lacks", "has"), [NAMES, NAMES[::-1]])
async def test_whole_on_one_and_missing_elsewhere(library: Library, lacks: StoreId, has: StoreId) -> None:
    photo = await library.upload()
    await library.make_on(photo, has)
    for key in SMALLER:
        await library.copy(photo, key, has, lacks)
    assert await library.size(photo, "large") == LARGE
    assert library.reads == 1, "made again, although it is there"


async def test_missing_everywhere(library: Library) -> None:
    """It was lost with the disk of the only store that had taken it."""
    photo = await library.upload()
    first, second = NAMES
    await library.make_on(photo, first)
    for key in SMALLER:
        await library.copy(photo, key, first, second)
    library.stores.pop(first)
    assert await library.size(photo, "large") == LARGE


async def test_while_they_are_being_stored(library: Library) -> None:
    """A smaller one is there, but nobody has said yet which ones there will be."""
    photo, other = await library.upload(), await library.upload(PHOTO + b"another")
    await library.make_on(other, *NAMES)
    needle = await library.stores[NAMES[0]].read(other, AlternateKey.SMALL)
    for store in library.stores.values():
        await store.append(
            volume_of(photo),
            NewNeedle(
                photo=photo,
                cookie=(await library.directory.photo(photo)).cookie,
                data=bytes(needle.data),
                alternate_key=AlternateKey.SMALL,
                metadata=needle.metadata,
            ),
        )
    assert await library.size(photo, "large") == LARGE


async def test_a_size_that_was_not_needed_costs_no_decoding(library: Library) -> None:
    photo = await library.upload(samples.saved(samples.quadrants(60, 40), "JPEG"))
    await library.make_on(photo, *NAMES)
    for rendition in ("large", "medium", "small"):
        assert await library.size(photo, rendition) == (60, 40)
    assert await library.size(photo, "thumb") == (32, 21)
    assert library.reads == 1
    assert not await library.holds(photo, AlternateKey.LARGE, NAMES[0])


@pytest.mark.parametrize("uploaded", ["large", "thumb"])
async def test_what_was_uploaded_as_a_rendition_is_never_replaced(library: Library, uploaded: str) -> None:
    photo = await library.upload(query=f"?alt_key={uploaded}")
    for rendition in ("thumb", "small", "medium", "large"):
        status, _headers, _body = await library.get(f"/photo/{photo}/{rendition}")
        assert status == 200
    assert (await library.get(f"/photo/{photo}"))[2] == PHOTO
    assert (await library.get(f"/photo/{photo}/{uploaded}"))[2] == PHOTO
