"""A volume whose only replica failed takes writes again once it was found to be whole."""

from __future__ import annotations

import pytest

from hayloft.assembly.mending import AGAIN_SECONDS, Mending
from hayloft.errors import RoleUnavailable
from hayloft.testing.memory import LOCAL, MemoryDirectory, MemoryStore
from hayloft.types import NewNeedle, PhotoId, Sequence, VolumeId, new_cookie, photo_id


class Clock:
    """Time that stands still unless moved."""

    seconds = 0.0

    def now_ms(self) -> int:
        return round(self.seconds * 1000)

    def monotonic_seconds(self) -> float:
        return self.seconds


class Scene:
    """A directory, its store, a volume with a photo, and what looks after it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.directory = MemoryDirectory(volumes_writable=1, clock=self.clock)
        self.store = MemoryStore()
        self.mending = Mending(self.directory, {LOCAL: self.store}, clock=self.clock)
        self.volume = VolumeId(0)
        self.photo = PhotoId(0)

    async def begin(self) -> None:
        await self.directory.register(await self.store.health())
        lease = await self.directory.lease(holder="w", count=1)
        self.volume = lease.volume
        self.photo = photo_id(lease.volume, Sequence(lease.first))
        await self.store.append(
            self.volume, NewNeedle(photo=self.photo, cookie=new_cookie(), data=b"photo")
        )

    async def fail(self, reason: str) -> None:
        await self.directory.report_failure(self.volume, LOCAL, reason)

    async def is_writable(self) -> bool:
        await self.mending.look()
        return (await self.directory.placement(self.volume)).writable


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.begin()
    return scene


async def test_a_failure_of_the_moment_passes(scene: Scene) -> None:
    await scene.fail("internal_error")
    assert await scene.is_writable()


@pytest.mark.parametrize("reason", ["needle_corrupt (photo 5)", "needle_lost (photo 5)"])
async def test_what_a_read_met_is_left_to_a_person(scene: Scene, reason: str) -> None:
    await scene.fail(reason)
    assert not await scene.is_writable()


async def test_a_damaged_volume_stays_closed(scene: Scene) -> None:
    scene.store.corrupt(scene.photo)
    await scene.fail("internal_error")
    assert not await scene.is_writable()


async def test_a_volume_that_fails_again_is_left_alone_for_a_while(scene: Scene) -> None:
    await scene.fail("internal_error")
    assert await scene.is_writable()
    await scene.fail("internal_error")
    assert not await scene.is_writable()
    scene.clock.seconds += AGAIN_SECONDS
    assert await scene.is_writable()


async def test_a_volume_that_cannot_be_read_stays_closed(scene: Scene, monkeypatch) -> None:
    async def away(_volume: VolumeId) -> None:
        raise RoleUnavailable

    monkeypatch.setattr(scene.store, "verify", away)
    await scene.fail("internal_error")
    assert not await scene.is_writable()


async def test_stores_of_others_are_left_to_them(scene: Scene) -> None:
    scene.mending = Mending(scene.directory, {}, clock=scene.clock)
    await scene.fail("internal_error")
    assert not await scene.is_writable()
