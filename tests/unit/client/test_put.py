"""Uploading one photo: every kind of source, retries that make no second photo, and honest errors."""

from __future__ import annotations

import hashlib
import io
import os
from datetime import UTC, datetime

import pytest

from doubles.gateway import answering, error, hang_up, lose_the_answer, overloaded
from hayloft import errors
from hayloft.client import Patience, ServerUnreachable
from hayloft.client.sources import WATCHED_BYTES, WHOLE_BYTES_MAX, clean_name, media_type_of
from hayloft.client.transport import EXPECT_BYTES_MIN

DATA = b"a photo"


async def test_bytes_a_path_and_a_file_object_become_the_same_photo(client, gateway, tmp_path):
    path = tmp_path / "café 1.png"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        photos = [
            await client.put(DATA, name="café 1.png"),
            await client.put(path),
            await client.put(str(path)),
            await client.put(file),
            await client.put(io.BytesIO(DATA), name="café 1.png"),
            await client.put(memoryview(DATA), name="café 1.png"),
        ]
    assert {photo.name for photo in photos} == {"café 1.png"}
    assert {photo.sha256 for photo in photos} == {hashlib.sha256(DATA).hexdigest()}
    assert {photo.duplicate_of for photo in photos} == {None, photos[0].id}
    assert [kept.data for kept in gateway.photos.values()] == [DATA] * 6


@pytest.mark.parametrize("size", [WHOLE_BYTES_MAX, WHOLE_BYTES_MAX + 1, EXPECT_BYTES_MIN + 1])
async def test_large_files_are_streamed_whole(client, gateway, tmp_path, size):
    path = tmp_path / "large.png"
    path.write_bytes(os.urandom(size))
    photo = await client.put(path)
    assert gateway.photos[photo.id].data == path.read_bytes()
    assert gateway.headers[-1]["Content-Length"] == str(size)


@pytest.mark.parametrize("size", [7, WHOLE_BYTES_MAX, WHOLE_BYTES_MAX + 1])
async def test_progress_is_told_by_the_byte(client, gateway, tmp_path, size):
    path = tmp_path / "large.png"
    path.write_bytes(os.urandom(size))
    told: list[int] = []
    photo = await client.put(path, on_progress=told.append)
    assert gateway.photos[photo.id].data == path.read_bytes()
    assert (told[0], told[-1]) == (0, size)
    assert told == sorted(told)
    assert len(told) >= size // WATCHED_BYTES
    gateway.faults["/upload"].append(lose_the_answer)
    told.clear()
    await client.put(path, on_progress=told.append)
    assert told.count(0) == 2


async def test_a_photo_keeps_the_time_of_the_library_it_comes_from(client):
    long_ago = datetime(2019, 8, 7, 6, 5, 4, 3000, tzinfo=UTC)
    assert (await client.put(DATA, created_at=long_ago)).created_at == long_ago


async def test_a_refusal_of_a_large_file_costs_no_transfer(client, gateway, tmp_path):
    async def refuse_at_once(_double, _request):
        return error(413, "upload_too_large")

    path = tmp_path / "large.png"
    path.write_bytes(bytes(EXPECT_BYTES_MIN * 4))
    gateway.faults["/upload"].append(refuse_at_once)
    with pytest.raises(errors.UploadTooLarge):
        await client.put(path)
    assert gateway.headers[-1]["Expect"] == "100-continue"


@pytest.mark.parametrize("fault", [lose_the_answer, hang_up, overloaded(), overloaded(0)])
async def test_a_retry_makes_exactly_one_photo(client, gateway, fault):
    gateway.faults["/upload"].extend([fault, fault])
    photo = await client.put(DATA)
    assert list(gateway.photos) == [photo.id]
    assert len({headers["Idempotency-Key"] for headers in gateway.headers}) == 1
    assert photo.repeated == (fault is lose_the_answer)


async def test_two_uploads_have_two_keys(client, gateway):
    await client.put(DATA)
    await client.put(DATA)
    assert len({headers["Idempotency-Key"] for headers in gateway.headers}) == 2


