"""Replicas that fail, lie, lose needles or fill up: what clients see, and what the directory is told."""

from __future__ import annotations

import pytest

from hayloft import errors
from hayloft.types import PhotoId, VolumeId, volume_of
from served import picture


async def settle(world):
    """Let reports and cleanups under way arrive."""
    await world.gateway._storing.close()
    await world.gateway._reports.close()


@pytest.fixture
async def replicated(make_world):
    world = await make_world(stores=3, replicas=3)
    photo = PhotoId((await world.upload(picture(1))).json["photo_id"])
    return world, photo


async def first_asked(world, photo):
    replicas = (await world.directory.placement(volume_of(photo))).replicas
    return world.stores[replicas[photo % len(replicas)]]


@pytest.mark.parametrize("harm", ["corrupt", "forget", "away", "unknown"])
async def test_another_replica_answers_and_the_failure_is_reported(replicated, harm):
    world, photo = replicated
    store = await first_asked(world, photo)
    if harm == "away":
        store.fail(errors.RoleUnavailable())
    elif harm == "unknown":
        del world.stores[store.store]
    else:
        getattr(store, harm)(photo)
    for _ in range(3):
        reply = await world.request("GET", f"/photo/{photo}")
        assert (reply.status, reply.body) == (200, picture(1))
    await settle(world)
    assert not (await world.directory.placement(volume_of(photo))).writable


async def test_when_every_replica_fails_it_says_why(replicated):
    world, photo = replicated
    stores = list(world.stores.values())
    stores[0].corrupt(photo)
    stores[1].forget(photo)
    stores[2].fail(errors.RoleUnavailable())
    reply = await world.request("GET", f"/photo/{photo}")
    assert (reply.status, reply.code) == (503, "replicas_failed")
    assert set(reply.json["failures"].values()) == {
        "needle_corrupt",
        "photo_not_found",
        "role_unavailable",
    }
    stores[2].fail(None)
    assert (await world.request("GET", f"/photo/{photo}")).body == picture(1)


async def test_a_photo_lost_everywhere_is_damage_and_not_a_404(replicated):
    world, photo = replicated
    for store in world.stores.values():
        store.forget(photo)
    assert (await world.request("GET", f"/photo/{photo}")).code == "replicas_failed"
    assert (await world.request("GET", f"/photo/{photo + 1}")).code == "photo_not_found"
    assert (await world.request("GET", f"/photo/{photo + (7 << 32)}")).code == "photo_not_found"


async def test_deleting_names_replicas_that_did_not_answer(replicated):
    world, photo = replicated
    store = await first_asked(world, photo)
    store.fail(errors.RoleUnavailable())
    reply = await world.request("DELETE", f"/photo/{photo}")
    assert reply.json == {"status": "deleted", "photo_id": photo, "failed_replicas": [store.store]}
    store.fail(None)
    again = await world.request("DELETE", f"/photo/{photo}")
    assert again.json["failed_replicas"] == []
    assert (await world.request("GET", f"/photo/{photo}")).code == "photo_deleted"


@pytest.mark.parametrize(
    "failure", [errors.RoleUnavailable, errors.NeedleCorrupt, errors.InternalError, errors.VolumeCorrupt]
)
async def test_an_upload_goes_to_a_volume_whose_stores_all_work(make_world, failure):
    world = await make_world(stores=2, replicas=1)
    first = (await world.upload(picture(1))).json["photo_id"]
    bad = (await world.directory.placement(volume_of(PhotoId(first)))).replicas[0]
    world.stores[bad].fail(failure())
    for number in range(2, 6):
        reply = await world.upload(picture(number))
        assert reply.status == 201, reply
        photo = PhotoId(reply.json["photo_id"])
        assert (await world.directory.placement(volume_of(photo))).replicas[0] != bad
    await settle(world)
    assert not (await world.directory.placement(volume_of(PhotoId(first)))).writable


async def test_a_needle_stored_on_some_replicas_only_is_taken_back(make_world):
    world = await make_world(stores=2, replicas=2)
    good, bad = world.stores.values()
    bad.fail(errors.RoleUnavailable())
    photo = PhotoId((await world.upload(picture(1))).json["photo_id"])
    await settle(world)
    assert [kept for kept, _ in good._needles] == [photo]
    assert (await world.directory.placement(volume_of(photo))).replicas == (good.store,)


async def test_when_no_store_works_nothing_is_kept(make_world):
    world = await make_world(stores=2, replicas=2)
    for store in world.stores.values():
        store.fail(errors.RoleUnavailable())
    reply = await world.upload(picture(1))
    assert (reply.status, reply.code) == (503, "replicas_failed")
    await settle(world)
    assert (await world.directory.statistics()).photos == 0


