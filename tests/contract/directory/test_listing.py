"""Listings: every photo once, page by page, filtered, counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from directory_places import DAY_MS, fill, new
from hayloft.errors import InvalidRequest
from hayloft.roles import Directory
from hayloft.types import AlternateKey, PhotoId, PhotoQuery, PhotoStatus, sequence_of


async def pages(directory: Directory, query: PhotoQuery) -> tuple[list[PhotoId], set[int]]:
    found: list[PhotoId] = []
    totals = set()
    while True:
        page = await directory.photos(query)
        found += [record.photo for record in page.photos]
        totals.add(page.total)
        if page.next_cursor is None:
            return found, totals
        query = replace(query, cursor=page.next_cursor)


@pytest.mark.parametrize("limit", [1, 7, 23, 100])
@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_hold_every_photo_once_in_order(directory, lease, limit, newest_first):
    ids = await fill(directory, lease, 23)
    found, totals = await pages(directory, PhotoQuery(limit=limit, newest_first=newest_first))
    assert found == (ids[::-1] if newest_first else ids)
    assert totals == {23}


@pytest.mark.parametrize("status", [PhotoStatus.ACTIVE, None])
async def test_an_offset_jumps_into_the_listing(directory, lease, status):
    ids = await fill(directory, lease, 23)
    query = PhotoQuery(status=status, newest_first=True, offset=9, limit=5)
    page = await directory.photos(query)
    assert [record.photo for record in page.photos] == ids[::-1][9:14]
    assert page.total == 23
    onward = await directory.photos(replace(query, offset=2, cursor=page.next_cursor))
    assert [record.photo for record in onward.photos] == ids[::-1][16:21]
    assert (await directory.photos(replace(query, offset=99))).photos == ()
    with pytest.raises(InvalidRequest):
        await directory.photos(replace(query, offset=-1))


async def test_filters(directory, lease, clock):
    await fill(directory, lease, 10)
    await directory.commit(new(lease, 10, media_type="image/png"))
    await directory.commit(new(lease, 11, b"photo 3"))
    await directory.delete(new(lease, 4).photo)
    allocated = await directory.allocate(size=1)
    start = 20_000 * DAY_MS

    async def numbers(**filters) -> list[int]:
        found, totals = await pages(directory, PhotoQuery(limit=3, **filters))
        assert totals == {len(found)}
        return [photo - new(lease, 0).photo for photo in found]

    every = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert await numbers() == every
    assert await numbers(status=PhotoStatus.DELETED) == [4]
    assert (await directory.photos(PhotoQuery(status=PhotoStatus.ALLOC))).photos == (allocated,)
    assert len(await numbers(status=None)) == 13
    assert await numbers(media_type="image/png") == [10]
    assert await numbers(media_type="image/nothing") == []
    assert await numbers(sha256=new(lease, 3).sha256) == [3, 11]
    assert await numbers(created_from_ms=start + 8) == [8, 9, 10, 11]
    assert await numbers(created_until_ms=start + 3) == [0, 1, 2]
    assert await numbers(created_from_ms=start + 2, created_until_ms=start + 6) == [2, 3, 5]
    assert await numbers(created_from_ms=start + 9, media_type="image/jpeg", newest_first=True) == [11, 9]
    assert await numbers(created_from_ms=start + 9, created_until_ms=start + 9) == []


async def test_time_filters_count_days_whole_and_in_part(directory, lease):
    """Twelve photos, five hours apart: every range must count what it lists."""
    times = [20_000 * DAY_MS + hour * 3_600_000 for hour in range(0, 60, 5)]
    for number, time in enumerate(times):
        await directory.commit(new(lease, number, created_at_ms=time))
    edges = [None, times[0], times[3], times[3] + 1, 20_001 * DAY_MS, 20_002 * DAY_MS, times[-1] + 1]
    for start in edges:
        for end in edges:
            page = await directory.photos(PhotoQuery(created_from_ms=start, created_until_ms=end))
            expected = [
                time for time in times if (start is None or time >= start) and (end is None or time < end)
            ]
            assert [record.created_at_ms for record in page.photos] == expected
            assert page.total == len(expected), (start, end)


async def test_a_listing_goes_on_while_photos_come_and_go(directory, lease):
    await fill(directory, lease, 10)
    first = await directory.photos(PhotoQuery(limit=4))
    await directory.delete(first.photos[-1].photo)
    await directory.commit(new(lease, 10))
    rest, totals = await pages(directory, PhotoQuery(limit=4, cursor=first.next_cursor))
    assert rest == [new(lease, n).photo for n in range(4, 11)]
    assert totals == {10}


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "ä", "A" * 23, "_" * 23])
async def test_a_cursor_of_somebody_elses_making_is_refused(directory, cursor):
    with pytest.raises(InvalidRequest):
        await directory.photos(PhotoQuery(cursor=cursor))


async def test_a_cursor_of_the_other_order_is_refused(directory, lease):
    await fill(directory, lease, 3)
    page = await directory.photos(PhotoQuery(limit=1))
    with pytest.raises(InvalidRequest):
        await directory.photos(PhotoQuery(limit=1, newest_first=True, cursor=page.next_cursor))


@pytest.mark.parametrize("limit", [0, 1001])
async def test_a_page_of_an_absurd_size_is_refused(directory, limit):
    with pytest.raises(InvalidRequest):
        await directory.photos(PhotoQuery(limit=limit))


async def test_statistics(directory, lease):
    await fill(directory, lease, 5)
    await directory.delete(new(lease, 0).photo)
    await directory.allocate(size=1000)
    totals = await directory.statistics()
    assert (totals.photos, totals.deleted, totals.bytes) == (4, 1, 4 * len(b"photo 0"))
    assert (totals.volumes, totals.writable_volumes, totals.last_event) == (2, 2, 6)
    assert type(totals.photos) is type(totals.bytes) is int


async def test_a_volumes_photos_page_by_page(directory, lease):
    other = await directory.lease(holder="other", count=5)
    assert other.volume != lease.volume
    for number in (0, 3, 1):
        await directory.commit(new(lease, number, data=b"x" * (number + 1)))
    await directory.commit(new(other, 0))
    await directory.delete(new(lease, 1).photo)
    first = await directory.volume_photos(lease.volume, limit=2)
    rest = await directory.volume_photos(lease.volume, after=sequence_of(first[-1].photo), limit=2)
    ids = [new(lease, number).photo for number in (0, 1, 3)]
    assert [entry.photo for entry in (*first, *rest)] == ids
    assert [entry.size for entry in (*first, *rest)] == [1, 2, 4]
    assert first[1].status is PhotoStatus.DELETED
    assert rest[0].status is PhotoStatus.ACTIVE
    assert (rest[0].alternate_key, rest[0].created_at_ms) == (AlternateKey.ORIG, 20_000 * DAY_MS + 3)
    assert await directory.volume_photos(lease.volume, after=sequence_of(ids[-1]), limit=2) == ()
