"""Stores on the other side of HTTP that refuse, hang, lie or break off: reads, uploads and deletions go on.

No client here gives up by itself before a test does (``PATIENCE``): what ends in time ends because the
gateway looked elsewhere.
"""

from __future__ import annotations

import asyncio

import pytest

from doubles.proxy import Fault
from doubles.remote import Remote, remote_gateway
from hayloft import errors
from hayloft.types import AlternateKey, PhotoId, StoreId, volume_of
from hayloft.wire.asgi import send_json, send_response
from hayloft.wire.serving import AppServer
from served import picture

FAULTS = [Fault.REFUSE, Fault.DROP, Fault.FLIP, Fault.CUT]


@pytest.fixture
async def remote():
    async with remote_gateway() as remote:
        yield remote


async def replicas_failed(remote: Remote) -> set[tuple[int, str]]:
    await remote.gateway._reports.close()
    return {(one.volume, one.store) for one in await remote.directory.replicas() if one.failure}


async def first_asked(remote: Remote, photo: PhotoId) -> StoreId:
    replicas = (await remote.directory.placement(volume_of(photo))).replicas
    return remote.gateway.standings.order(replicas, photo)[0]


@pytest.mark.parametrize("fault", FAULTS)
async def test_photos_are_read_from_the_replicas_that_give_them_whole(remote, fault):
    paths = [(await remote.upload(picture(number)))[1] for number in range(9)]
    for broken in remote.proxies.values():
        broken.fault = fault
        for number, path in enumerate(paths):
            assert await remote.read(path) == picture(number)
        broken.fault = Fault.NONE
        broken.reset()


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.DROP])
async def test_a_store_that_keeps_failing_is_asked_last_and_comes_back(remote, fault):
    paths = [(await remote.upload(picture(number)))[1] for number in range(6)]
    proxy = remote.proxies[StoreId("s0")]
    standing = remote.gateway.standings.of(StoreId("s0"))
    proxy.fault = fault
    while not standing.is_avoided:
        await asyncio.gather(*(remote.read(path) for path in paths))
    asked = proxy.requests
    for path in paths:
        await remote.read(path)
    assert proxy.requests <= asked + 1  # but for a trial
    proxy.fault = Fault.NONE
    while not standing.is_sound:
        await asyncio.gather(*(remote.read(path) for path in paths))
        await asyncio.sleep(0.05)
    asked = proxy.requests
    for path in paths:
        await remote.read(path)
    assert proxy.requests > asked


async def test_a_slow_store_is_overtaken_without_being_reported(remote):
    photo, path = await remote.upload(picture(1))
    first = await first_asked(remote, photo)
    remote.proxies[first].fault = Fault.DROP
    assert await remote.read(path) == picture(1)
    assert not remote.gateway.standings.of(first).is_sound
    assert not await replicas_failed(remote)


async def test_a_damaged_needle_is_no_fault_of_its_store_and_is_reported(remote):
    photo, path = await remote.upload(picture(1))
    first = await first_asked(remote, photo)
    remote.stores[first].corrupt(photo)
    assert await remote.read(path) == picture(1)
    assert remote.gateway.standings.of(first).is_sound
    assert await replicas_failed(remote) == {(volume_of(photo), first)}


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.DROP])
async def test_uploads_go_to_a_volume_without_the_store_that_fails(remote, fault):
    before, path = await remote.upload(picture(0))
    bad = StoreId("s1")
    remote.proxies[bad].fault = fault
    uploads = await asyncio.gather(*(remote.upload(picture(number)) for number in range(1, 9)))
    for number, (photo, link) in enumerate(uploads, 1):
        assert bad not in (await remote.directory.placement(volume_of(photo))).replicas
        assert await remote.read(link) == picture(number)
    assert (volume_of(before), bad) in await replicas_failed(remote)
    assert await remote.read(path) == picture(0)


async def test_what_a_failed_upload_left_on_other_stores_is_taken_back(remote):
    await remote.upload(picture(0))
    remote.proxies[StoreId("s1")].fault = Fault.REFUSE
    remote.proxies[StoreId("s1")].reset()
    photo, _ = await remote.upload(picture(1))
    await remote.gateway._storing.close()
    for name in ("s0", "s2"):
        kept = {kept for kept, _ in remote.stores[StoreId(name)]._needles}
        assert photo in kept
        assert len(kept) == 2


