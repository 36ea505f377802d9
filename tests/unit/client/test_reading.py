"""Reading photos: whole, in pieces, from anywhere, over connections that break; and naming them."""

from __future__ import annotations

import os

import pytest

from doubles.gateway import breaking_after, overloaded
from hayloft import errors
from hayloft.client import Reference, ServerUnreachable, parse_reference

DATA = os.urandom(1_000_000)


@pytest.fixture
def kept(gateway):
    return gateway.keep(DATA, "noise.png")


async def test_the_whole_photo_by_id_by_link_and_by_record(client, gateway, kept):
    record = await client.info(kept.id)
    for name in (kept.id, str(kept.id), record, record.url):
        assert await client.get(name) == DATA
    assert gateway.requests[-1] == ("GET", f"/photo/{kept.id}/{kept.cookie}")


async def test_a_stream_knows_the_photo_and_delivers_it(client, kept):
    async with client.open(kept.id) as stream:
        assert (stream.size, stream.media_type, stream.name) == (len(DATA), "image/png", "noise.png")
        assert await stream.read(10) == DATA[:10]
        assert b"".join([piece async for piece in stream]) == DATA[10:]
        assert await stream.read() == b""


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (5, 5000), (999_999, None), (10, None), (0, 2_000_000), (500, 500)]
)
@pytest.mark.parametrize("ranges", [True, False])
async def test_part_of_a_photo(client, gateway, kept, start, end, ranges):
    gateway.ranges = ranges
    async with client.open(kept.id, start=start, end=end) as stream:
        assert await stream.read() == DATA[start:end]
        assert stream.size == len(DATA)


async def test_a_range_past_the_end(client, kept):
    with pytest.raises(errors.RangeNotSatisfiable):
        async with client.open(kept.id, start=len(DATA)):
            pass


async def test_seeking_asks_for_the_rest_from_there(client, gateway, kept):
    async with client.open(kept.id) as stream:
        await stream.seek(900_000)
        assert await stream.read(5) == DATA[900_000:900_005]
        await stream.seek(3)
        assert await stream.read(5) == DATA[3:8]
    assert gateway.headers[-1]["If-Range"] == f'"{kept.cookie}"'


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_connection_that_breaks_is_taken_up_again(client, gateway, kept, ranges):
    gateway.ranges = ranges
    gateway.faults[f"/photo/{kept.id}"].extend([breaking_after(300_000), breaking_after(500_000)])
    async with client.open(kept.id) as stream:
        assert await stream.read() == DATA


async def test_a_connection_that_always_breaks_ends_in_an_error(client, gateway, kept):
    gateway.faults[f"/photo/{kept.id}"].extend([breaking_after(10)] * 20)
    with pytest.raises(ServerUnreachable, match="cannot be read to its end"):
        async with client.open(kept.id) as stream:
            await stream.read()


async def test_a_whole_read_that_breaks_is_repeated(client, gateway, kept):
    gateway.faults[f"/photo/{kept.id}"].extend([breaking_after(10), overloaded()])
    assert await client.get(kept.id) == DATA


@pytest.mark.parametrize("read", ["get", "info", "delete"])
async def test_what_is_not_there(client, kept, read):
    with pytest.raises(errors.PhotoNotFound):
        await getattr(client, read)(7)
    await client.delete(kept.id)
    assert (await client.info(kept.id)).status == "deleted"
    with pytest.raises(errors.PhotoDeleted):
        await client.get(kept.id)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("12", Reference(photo=12)),
        (" 12\n", Reference(photo=12)),
        ("http://h:1/photo/12", Reference(photo=12, server="http://h:1")),
        (
            "https://h/base/photo/12/00ff00ff00ff00ff",
            Reference(photo=12, cookie="00ff00ff00ff00ff", server="https://h/base"),
        ),
    ],
)
def test_references(text, reference):
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "1.5", "٣", str(1 << 53), "ftp://h/photo/1", "http://h/photos/1", "http://[/photo/1"],
)
def test_what_names_no_photo(text):
    with pytest.raises(errors.InvalidRequest):
        parse_reference(text)


@pytest.mark.parametrize(
    ("photo", "rendition", "path"),
    [
        (12, None, "/photo/12"),
        (12, "orig", "/photo/12"),
        (12, "thumb", "/photo/12/thumb"),
        ("http://h/photo/12/00ff00ff00ff00ff", "large", "/photo/12/00ff00ff00ff00ff/large"),
    ],
)
def test_renditions_have_addresses_of_their_own(photo, rendition, path):
    assert parse_reference(photo).rendition_path(rendition) == path


async def test_a_rendition_that_is_none(client):
    with pytest.raises(errors.InvalidRequest, match="none of: orig, large, medium, small, thumb"):
        await client.get(12, rendition="../../tiny")


async def test_an_address_that_is_none(gateway):
    from hayloft import AsyncClient

    for url in ("localhost:8080", "ftp://localhost", "http://", "nonsense"):
        with pytest.raises(errors.InvalidRequest, match="is no server's address"):
            AsyncClient(url)
