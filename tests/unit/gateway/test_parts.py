"""The gateway's small parts, each by itself: names, budget, silence, keys, multipart, placements."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hayloft import limits
from hayloft.clock import SystemClock
from hayloft.errors import (
    InvalidRequest,
    Overloaded,
    RangeNotSatisfiable,
    Unauthorized,
    UploadStalled,
    UploadTooLarge,
    VolumeNotFound,
)
from hayloft.gateway import names, presenting
from hayloft.gateway.access import Access
from hayloft.gateway.budget import Budget
from hayloft.gateway.conditions import EntityTags, requested_span
from hayloft.gateway.multipart import FileParser
from hayloft.gateway.placements import AGE_SECONDS_MAX, Placements
from hayloft.gateway.silence import Silence
from hayloft.testing.memory import MemoryDirectory, MemoryStore
from hayloft.types import AlternateKey, Cookie, PhotoId
from served import multipart

# Names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("photo.jpg", "photo.jpg"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.jpg", "a.jpg"),
        ("../..", ""),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("evil\u202egpj.exe", "evilgpj.exe"),
        ("  spaced.jpg ", "spaced.jpg"),
        ("übergröße.jpg", "übergröße.jpg"),
        ("\ud800lone", "lone"),
    ],
)
def test_names_are_made_harmless(given_name, kept):
    assert names.clean(given_name) == kept


@given(st.text(max_size=3000))
def test_a_kept_name_fits_and_survives_its_header(text):
    name = names.clean(text)
    assert len(name.encode()) <= limits.NAME_BYTES_MAX
    header = names.to_disposition(name)
    assert header.isascii() and header.isprintable()
    assert names.from_disposition(header) == name
    assert names.clean(name) == name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a b.jpg"', "a b.jpg"),
        ("inline; filename=plain.jpg", "plain.jpg"),
        ("inline; filename=\"fallback.jpg\"; filename*=UTF-8''%C3%BC.jpg", "ü.jpg"),
        ("inline", ""),
        ('inline; filename="quo\\"te.jpg"', 'quo"te.jpg'),
    ],
)
def test_names_in_headers_are_read(header, name):
    assert names.from_disposition(header) == name


# Memory ----------------------------------------------------------------------------------------------


def test_a_budget_counts_what_is_held_and_gives_it_back():
    budget = Budget(100)
    first, second = budget.reservation(), budget.reservation()
    first.cover(60)
    first.cover(40)  # less than is held
    assert budget.bytes_held == 60
    with pytest.raises(Overloaded) as caught:
        second.cover(41)
    assert caught.value.retry_after_seconds
    second.cover(40)
    first.release()
    first.release()
    assert budget.bytes_held == 40


# Silence ---------------------------------------------------------------------------------------------


async def test_a_client_that_falls_silent_is_cut_off():
    with pytest.raises(UploadStalled), Silence(0.02) as silence:
        silence.begin()
        await asyncio.sleep(30)
    await asyncio.sleep(0)  # the task is not cancelled any more


async def test_time_spent_storing_is_not_silence():
    with Silence(0.02) as silence:
        silence.begin()
        silence.end()
        await asyncio.sleep(0.1)


async def test_a_cancellation_from_elsewhere_stays_one():
    async def wait():
        with Silence(60) as silence:
            silence.begin()
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Keys ------------------------------------------------------------------------------------------------


def test_any_configured_key_opens_and_no_other():
    access = Access(("one", "zwei-ü"))
    for shown in (
        {b"authorization": b"Bearer one"},
        {b"authorization": b"bearer  one "},
        {b"x-api-key": b"one"},
        {b"x-api-key": "zwei-ü".encode()},
    ):
        access.check(shown)
    for shown in (
        {},
        {b"x-api-key": b""},
        {b"x-api-key": b"on"},
        {b"authorization": b"one"},
        {b"authorization": b"Basic one"},
        {b"authorization": b"Bearer two", b"x-api-key": b"one"},
    ):
        with pytest.raises(Unauthorized):
            access.check(shown)
    Access(()).check({})


# Multipart -------------------------------------------------------------------------------------------

FILES = [
    ("a.jpg", b"first"),
    ("b.jpg", b"\r\n--b0undary-that-is-in-no-phot" * 3),
    ("", b""),
    ("d", b"-" * 999),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
def test_files_come_out_whole_however_the_body_is_cut(size):
    body, content_type = multipart(*FILES)
    parser = FileParser(content_type.partition("boundary=")[2].encode(), bytes_max=1000)
    for start in range(0, len(body), size):
        parser.feed(body[start : start + size])
    parser.finish()
    assert [(part.name, bytes(part.data), part.error) for part in parser.complete] == [
        (*file, None) for file in FILES
    ]


def test_a_file_past_its_limit_is_dropped_and_told():
    body, content_type = multipart(("a", b"x" * 101), ("b", b"x" * 100))
    parser = FileParser(content_type.partition("boundary=")[2].encode(), bytes_max=100)
    for start in range(0, len(body), 50):
        parser.feed(body[start : start + 50])
        assert parser.bytes_held <= 150
    first, second = parser.complete
    assert isinstance(first.error, UploadTooLarge)
    assert not first.data
    assert len(second.data) == 100


def test_other_fields_are_parsed_over():
    parser = FileParser(b"x", bytes_max=100)
    parser.feed(b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\n' + b"n" * 10_000)
    assert parser.bytes_held == 0
    parser.feed(b'\r\n--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ndata\r\n--x--')
    parser.finish()
    assert [bytes(part.data) for part in parser.complete] == [b"data"]


def test_a_body_without_its_end_or_without_files_is_refused():
    parser = FileParser(b"x", bytes_max=100)
    parser.feed(b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ndata\r\n--x\r\n')
    with pytest.raises(InvalidRequest):
        parser.finish()
    parser = FileParser(b"x", bytes_max=100)
    parser.feed(b"--x--\r\n")
    with pytest.raises(InvalidRequest):
        parser.finish()


def test_too_many_files_are_refused():
    parser = FileParser(b"x", bytes_max=100)
    part = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n\r\n'
    with pytest.raises(InvalidRequest):
        parser.feed(part * (limits.UPLOAD_FILES_MAX + 1))


# Ranges and tags -------------------------------------------------------------------------------------


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_what_slicing_says(size, first, last):
    data = bytes(range(size))
    try:
        span = requested_span(f"bytes={first}-{last}", None, '"t"', size)
    except RangeNotSatisfiable:
        assert first > last or first >= size
    else:
        assert span is not None
        assert data[span.start : span.stop] == data[first : last + 1] != b""


def test_tags_differ_by_all_that_they_name():
    tags, others = EntityTags(b"a" * 32), EntityTags(b"b" * 32)
    photo, cookie = PhotoId(7), Cookie(9)
    made = {
        tags.tag(photo, cookie),
        tags.tag(photo, None),
        tags.tag(PhotoId(8), cookie),
        tags.tag(photo, Cookie(10)),
        tags.tag(photo, cookie, AlternateKey.THUMB),
        others.tag(photo, cookie),
    }
    assert len(made) == 6
    assert tags.tag(photo, cookie) == EntityTags(b"a" * 32).tag(photo, cookie)


# Placements ------------------------------------------------------------------------------------------


class Moving(SystemClock):
    seconds = 0.0

    def monotonic_seconds(self):
        return self.seconds


async def test_placements_are_remembered_for_a_while():
    directory, clock, store = MemoryDirectory(), Moving(), MemoryStore()
    await directory.register(await store.health())
    volume = (await directory.lease(holder="x", count=1)).volume
    placements = Placements(directory, clock)
    assert placements.cached(volume) is None
    assert await placements.replicas(volume) == (store.store,)
    assert placements.cached(volume) == (store.store,)
    clock.seconds += AGE_SECONDS_MAX + 1
    assert placements.cached(volume) is None
    with pytest.raises(VolumeNotFound):
        await placements.replicas(volume + 100)


# Presenting ------------------------------------------------------------------------------------------


@given(st.integers(0, 4 * 10**12))
def test_times_have_milliseconds_and_are_utc(at_ms):
    text = presenting.time_text(at_ms)
    assert text.endswith(f".{at_ms % 1000:03d}Z")
    assert len(text) == len("2026-01-01T00:00:00.000Z")


def test_links_are_not_made_from_a_host_that_is_none():
    assert presenting.base_url(None, "http", {b"host": b"photos:8080"}) == "http://photos:8080"
    assert presenting.base_url(None, "http", {b"host": b'a/"><script>'}) == "http://localhost"
    assert presenting.base_url("https://p.example/", "http", {b"host": b"x"}) == "https://p.example"
