"""From the server's JSON to records and back, and what peers with fewer fields are understood to say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from doubles.gateway import CREATED_AT
from hayloft import errors
from hayloft.client import answers
from hayloft.types import Relation, Verdict

TIME = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)


def test_times_keep_their_milliseconds_both_ways():
    assert answers.parse_time(CREATED_AT) == TIME
    assert answers.format_time(TIME) == CREATED_AT
    assert answers.format_time(TIME.astimezone(timezone(timedelta(hours=5)))) == CREATED_AT


def test_an_upload_to_a_peer_that_tells_only_the_contract():
    photo = answers.uploaded_from({"photo_id": 5, "logical_volume": "lv-3"})
    assert (photo.id, photo.logical_volume, photo.duplicate_of, photo.sha256) == (5, "lv-3", None, "")


def test_a_link_has_its_smaller_end_first_whichever_side_tells():
    told = {"relation": "copy", "score": 0.5, "method": "pdq/1", "created_at": CREATED_AT}
    (from_large,) = answers.links_of({"photo_id": 9, "links": [{**told, "photo_id": 2}]})
    (from_small,) = answers.links_of({"photo_id": 2, "links": [{**told, "photo_id": 9}]})
    assert from_large == from_small
    assert (from_small.a, from_small.b, from_small.relation) == (2, 9, Relation.COPY)
    assert from_small.created_at_ms == round(TIME.timestamp() * 1000)


def test_statistics_with_fields_of_a_newer_server():
    told = {
        "directory": {
            "photos": 1,
            "deleted": 0,
            "bytes": 5,
            "volumes": 1,
            "writable_volumes": 1,
            "last_event": 9,
            "mood": "good",
        },
        "stores": [
            {
                "store_id": "local",
                "free_bytes": 7,
                "capacity_bytes": 8,
                "volumes": [{"logical_volume": "lv-4", "needles": 1, "size_bytes": 64, "sealed": False}],
            }
        ],
        "similarity": None,
    }
    found = answers.statistics_from(told)
    assert (found.directory.bytes, found.stores[0].volumes[0].volume, found.similarity) == (5, 4, None)


async def test_records_become_the_wires_json_again(client, gateway):
    kept = gateway.keep(b"a", "a.png")
    document = answers.to_json(await client.info(kept.id))
    assert document.items() <= gateway._told(kept).items()
    link = answers.to_json(await client.set_verdict(kept.id, kept.id + 1, Verdict.SAME))
    assert link == gateway._link(kept.id, kept.id + 1)
    group = answers.to_json(await client.group(kept.id))
    assert group == gateway._group({kept.id, kept.id + 1})


def test_details_go_both_ways():
    told = {
        "taken_at": "2020-05-06T07:08:09",
        "camera_make": "Leica",
        "position": {"latitude": 47.5, "longitude": 8.25, "altitude_m": None},
        "placeholder": "AQID",
        "renditions": [{"rendition": "thumb", "width": 256, "height": 171}],
    }
    photo = answers.photo_from({"photo_id": 5, "details": told})
    assert (photo.details.latitude, photo.details.placeholder) == (47.5, b"\x01\x02\x03")
    assert photo.details.renditions[0].alternate_key.label == "thumb"
    document = answers.to_json(photo)["details"]
    assert {name: document[name] for name in told} == told
    assert "details" not in answers.to_json(answers.photo_from({"photo_id": 5, "details": None}))


async def test_filters_reach_the_server(client, gateway):
    kept = gateway.keep(b"a")
    gateway.keep(b"b")
    gateway.photos[kept.id].deleted = True
    assert [photo.id async for photo in client.photos(status="deleted")] == [kept.id]
    assert [photo.id async for photo in client.photos(status=None, sha256=kept.sha256)] == [kept.id]
    with pytest.raises(errors.InvalidRequest, match="none of: alloc, active, deleted"):
        await client.photos_page(status="lost")


async def test_more_digests_than_one_request_may_ask(client, gateway):
    kept = [gateway.keep(b"%d" % number) for number in range(3)]
    asked = ["00" * 32] * 1500 + [photo.sha256 for photo in kept]
    assert await client.known(asked) == {photo.sha256: photo.id for photo in kept}
    assert gateway.requests == [("POST", "/photos/known")] * 2


async def test_something_else_than_hayloft_answers(client, gateway):
    from aiohttp import web

    async def greet(_double, _request):
        return web.Response(text="Welcome!")

    gateway.faults["/health"].append(greet)
    with pytest.raises(errors.InternalError, match="is this a Hayloft server"):
        await client.health()


@pytest.mark.parametrize("told", [[], {}, {"photo_id": "x"}, {"photo_id": 1, "created_at": "today"}, None])
async def test_answers_that_make_no_sense(client, gateway, told):
    from aiohttp import web

    async def mumble(_double, _request):
        return web.json_response(told)

    calls = {"info": client.info, "links": client.links, "group": client.group}
    for path, call in ((f"/photo/5/{name}", call) for name, call in calls.items()):
        gateway.faults[path].append(mumble)
        with pytest.raises(errors.InternalError):
            await call(5)


def test_statistics_as_json_are_those_of_the_wire():
    volume = {"logical_volume": "lv-4", "needles": 1, "size_bytes": 64, "sealed": False, "corrupt": 0}
    volume["live_bytes"] = None
    store = {"store_id": "local", "free_bytes": 7, "capacity_bytes": 8, "volumes": [volume]}
    held = {"photos": 1, "deleted": 0, "bytes": 5, "volumes": 1, "writable_volumes": 1, "last_event": 9}
    held["uploads_refused"] = ""
    told = {"directory": held, "stores": [store], "similarity": None}
    assert answers.to_json(answers.statistics_from(told)) == told
