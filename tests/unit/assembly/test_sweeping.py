"""A single server clears away what interrupted uploads left, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from hayloft.assembly import embedded
from hayloft.assembly.data_directory import DataDirectory
from hayloft.assembly.sweeping import Sweeping
from hayloft.clock import SystemClock
from hayloft.config import Settings
from hayloft.errors import PhotoDeleted
from hayloft.types import (
    AlternateKey,
    Cookie,
    NeedleMetadata,
    NewNeedle,
    NewPhoto,
    PhotoId,
    PhotoStatus,
    photo_id,
)

GRACE_SECONDS = 100.0


class Clock:
    """Time that stands still unless moved."""

    def __init__(self) -> None:
        self.ms = SystemClock().now_ms()

    def now_ms(self) -> int:
        return self.ms

    def monotonic_seconds(self) -> float:
        return self.ms / 1000


async def store(opened: embedded.Roles, *, commit: bool) -> PhotoId:
    lease = await opened.directory.lease(holder="test", count=1)
    photo = photo_id(lease.volume, lease.first)
    (one,) = opened.stores.values()
    for key in (AlternateKey.ORIG, AlternateKey.THUMB):
        needle = NewNeedle(
            photo=photo,
            cookie=Cookie(1),
            data=b"bytes",
            alternate_key=key,
            metadata=NeedleMetadata(created_at_ms=SystemClock().now_ms()),
        )
        await one.append(lease.volume, needle)
    if commit:
        await opened.directory.commit(
            NewPhoto(
                photo=photo,
                cookie=Cookie(1),
                size=5,
                sha256=photo.to_bytes(32),
                media_type="image/jpeg",
                width=1,
                height=1,
                created_at_ms=SystemClock().now_ms(),
            )
        )
    return photo


async def test_only_what_was_never_committed_goes_and_only_when_it_is_old(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, workers=1)
    data = DataDirectory(tmp_path)
    with data.lock():
        data.prepare()
        async with embedded.roles(settings, data) as opened:
            (one,) = opened.stores.values()
            await opened.directory.register(await one.health())
            kept = await store(opened, commit=True)
            orphan = await store(opened, commit=False)
            allocated = (await opened.directory.allocate(size=5)).photo
            clock = Clock()
            sweeping = Sweeping(opened.directory, opened.stores, grace_seconds=GRACE_SECONDS, clock=clock)
            assert await sweeping.once() == 0
            assert (await one.read(orphan)).data == b"bytes"
            clock.ms += int(GRACE_SECONDS * 1000) + 600_000
            assert await sweeping.once() >= 1
            for key in (AlternateKey.ORIG, AlternateKey.THUMB):
                with pytest.raises(PhotoDeleted):
                    await one.read(orphan, key)
                assert (await one.read(kept, key)).data == b"bytes"
            assert (await opened.directory.photo(allocated)).status is PhotoStatus.DELETED
            assert await sweeping.once() == 0
