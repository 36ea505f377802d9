"""A server at its limits: memory in flight, a full disk, sealed volumes, damaged needles, keys."""

from __future__ import annotations

import json
import resource
import threading
import time
from pathlib import Path

import pytest

from hayloft.types import VolumeId
from hayloft.volume import Volume
from served import picture

QUIET = {"SIMILARITY__ENABLED": "false", "RENDITIONS__ENABLED": "false"}


def held_upload(server, size):
    """A connection that announces an upload of ``size`` bytes and has sent a part of it."""
    connection = server.socket()
    connection.sendall(
        b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
        b"Content-Length: %d\r\n\r\n" % size + b"\xff\xd8\xff" * 100
    )
    return connection


def upload_memory(server):
    text = server.get("/metrics").body.decode()
    line = next(line for line in text.splitlines() if line.startswith("hayloft_upload_memory_bytes"))
    return float(line.rpartition(" ")[2])


def until(condition, server):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, server.log
        time.sleep(0.02)


def test_past_the_memory_budget_clients_are_asked_to_come_back(start_server):
    server = start_server(
        UPLOAD__MEMORY_BYTES_MAX=3_000_000, UPLOAD__BYTES_MAX=1_000_000, UPLOAD__PIXELS_MAX=10_000, **QUIET
    )
    held = [held_upload(server, 1_000_000) for _ in range(3)]
    until(lambda: upload_memory(server) == 3_000_000, server)
    reply = server.upload(picture(1))
    assert (reply.status, reply.code) == (503, "overloaded")
    assert int(reply.headers["retry-after"]) > 0
    chunked = server.request("POST", "/upload", iter([picture(1)]), content_type="image/jpeg")
    assert (chunked.status, chunked.code) == (503, "overloaded")
    assert server.get("/health").status == 200
    for connection in held:
        connection.close()
    until(lambda: upload_memory(server) == 0, server)
    assert server.upload(picture(1)).status == 201
    too_many_pixels = server.upload(picture(2, side=101))
    assert (too_many_pixels.status, too_many_pixels.code) == (413, "image_too_large")


def test_a_large_body_takes_no_more_memory_than_its_budget(start_server):
    """300 MB are sent in one multipart body, one file after the other; the worker holds one at a time."""
    server = start_server(UPLOAD__BYTES_MAX=10_000_000, **QUIET)
    worker = server.children()["worker"]

    def body():
        for _ in range(30):
            yield (
                b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
                + b"\0" * 9_999_000
                + b"\r\n"
            )
        yield b"--xyz--\r\n"

    server.upload(picture(1))
    before = peak_bytes(worker)
    reply = server.request("POST", "/upload", body(), content_type="multipart/form-data; boundary=xyz")
    assert reply.status == 207
    assert len(reply.json["photos"]) == 30
    assert peak_bytes(worker) - before < 60_000_000


def peak_bytes(process):
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_a_full_store_refuses_uploads_and_keeps_serving(start_server):
    server = start_server(**QUIET)
    kept = server.upload(picture(1)).json
    assert server.stop() == 0
    full = start_server(**QUIET, VOLUME__FREE_SPACE_RESERVE_BYTES=1 << 60)
    for _ in range(3):
        reply = full.upload(picture(2))
        assert (reply.status, reply.code) == (507, "storage_full")
    assert full.get(kept["url"].replace(server.url, "")).body == picture(1)
    assert full.delete(f"/photo/{kept['photo_id']}").status == 200
    assert full.get(f"/photo/{kept['photo_id']}").status == 410
    assert full.stop() == 0
    again = start_server(**QUIET)
    assert again.upload(picture(2)).status == 201


def test_full_volumes_are_left_for_new_ones_and_no_client_notices(start_server):
    server = start_server(workers=2, **QUIET, VOLUME__SIZE_BYTES_MAX=200_000)
    kept = {}
    failures = []

    def upload(thread):
        for number in range(25):
            data = picture(100 * thread + number, side=80)
            reply = server.upload(data)
            if reply.status == 201:
                kept[reply.json["photo_id"]] = data
            else:
                failures.append(reply)

    threads = [threading.Thread(target=upload, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(kept) == 100
    # More than the workers' first two; how many more depends on which worker took which photo.
    assert len({photo >> 32 for photo in kept}) > 2
    for photo, data in kept.items():
        assert server.get(f"/photo/{photo}").body == data
    volumes = server.get("/stats").json["stores"][0]["volumes"]
    assert all(volume["size_bytes"] <= 220_000 for volume in volumes)


def test_a_damaged_photo_is_an_error_and_others_are_served(start_server):
    server = start_server(**QUIET)
    damaged, whole = server.upload(picture(1)).json, server.upload(picture(2)).json
    assert server.stop() == 0
    (log,) = (server.data / "volumes").glob("lv-*.log")
    content = log.read_bytes()
    at = content.index(picture(1)[200:264])
    log.write_bytes(content[:at] + b"\0" * 8 + content[at + 8 :])
    again = start_server(**QUIET)
    reply = again.get(f"/photo/{damaged['photo_id']}")
    assert (reply.status, reply.code) == (503, "replicas_failed")
    assert reply.json["failures"] == {"local": "needle_corrupt"}
    assert again.get(f"/photo/{whole['photo_id']}").body == picture(2)
    assert again.upload(picture(3)).status == 201  # in another volume: that one takes no more


def test_a_photo_that_the_store_has_lost_is_damage_and_not_a_404(start_server):
    server = start_server(**QUIET)
    lost = server.upload(picture(1)).json["photo_id"]
    assert server.stop() == 0
    for file in (server.data / "volumes").iterdir():
        file.unlink()
    again = start_server(**QUIET)
    reply = again.get(f"/photo/{lost}")
    assert (reply.status, reply.code) == (503, "replicas_failed")


def test_keys_are_needed_where_they_are_configured(start_server):
    server = start_server(**QUIET, API_KEYS=json.dumps(["first", "second"]))
    assert server.upload(picture(1)).code == "unauthorized"
    kept = server.upload(picture(1), X_API_Key="first").json
    photo = kept["photo_id"]
    for path in (
        f"/photo/{photo}",
        f"/photo/{photo}/info",
        "/photos",
        "/stats",
        "/metrics",
        "/docs",
        "/no",
    ):
        refused = server.get(path)
        assert (refused.status, refused.code) == (401, "unauthorized"), path
        assert refused.headers["www-authenticate"] == "Bearer"
        assert server.get(path, X_API_Key="wrong").status == 401
        assert server.get(path, Authorization="Bearer second").status != 401
    assert server.delete(f"/photo/{photo}").status == 401
    for path in (kept["url"], "/health", "/ready"):
        assert server.get(path).status == 200


def test_links_lead_where_the_settings_say(start_server):
    server = start_server(**QUIET, PUBLIC_URL="https://photos.example/")
    kept = server.upload(picture(1)).json
    assert kept["url"] == f"https://photos.example/photo/{kept['photo_id']}/{kept['cookie']}"


def test_a_photo_too_old_to_be_in_a_cache_is_read_from_the_disk(start_server):
    """The way through a thread gives the same bytes: ``Volume.read`` waits for the disk."""
    server = start_server(**QUIET)
    kept = server.upload(picture(1)).json
    assert server.stop() == 0
    from hayloft.disk import SystemDisk

    volume = Volume.open(SystemDisk(), server.data / "volumes", VolumeId(kept["photo_id"] >> 32))
    assert bytes(volume.read(kept["photo_id"] & 0xFFFFFFFF, 0).data) == picture(1)


@pytest.fixture(autouse=True)
def enough_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > 100, (soft, hard)