async def test_a_key_of_the_callers_own_is_kept_across_clients(client, gateway):
    first = await client.put(DATA, idempotency_key="mine")
    again = await client.put(DATA, idempotency_key="mine")
    assert (again.id, again.repeated) == (first.id, True)
    with pytest.raises(errors.Conflict):
        await client.put(b"something else", idempotency_key="mine")


async def test_attempts_are_bounded(client, gateway):
    gateway.faults["/upload"].extend([overloaded()] * 10)
    with pytest.raises(errors.Overloaded):
        await client.put(DATA)
    assert len(gateway.requests) == 4


async def test_an_answer_that_means_no_is_not_repeated(client, gateway):
    gateway.faults["/upload"].append(answering(507, "storage_full"))
    with pytest.raises(errors.StorageFull):
        await client.put(DATA)
    with pytest.raises(errors.UnsupportedMedia, match="This is not a photo"):
        await client.put(gateway.refused)
    assert len(gateway.requests) == 2


async def test_what_the_server_stored_is_compared_with_what_was_sent(client, gateway):
    async def store_something_else(double, request):
        await request.read()
        return double._commit(b"damaged on the way", request)

    gateway.faults["/upload"].append(store_something_else)
    with pytest.raises(errors.NeedleCorrupt, match="other bytes than were sent"):
        await client.put(DATA)


async def test_nobody_there_is_unreachable(client, gateway):
    await gateway.__aexit__()
    with pytest.raises(ServerUnreachable, match="No Hayloft server answers at http://127"):
        await client.put(DATA)
    assert issubclass(ServerUnreachable, errors.RoleUnavailable)


async def test_a_file_that_cannot_be_read_is_the_files_own_error(client, gateway, tmp_path):
    with pytest.raises(FileNotFoundError):
        await client.put(tmp_path / "missing.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(errors.InvalidRequest, match="not a regular file"):
        await client.put(tmp_path / "pipe.png")
    assert gateway.requests == []


async def test_a_file_that_shrinks_while_it_is_sent_is_not_blamed_on_the_server(client, tmp_path):
    path = tmp_path / "shrinking.png"
    path.write_bytes(bytes(WHOLE_BYTES_MAX * 8))
    real = os.fstat

    def shrink_after_looking(descriptor):
        status = real(descriptor)
        os.truncate(path, WHOLE_BYTES_MAX)
        return status

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hayloft.client.sources.os.fstat", shrink_after_looking)
        with pytest.raises(OSError, match="became shorter"):
            await client.put(path)


@pytest.mark.parametrize(
    ("asked", "attempt", "shortest", "longest"),
    [(None, 0, 0.05, 0.15), (None, 1, 0.1, 0.3), (2, 0, 2, 2.1), (60, 1, 60, 60.2)],
)
def test_pauses_grow_and_honour_retry_after(asked, attempt, shortest, longest):
    error = errors.Overloaded(retry_after_seconds=asked)
    pauses = [Patience(pause_seconds=0.1).pause(attempt, error) for _ in range(100)]
    assert shortest <= min(pauses) < max(pauses) <= longest


def test_patience_ends():
    patience = Patience(attempts=3, retry_after_seconds_max=60)
    assert patience.pause(2, errors.Overloaded()) is None
    assert patience.pause(0, errors.Overloaded(retry_after_seconds=61)) is None


def test_names_that_are_not_utf8_are_made_valid():
    assert clean_name(os.fsdecode(b"caf\xe9.jpg")) == "caf\N{REPLACEMENT CHARACTER}.jpg"
    assert clean_name("é" * 2000) == "é" * 512


@pytest.mark.parametrize(
    ("name", "media_type"), [("a.JPG", "image/jpeg"), ("a.txt", "image/*"), ("", "image/*")]
)
def test_media_types_are_only_a_hint(name, media_type):
    assert media_type_of(name) == media_type
