"""The paper's write path: an id first, then its photo."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from directory_places import new
from hayloft.errors import Conflict, PhotoDeleted, PhotoNotFound
from hayloft.types import (
    AlternateKey,
    EventKind,
    Lease,
    PhotoId,
    PhotoQuery,
    PhotoStatus,
    Sequence,
    volume_of,
)


async def test_allocate_then_commit(directory, clock):
    record = await directory.allocate(size=123, alternate_key=AlternateKey.LARGE)
    assert (record.status, record.size, record.replicas) == (PhotoStatus.ALLOC, 123, ("local",))
    assert record.created_at_ms == clock.ms
    assert await directory.photo(record.photo) == record
    assert (await directory.events(after=0, limit=10)) == ()
    active = await directory.commit_allocated(record.photo)
    assert active == replace(record, status=PhotoStatus.ACTIVE)
    assert await directory.commit_allocated(record.photo) == active
    (event,) = await directory.events(after=0, limit=10)
    assert (event.kind, event.photo) == (EventKind.UPLOADED, record.photo)


async def test_allocated_ids_are_all_different(directory):
    records = await asyncio.gather(*(directory.allocate(size=1) for _ in range(20)))
    assert len({record.photo for record in records}) == 20
    assert len({record.cookie for record in records}) == 20


async def test_an_allocated_photo_may_be_committed_in_full(directory):
    record = await directory.allocate(size=5)
    full = new(
        Lease(volume=volume_of(record.photo), first=Sequence(0), count=1, replicas=()),
        0,
        photo=record.photo,
    )
    with pytest.raises(Conflict):
        await directory.commit(full)
    await directory.commit(replace(full, cookie=record.cookie))
    assert (await directory.photo(record.photo)).width == 640
    totals = await directory.photos(PhotoQuery(status=PhotoStatus.ALLOC))
    assert totals.total == 0


async def test_what_was_never_allocated_or_is_deleted_cannot_be_committed(directory):
    with pytest.raises(PhotoNotFound):
        await directory.commit_allocated(PhotoId(77))
    record = await directory.allocate(size=1)
    await directory.delete(record.photo)
    with pytest.raises(PhotoDeleted):
        await directory.commit_allocated(record.photo)
