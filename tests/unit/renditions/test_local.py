"""Renditions as a role: made once, stored beside the photo, and never for a photo that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

import rendition_samples as samples
from hayloft import errors
from hayloft.config import RenditionSettings
from hayloft.renditions.ingest import RenditionsConsumer
from hayloft.renditions.local import LocalRenditions
from hayloft.sandbox import Bounds
from hayloft.testing.memory import MemoryDirectory, MemoryStore
from hayloft.types import (
    AlternateKey,
    Event,
    EventKind,
    NeedleMetadata,
    NewNeedle,
    NewPhoto,
    PhotoId,
    StoreId,
    new_cookie,
    photo_id,
    volume_of,
)

STORE = StoreId("one")
SETTINGS = RenditionSettings(thumb=64, small=128, medium=256, large=512)


@dataclass
class World:
    """A directory, a store, and the role over them; counts what is read."""

    directory: MemoryDirectory
    store: MemoryStore
    renditions: LocalRenditions = field(init=False)
    reads: list[PhotoId] = field(default_factory=list)

    async def upload(self, data: bytes) -> PhotoId:
        lease = await self.directory.lease(holder="test", count=1)
        photo, cookie = photo_id(lease.volume, lease.first), new_cookie()
        metadata = NeedleMetadata(media_type="image/jpeg", name="a photo.jpg")
        await self.store.append(
            lease.volume, NewNeedle(photo=photo, cookie=cookie, data=data, metadata=metadata)
        )
        await self.directory.commit(
            NewPhoto(
                photo=photo,
                cookie=cookie,
                size=len(data),
                sha256=b"d" * 32,
                media_type="image/jpeg",
                width=0,
                height=0,
                name="a photo.jpg",
            )
        )
        return photo

    async def read_original(self, photo: PhotoId) -> bytes:
        self.reads.append(photo)
        return bytes((await self.store.read(photo)).data)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    directory, store = MemoryDirectory(), MemoryStore(STORE)
    await directory.register(await store.health())
    made = World(directory, store)
    made.renditions = LocalRenditions(
        directory=directory, stores={STORE: store}, reader=made, settings=SETTINGS, bounds=Bounds()
    )
    yield made
    await made.renditions.close()


PHOTO = samples.saved(samples.photo(), "JPEG", exif=samples.exif_block().tobytes())


async def test_made_stored_and_recorded(world: World) -> None:
    photo = await world.upload(PHOTO)
    details = await world.renditions.make(photo)
    assert details.camera_model == "Canon EOS R5"
    assert (await world.directory.details([photo]))[photo] == details
    record = await world.directory.photo(photo)
    for size in details.renditions:
        needle = await world.store.read(photo, size.alternate_key)
        image = samples.opened(bytes(needle.data))
        assert image.size == (size.width, size.height)
        assert needle.cookie == record.cookie
        assert needle.metadata.media_type == "image/webp"
        assert needle.metadata.name == "a photo.jpg"


async def test_again_is_no_work(world: World) -> None:
    photo = await world.upload(PHOTO)
    first = await world.renditions.make(photo)
    assert await world.renditions.make(photo) == first
    assert world.reads == [photo]


async def test_all_who_ask_at_the_same_time_share_one_decode(world: World) -> None:
    photo = await world.upload(PHOTO)
    made, *pictures = await asyncio.gather(
        world.renditions.make(photo),
        *(world.renditions.rendition(photo, key) for key in (AlternateKey.THUMB, AlternateKey.SMALL) * 3),
    )
    assert world.reads == [photo]
    assert {samples.opened(picture.data).width for picture in pictures} == {64, 128}
    assert len(made.renditions) == 4


async def test_one_who_goes_away_does_not_take_it_from_the_others(world: World) -> None:
    photo = await world.upload(PHOTO)
    impatient = asyncio.create_task(world.renditions.make(photo))
    patient = asyncio.create_task(world.renditions.rendition(photo, AlternateKey.THUMB))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    impatient.cancel()
    assert samples.opened((await patient).data).width == 64
    assert world.reads == [photo]


async def test_a_size_that_was_not_needed_is_answered_by_the_largest(world: World) -> None:
    photo = await world.upload(samples.saved(samples.photo(100, 80), "JPEG"))
    large = await world.renditions.rendition(photo, AlternateKey.LARGE)
    assert samples.opened(large.data).size == (100, 80)


async def test_what_cannot_be_decoded_is_recorded_and_not_tried_again(world: World) -> None:
    photo = await world.upload(PHOTO[:300])
    details = await world.renditions.make(photo)
    assert "cannot be decoded" in details.failure
    assert await world.renditions.make(photo) == details
    with pytest.raises(errors.UnsupportedMedia):
        await world.renditions.rendition(photo, AlternateKey.THUMB)
    with pytest.raises(errors.UnsupportedMedia):
        await world.renditions.picture(photo, "full/max/0/default.jpg")
    assert world.reads == [photo]


async def test_a_file_over_which_decoders_die_is_the_files_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hayloft.renditions.local.WORK", "sys:exit")  # each ends at its first photo
    directory, store = MemoryDirectory(), MemoryStore(STORE)
    await directory.register(await store.health())
    world = World(directory, store)
    world.renditions = LocalRenditions(directory=directory, stores={STORE: store}, reader=world)
    photo = await world.upload(PHOTO)
    assert "ended with status 1" in (await world.renditions.make(photo)).failure
    await world.renditions.close()


async def test_a_deleted_photo_gets_nothing(world: World) -> None:
    photo = await world.upload(PHOTO)
    await world.directory.delete(photo)
    with pytest.raises(errors.PhotoDeleted):
        await world.renditions.make(photo)
    with pytest.raises(errors.PhotoNotFound):
        await world.renditions.make(PhotoId(photo + 1))
    assert world.reads == []


async def test_a_full_disk_still_shows_pictures(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = await world.upload(PHOTO)

    async def full(*_: object) -> None:
        raise errors.StorageFull

    monkeypatch.setattr(world.store, "append", full)
    thumb = await world.renditions.rendition(photo, AlternateKey.THUMB)
    assert samples.opened(thumb.data).width == 64
    assert (await world.directory.details([photo]))[photo].placeholder


async def test_pictures_to_order(world: World) -> None:
    photo = await world.upload(PHOTO)
    made = await world.renditions.picture(photo, "square/100,/90/gray.png")
    image = samples.opened(made.data)
    assert (image.size, image.mode, made.media_type) == ((100, 100), "L", "image/png")
    assert made.canonical.endswith("/100,100/90/gray.png")
    information = await world.renditions.information(photo, address="http://x/iiif/3/1")
    assert (information["width"], information["height"]) == (640, 427)
    for order in ("full/max/0", "full/9999,/0/default.jpg", "full/max/0/default.gif", "", "a/b/c/d/e"):
        with pytest.raises(errors.InvalidRequest):
            await world.renditions.picture(photo, order)


async def test_the_consumer_makes_what_was_uploaded(world: World) -> None:
    photo = await world.upload(PHOTO)
    consumer = RenditionsConsumer(world.renditions)
    uploaded = Event(position=1, kind=EventKind.UPLOADED, photo=photo, at_ms=0)
    await consumer.handle(uploaded)
    assert (await world.store.stat(photo, AlternateKey.THUMB)).exists
    await world.directory.delete(photo)
    await world.store.delete(photo)
    await consumer.handle(uploaded)
    await consumer.handle(Event(position=2, kind=EventKind.DELETED, photo=photo, at_ms=0))
    assert not (await world.store.stat(photo, AlternateKey.THUMB)).exists
    assert volume_of(photo)
