"""Deletion: once, for good, and only of what is there."""

from __future__ import annotations

import asyncio

import pytest

from directory_places import new
from hayloft.errors import PhotoDeleted, PhotoNotFound
from hayloft.types import EventKind, PhotoId, PhotoStatus


async def test_delete_says_who_was_first_and_is_repeatable(directory, lease):
    photo = new(lease, 0)
    await directory.commit(photo)
    answers = await asyncio.gather(*(directory.delete(photo.photo) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == ["active", "deleted", "deleted", "deleted"]
    assert (await directory.photo(photo.photo)).status is PhotoStatus.DELETED
    kinds = [event.kind for event in await directory.events(after=0, limit=10)]
    assert kinds == [EventKind.UPLOADED, EventKind.DELETED]


async def test_a_deleted_photo_never_comes_back(directory, lease):
    photo = new(lease, 0)
    await directory.commit(photo)
    await directory.delete(photo.photo)
    with pytest.raises(PhotoDeleted):
        await directory.commit(photo)


async def test_unknown_photos_are_not_found(directory):
    for call in (directory.photo(PhotoId(1)), directory.delete(PhotoId(1))):
        with pytest.raises(PhotoNotFound):
            await call