async def test_stores_that_are_overloaded_are_not_reported(make_world):
    world = await make_world(stores=2, replicas=2)
    for store in world.stores.values():
        store.fail(errors.Overloaded(retry_after_seconds=7))
    reply = await world.upload(picture(1))
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "overloaded", "7")
    assert not [replica for replica in await world.directory.replicas() if replica.failure]


async def test_a_sealed_volume_is_left_and_the_directory_told(make_world):
    world = await make_world()
    (store,) = world.stores.values()
    first = PhotoId((await world.upload(picture(1))).json["photo_id"])
    await store.seal(volume_of(first))
    second = PhotoId((await world.upload(picture(2))).json["photo_id"])
    assert volume_of(second) != volume_of(first)
    assert not (await world.directory.placement(volume_of(first))).writable
    assert (await world.directory.placement(volume_of(second))).writable


async def test_a_full_disk_is_a_507_and_no_volume_is_used_up(make_world):
    world = await make_world(capacity_bytes=5000)
    assert (await world.upload(picture(1))).status == 201
    for _ in range(5):
        reply = await world.upload(picture(2))
        assert (reply.status, reply.code) == (507, "storage_full")
    assert (await world.directory.statistics()).volumes <= 2


async def test_a_full_store_is_passed_by_while_another_has_room(make_world):
    world = await make_world(stores=2)
    first, _ = world.stores.values()
    first._capacity_bytes = 100
    for number in range(6):
        assert (await world.upload(picture(number))).status == 201
    assert not first._needles


async def test_the_directory_refusing_a_commit_leaves_nothing_behind(make_world, monkeypatch):
    world = await make_world()
    (store,) = world.stores.values()

    async def refuse(_photo):
        raise errors.Conflict

    monkeypatch.setattr(world.directory, "commit", refuse)
    assert (await world.upload(picture(1))).code == "conflict"
    await settle(world)
    assert not store._needles


async def test_a_commit_of_unknown_outcome_takes_nothing_back(make_world, monkeypatch):
    """The answer may have been lost after the photo was recorded: its bytes must stay."""
    world = await make_world()
    (store,) = world.stores.values()
    commit = world.directory.commit

    async def commit_and_lose_the_answer(photo):
        await commit(photo)
        raise errors.RoleUnavailable

    monkeypatch.setattr(world.directory, "commit", commit_and_lose_the_answer)
    assert (await world.upload(picture(1))).code == "role_unavailable"
    await settle(world)
    ((photo, _),) = store._needles
    assert (await world.request("GET", f"/photo/{photo}")).body == picture(1)


async def test_a_repeated_upload_keeps_one_needle(make_world):
    world = await make_world()
    (store,) = world.stores.values()
    first = (await world.upload(picture(1), idempotency_key="k")).json
    again = (await world.upload(picture(1), idempotency_key="k")).json
    assert again == {**first, "repeated": True}
    await settle(world)
    assert [photo for photo, _ in store._needles] == [first["photo_id"]]


async def test_an_upload_cut_off_keeps_nothing(make_world):
    world = await make_world()
    (store,) = world.stores.values()
    data = picture(1)
    for headers in ({}, {"content_length": str(len(data))}, {"content_length": str(len(data) + 1)}):
        reply = await world.request(
            "POST", "/upload", data[:100], data[100:], cut=True, content_type="image/jpeg", **headers
        )
        assert reply.status == 0
    short = await world.request(
        "POST", "/upload", data, content_type="image/jpeg", content_length=str(len(data) + 1)
    )
    assert short.status == 0
    assert not store._needles
    assert world.gateway.budget.bytes_held == 0


async def test_a_photo_stored_under_another_alternate_key_is_found(make_world):
    world = await make_world()
    reply = await world.request("POST", "/upload?alt_key=thumb", picture(1), content_type="image/jpeg")
    assert reply.json["alt_key"] == "thumb"
    assert (await world.request("GET", f"/photo/{reply.json['photo_id']}")).body == picture(1)
    refused = await world.request("POST", "/upload?alt_key=huge", picture(1), content_type="image/jpeg")
    assert refused.code == "invalid_request"


async def test_leases_are_dropped_with_their_volume(make_world):
    world = await make_world()
    identifiers = world.gateway._identifiers
    taken = [await identifiers.take() for _ in range(3000)]
    assert len({slot.photo for slot in taken}) == 3000
    volume = taken[-1].volume
    await world.directory.set_writable(volume, False)
    identifiers.abandon(volume)
    assert (await identifiers.take()).volume != volume
    assert volume != VolumeId(0)
