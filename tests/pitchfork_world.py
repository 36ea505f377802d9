"""Three stores in memory, a directory that places every volume on all of them, and a pitchfork."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from hayloft.config import PitchforkSettings
from hayloft.errors import HayloftError
from hayloft.pitchfork import Pitchfork
from hayloft.testing.memory import MemoryDirectory, MemoryStore
from hayloft.types import (
    AlternateKey,
    Cookie,
    NeedleMetadata,
    NewNeedle,
    NewPhoto,
    PhotoId,
    Sequence,
    StoreId,
    VolumeId,
    photo_id,
    volume_of,
)

NAMES = tuple(map(StoreId, ("s1", "s2", "s3")))
SETTINGS = PitchforkSettings(failures_max=1, copy_bytes_per_second=0, scrub_bytes_per_second=0)


class MovableClock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic_seconds(self) -> float:
        return self.seconds


class FailingStore(MemoryStore):
    """A store that can be away altogether, health and all."""

    away = False

    def _check(self) -> None:
        from hayloft.errors import RoleUnavailable

        if self.away:
            raise RoleUnavailable("away")
        super()._check()

    async def health(self):  # type: ignore[no-untyped-def]
        self._check()
        return await super().health()

    async def seal(self, volume: VolumeId) -> None:
        self._check()
        await super().seal(volume)


@dataclass
class World:
    replicas: int = 3
    settings: PitchforkSettings = SETTINGS
    clock: MovableClock = field(default_factory=MovableClock)
    photos: dict[PhotoId, bytes] = field(default_factory=dict)
    deleted: set[PhotoId] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.directory = MemoryDirectory(volumes_writable=1, replicas=self.replicas, clock=self.clock)
        self.stores: dict[StoreId, FailingStore] = {}
        self.stores |= {name: FailingStore(name, peers=self.stores) for name in NAMES}
        self.pitchfork = self.new_pitchfork()

    def new_pitchfork(self) -> Pitchfork:
        return Pitchfork(
            directory=self.directory, stores=self.stores, settings=self.settings, clock=self.clock
        )

    async def heartbeats(self) -> None:
        for name, store in self.stores.items():
            if not store.away:
                await self.directory.register(await store.health(), url=f"http://{name}")

    async def begin(self) -> World:
        await self.heartbeats()
        return self

    async def upload(self, data: bytes = b"photo", *, commit: bool = True) -> PhotoId:
        """As the gateway does: on all replicas, then in the directory; an error leaves what is there."""
        lease = await self.directory.lease(holder="test", count=1)
        photo = photo_id(lease.volume, lease.first)
        failed = False
        for name in lease.replicas:
            try:
                await self.stores[name].append(lease.volume, self.needle(photo, data))
            except HayloftError:
                failed = True
                await self.directory.report_failure(lease.volume, name, "role_unavailable")
        if commit and not failed:
            await self.commit(photo, data)
        return photo

    async def commit(self, photo: PhotoId, data: bytes) -> None:
        await self.directory.commit(
            NewPhoto(
                photo=photo,
                cookie=Cookie(7),
                size=len(data),
                sha256=hashlib.sha256(data + str(photo).encode()).digest(),
                media_type="image/jpeg",
                width=1,
                height=1,
                created_at_ms=self.clock.now_ms(),
            )
        )
        self.photos[photo] = data

    def needle(self, photo: PhotoId, data: bytes, key: AlternateKey = AlternateKey.ORIG) -> NewNeedle:
        return NewNeedle(
            photo=photo,
            cookie=Cookie(7),
            data=data,
            alternate_key=key,
            metadata=NeedleMetadata(created_at_ms=self.clock.now_ms()),
        )

    async def delete(self, photo: PhotoId, *, on: Iterable[StoreId] = NAMES) -> None:
        await self.directory.delete(photo)
        self.photos.pop(photo, None)
        self.deleted.add(photo)
        for name in on:
            try:
                await self.stores[name].delete(photo)
            except HayloftError:
                continue

    def replace_by_empty(self, name: StoreId) -> None:
        self.stores[name] = FailingStore(name, peers=self.stores)

    async def settle(self) -> None:
        """Let the pitchfork work until there is nothing left to do."""
        for _round in range(10):
            await self.heartbeats()
            await self.pitchfork.check()
            left = await self.pitchfork.finish_deletions()
            changes = await self.pitchfork.mend()
            self.clock.seconds += self.settings.compare_seconds
            changes += await self.pitchfork.compare()
            failing = [r for r in await self.directory.replicas() if r.failure is not None]
            if not (left or changes or failing):
                return
        raise AssertionError(f"not quiet: {self.pitchfork.journal.to_json()}")

    async def check(self) -> None:
        """Everything is where it should be, and nowhere else."""
        for replica in await self.directory.replicas():
            store = self.stores[replica.store]
            for photo, data in self.photos.items():
                if volume_of(photo) == replica.volume:
                    assert (await store.read(photo)).data == data
            for photo in self.deleted:
                if volume_of(photo) == replica.volume:
                    assert not (await store.stat(photo)).exists

    async def digests(self, volume: VolumeId) -> list[str]:
        names = (await self.directory.placement(volume)).replicas
        return [(await self.stores[name].digest(volume)).digest for name in names]


async def make(**options: object) -> World:
    return await World(**options).begin()  # type: ignore[arg-type]


def some_bytes(seed: int, size: int = 300) -> bytes:
    return random.Random(seed).randbytes(size)


__all__ = ["NAMES", "SETTINGS", "Sequence", "World", "make", "some_bytes"]
