"""The gateway's contract with services written by others, by plain HTTP, exactly as it is written down."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from served import Server, picture


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("gateway") / "data", RENDITIONS__ENABLED="false").start()
    yield server
    assert server.stop() == 0, server.log


def post_file(server, data, path="/upload"):
    """What ``requests.post(url, files={"file": …})`` sends."""
    boundary = uuid.uuid4().hex
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x.jpg"\r\n\r\n'.encode()
        + data
        + f"\r\n--{boundary}--\r\n".encode()
    )
    content_type = f"multipart/form-data; boundary={boundary}"
    return server.request("POST", path, body, content_type=content_type)


def test_upload_tells_id_and_volume_and_the_id_gives_the_bytes(server):
    data = picture(1)
    reply = post_file(server, data)
    assert reply.status in (200, 201)
    told = reply.json
    assert isinstance(told["photo_id"], int)
    assert told["photo_id"] < 2**53
    assert told["logical_volume"] == f"lv-{told['photo_id'] >> 32}"
    got = server.get(f"/photo/{told['photo_id']}")
    assert (got.status, got.body) == (200, data)


def test_an_alternate_key_may_be_given(server):
    for key in ("orig", "large", "medium", "small", "thumb"):
        data = picture(hash(key) % 1000)
        told = post_file(server, data, f"/upload?alt_key={key}").json
        assert server.get(f"/photo/{told['photo_id']}").body == data
        assert server.get(f"/photo/{told['photo_id']}/info").json["alt_key"] == key


def similar(server, photo):
    reply = server.get(f"/similar/{photo}?k=5")
    assert reply.status in (200, 404, 503), reply
    return reply.json.get("similar", [])


def test_unknown_photos_are_404_and_deleted_ones_410(server):
    assert server.get("/photo/123456789").status == 404
    photo = post_file(server, picture(2)).json["photo_id"]
    reply = server.delete(f"/photo/{photo}")
    assert reply.status == 200
    assert reply.json["status"] == "deleted"
    assert reply.json["failed_replicas"] == []
    assert server.get(f"/photo/{photo}").status == 410
    assert server.delete(f"/photo/{photo}").json["status"] == "deleted"


def test_similar_photos_are_told_nearest_first_and_health_says_how_many_there_are(server):
    photo = post_file(server, picture(3)).json["photo_id"]
    twin = post_file(server, picture(3)).json["photo_id"]
    deadline = time.monotonic() + 90
    # 503 while the ingest process is starting, 404 until it has looked at the photo.
    while twin not in [one["photo_id"] for one in similar(server, photo)]:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.05)
    reply = server.get(f"/similar/{photo}?k=5")
    told = reply.json
    assert told["photo_id"] == photo
    assert photo not in [one["photo_id"] for one in told["similar"]]
    distances = [one["distance"] for one in told["similar"]]
    assert distances == sorted(distances)
    assert server.get("/similar/987654321").status == 404
    health = server.get("/health").json
    assert health["status"] == "ok"
    assert isinstance(health["trained"], bool)
    assert health["total_indexed"] >= 1


def test_answers_are_json_with_a_length(server):
    for path in ("/health", "/stats", "/photos", "/nowhere"):
        reply = server.get(path)
        assert reply.headers["content-type"] == "application/json"
        assert int(reply.headers["content-length"]) == len(reply.body)
        json.loads(reply.body)
