"""Commits: all or nothing, the same again for the same again, and who is whose duplicate."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256

import pytest

from directory_places import new
from hayloft.errors import Conflict, InvalidRequest, PhotoNotFound
from hayloft.types import PhotoId, PhotoStatus, new_cookie, photo_id


async def test_a_committed_photo_is_there_as_it_was_given(directory, lease):
    photo = new(lease, 0)
    committed = await directory.commit(photo)
    assert (committed.photo, committed.cookie) == (photo.photo, photo.cookie)
    assert (committed.duplicate_of, committed.repeated) == (None, False)
    record = await directory.photo(photo.photo)
    assert (record.status, record.replicas, record.sha256) == (PhotoStatus.ACTIVE, ("local",), photo.sha256)
    for name in ("cookie", "size", "media_type", "width", "height", "name", "created_at_ms"):
        assert getattr(record, name) == getattr(photo, name)


async def test_the_same_commit_again_answers_the_same(directory, lease):
    await directory.commit(new(lease, 0, b"x"))
    photo = new(lease, 1, b"x", idempotency_key="once")
    first = await directory.commit(photo)
    assert first.duplicate_of == photo_id(lease.volume, lease.first)
    assert await directory.commit(photo) == first
    assert (await directory.statistics()).last_event == 2


async def test_an_id_with_other_contents_is_a_conflict(directory, lease):
    photo = new(lease, 0)
    await directory.commit(photo)
    for change in ({"cookie": new_cookie()}, {"size": 99}, {"sha256": bytes(32)}):
        with pytest.raises(Conflict):
            await directory.commit(replace(photo, **change))


async def test_an_id_that_was_never_leased_is_a_conflict(directory, lease):
    beyond = new(lease, 100)
    elsewhere = replace(beyond, photo=PhotoId(999 << 32))
    for photo in (beyond, elsewhere):
        with pytest.raises(Conflict):
            await directory.commit(photo)
    await directory.lease(holder="writer", count=1)
    assert (await directory.commit(beyond)).photo == beyond.photo


async def test_a_failing_commit_leaves_its_neighbours_alone(directory, lease):
    await directory.commit(new(lease, 0))
    answers = await asyncio.gather(
        *(directory.commit(new(lease, number)) for number in range(5)), return_exceptions=True
    )
    assert isinstance(answers[0], Conflict)
    assert [answer.photo for answer in answers[1:]] == [new(lease, n).photo for n in range(1, 5)]


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": b"short"},
        {"name": "NUL \0"},
        {"idempotency_key": ""},
        {"idempotency_key": "k" * 256},
        {"size": -1},
        {"photo": PhotoId(1 << 53)},
    ],
)
async def test_what_cannot_be_stored_is_refused(directory, lease, change):
    with pytest.raises(InvalidRequest):
        await directory.commit(new(lease, 0, **change))


async def test_identical_uploads_name_the_first(directory, lease):
    first = await directory.commit(new(lease, 0, b"same"))
    later = await asyncio.gather(*(directory.commit(new(lease, n, b"same")) for n in range(1, 6)))
    assert first.duplicate_of is None
    assert {answer.duplicate_of for answer in later} == {first.photo}


async def test_identical_uploads_at_once_name_one_of_them(directory, lease):
    answers = await asyncio.gather(*(directory.commit(new(lease, n, b"same")) for n in range(8)))
    originals = [answer.photo for answer in answers if answer.duplicate_of is None]
    assert len(originals) == 1
    assert {answer.duplicate_of for answer in answers} == {None, originals[0]}


async def test_when_the_first_is_deleted_the_next_oldest_takes_over(directory, lease):
    for number in range(3):
        await directory.commit(new(lease, number, b"same"))
    await directory.delete(new(lease, 0).photo)
    answer = await directory.commit(new(lease, 3, b"same"))
    assert answer.duplicate_of == new(lease, 1).photo
    for number in range(1, 4):
        await directory.delete(new(lease, number).photo)
    assert (await directory.commit(new(lease, 4, b"same"))).duplicate_of is None


async def test_photos_without_a_digest_are_nobodys_duplicates(directory, lease):
    answers = [await directory.commit(new(lease, n, sha256=b"")) for n in range(2)]
    assert [answer.duplicate_of for answer in answers] == [None, None]


async def test_a_key_names_the_first_photo_for_ever(directory, lease):
    first = await directory.commit(new(lease, 0, idempotency_key="key"))
    again = await directory.commit(new(lease, 1, idempotency_key="key"))
    assert (again.photo, again.cookie, again.repeated) == (first.photo, first.cookie, True)
    with pytest.raises(PhotoNotFound):
        await directory.photo(new(lease, 1).photo)
    assert (await directory.commit(new(lease, 2, idempotency_key="other"))).repeated is False
    assert (await directory.statistics()).photos == 2


async def test_one_key_used_at_once_makes_one_photo(directory, lease):
    answers = await asyncio.gather(
        *(directory.commit(new(lease, n, idempotency_key="key")) for n in range(8))
    )
    assert len({answer.photo for answer in answers}) == 1
    assert sum(not answer.repeated for answer in answers) == 1
    assert (await directory.statistics()).photos == 1


async def test_known_digests(directory, lease):
    await directory.commit(new(lease, 0, b"a"))
    await directory.commit(new(lease, 1, b"a"))
    await directory.commit(new(lease, 2, b"b"))
    await directory.delete(new(lease, 2).photo)
    digests = [sha256(data).digest() for data in (b"a", b"b", b"c")]
    assert await directory.known(digests) == {digests[0]: new(lease, 0).photo}
    assert await directory.known([]) == {}
    with pytest.raises(InvalidRequest):
        await directory.known([b"short"])