async def test_stores_that_are_all_busy_are_waited_for(remote):
    for store in remote.stores.values():
        append = store.append

        async def slowly(volume, needle, append=append):
            await asyncio.sleep(2.0)
            return await append(volume, needle)

        store.append = slowly
    photo, _ = await remote.upload(picture(1))
    assert len((await remote.directory.placement(volume_of(photo))).replicas) == 3
    assert not await replicas_failed(remote)


@pytest.mark.parametrize("refusal", [errors.ShuttingDown, errors.Unauthorized])
async def test_a_store_that_stops_or_does_not_know_us_fails_no_upload(remote, refusal):
    await remote.upload(picture(0))
    remote.stores[StoreId("s2")].fail(refusal())
    photo, path = await remote.upload(picture(1))
    assert StoreId("s2") not in (await remote.directory.placement(volume_of(photo))).replicas
    assert await remote.read(path) == picture(1)


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.DROP])
async def test_a_deletion_names_the_replicas_that_are_left(remote, fault):
    photo, path = await remote.upload(picture(1))
    remote.proxies[StoreId("s0")].fault = fault
    remote.proxies[StoreId("s0")].reset()
    told = (await remote.request("DELETE", f"/photo/{photo}", repeatable=False)).json()
    assert told["failed_replicas"] == ["s0"]
    assert told["status"] == "deleted"
    for name in ("s1", "s2"):
        assert remote.stores[StoreId(name)].exists(photo).deleted
    remote.proxies[StoreId("s0")].fault = Fault.NONE
    told = (await remote.request("DELETE", f"/photo/{photo}")).json()
    assert told["failed_replicas"] == []
    with pytest.raises(errors.PhotoDeleted):
        await remote.read(path)


# Stores that others wrote ------------------------------------------------------------------------


class PlainStore:
    """The wire contract's store and not a word more: no cookies, no checksums, no media types."""

    def __init__(self) -> None:
        self.photos: dict[str, bytes] = {}
        self.bit = 0

    async def __call__(self, scope, receive, send) -> None:
        headers = dict(scope.get("headers", ()))
        if scope["type"] != "http":
            return
        if scope["path"].endswith("/append"):
            body = b""
            while True:
                message = await receive()
                body += message["body"]
                if not message["more_body"]:
                    break
            self.photos[headers[b"x-photo-id"].decode()] = body
            told = {"status": "stored", "lv": "lv-1", "offset": 0, "size": len(body), "checksum": ""}
            await send_json(send, 200, told, "r")
            return
        photo = scope["query_string"].decode().split("photo_id=")[1].split("&")[0]
        if photo not in self.photos:
            await send_json(send, 404, {"detail": "not found"}, "r")
            return
        data = self.photos[photo]
        body = data[:-1] + bytes([data[-1] ^ self.bit])
        await send_response(send, 200, body, [("content-type", "application/octet-stream")])


async def test_photos_of_a_store_that_tells_nothing_are_checked_with_the_directory():
    plain = PlainStore()
    async with AppServer(plain) as server, remote_gateway(stores=1) as remote:
        proxy = remote.proxies[StoreId("s0")]
        proxy._host, proxy._port = "127.0.0.1", int(server.url.rpartition(":")[2])
        photo, path = await remote.upload(picture(1))
        answer = await remote.request("GET", path)
        assert answer.body == picture(1)
        assert answer.headers["content-type"] == "image/jpeg"
        with pytest.raises(errors.PhotoNotFound):
            await remote.read(path[:-1] + ("0" if path[-1] != "0" else "1"))
        plain.bit = 1
        with pytest.raises(errors.ReplicasFailed):
            await remote.read(path)
        assert PhotoId(int(next(iter(plain.photos)))) == photo


async def test_a_photo_known_by_another_key_is_found(remote):
    answer = await remote.request(
        "POST", "/upload?alt_key=thumb", data=picture(1), headers={"content-type": "image/jpeg"}
    )
    photo = PhotoId(answer.json()["photo_id"])
    remote.proxies[StoreId("s1")].fault = Fault.DROP
    assert await remote.read(f"/photo/{photo}") == picture(1)
    assert (photo, AlternateKey.THUMB) in remote.stores[StoreId("s0")]._needles


async def test_a_store_that_hangs_does_not_make_the_gateway_look_as_if_it_did(remote):
    await remote.upload(picture(1))
    remote.proxies[StoreId("s1")].fault = Fault.DROP
    assert (await remote.request("GET", "/ready")).json()["status"] == "ready"
    told = (await remote.request("GET", "/stats")).json()
    assert {store["store_id"] for store in told["stores"]} == {"s0", "s2"}
