"""How a real server answers: methods, conditions, ranges, error bodies, uploads of every form."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import time
from pathlib import Path

import pytest
import skimage
import sklearn

from hayloft.directory.local import LocalDirectory
from served import multipart, picture

REAL = [
    Path(skimage.__file__).parent / "data" / "astronaut.png",
    Path(skimage.__file__).parent / "data" / "rocket.jpg",
    Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg",
]


@pytest.fixture(scope="module")
def kept(shared_server):
    data = picture(77)
    return data, shared_server.upload(data, name="seventy%20seven.jpg").json


# Uploads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_a_real_photo_comes_back_byte_for_byte_with_its_type(shared_server, path):
    data = path.read_bytes()
    reply = shared_server.upload_files((path.name, data))
    assert reply.status == 201
    told = reply.json
    assert told["size"] == len(data)
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert told["name"] == path.name
    assert told["width"] > 100
    assert told["url"].startswith(shared_server.url + "/photo/")
    got = shared_server.get(told["url"])
    assert got.body == data
    assert got.headers["content-type"] == told["media_type"]
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_content_decides_what_a_file_is(shared_server):
    png = picture(5, kind="PNG")
    told = shared_server.upload(png, name="lies.jpg", media_type="image/jpeg").json
    assert told["media_type"] == "image/png"


def test_the_same_bytes_are_known_at_upload(shared_server):
    data = picture(6)
    first = shared_server.upload(data).json
    second = shared_server.upload(data).json
    assert first["duplicate_of"] is None
    assert second["duplicate_of"] == first["photo_id"]
    digest = hashlib.sha256(data).hexdigest()
    known = shared_server.post_json("/photos/known", {"sha256": [digest, "00" * 32]}).json
    assert known == {"known": {digest: first["photo_id"]}}


def test_an_idempotency_key_names_the_photo_that_the_first_upload_made(shared_server):
    data = picture(7)
    first = shared_server.upload(data, Idempotency_Key="seven").json
    again = shared_server.upload(data, Idempotency_Key="seven").json
    assert (again["photo_id"], again["cookie"]) == (first["photo_id"], first["cookie"])
    assert (first["repeated"], again["repeated"]) == (False, True)


def test_several_files_are_kept_in_their_order(shared_server):
    pictures = [picture(100 + number, side=8 * (number + 1)) for number in range(7)]
    reply = shared_server.upload_files(*((f"{n}.jpg", data) for n, data in enumerate(pictures)))
    assert reply.status == 201
    for number, (told, data) in enumerate(zip(reply.json["photos"], pictures, strict=True)):
        assert told["name"] == f"{number}.jpg"
        assert shared_server.get(told["url"]).body == data


def test_files_that_are_refused_do_not_keep_others_out(shared_server):
    good = picture(8)
    files = [("good.jpg", good), ("text.txt", b"hello"), ("large.jpg", b"\xff" * 4_100_000), ("none", b"")]
    reply = shared_server.upload_files(*files, ("cut.jpg", good[:-100]), ("good2.jpg", good))
    assert reply.status == 207
    photos = reply.json["photos"]
    codes = [photo.get("error", {}).get("code") for photo in photos]
    assert codes == [
        None,
        "unsupported_media_type",
        "upload_too_large",
        "empty_upload",
        "photo_truncated",
        None,
    ]
    assert photos[1]["name"] == "text.txt"
    assert photos[5]["duplicate_of"] == photos[0]["photo_id"]


def test_a_chunked_body_is_taken(shared_server):
    data = picture(9)
    pieces = (data[start : start + 1000] for start in range(0, len(data), 1000))
    reply = shared_server.request("POST", "/upload", pieces, content_type="image/jpeg")
    assert reply.status == 201
    assert shared_server.get(reply.json["url"]).body == data


REFUSED = [
    (b"", {"content_type": "image/jpeg"}, 400, "empty_upload"),
    (b"just text", {"content_type": "image/jpeg"}, 415, "unsupported_media_type"),
    (b"{}", {"content_type": "application/json"}, 415, "unsupported_media_type"),
    (picture(1)[:-2], {"content_type": "image/jpeg"}, 422, "photo_truncated"),
    (picture(1)[:300], {"content_type": "image/jpeg"}, 422, "photo_truncated"),
    (b"\xff" * 4_000_001, {"content_type": "image/jpeg"}, 413, "upload_too_large"),
    (b"x", {"content_type": "multipart/form-data"}, 400, "invalid_request"),
    (b"x", {"content_type": "multipart/form-data; boundary=y"}, 400, "invalid_request"),
    (b"--y--\r\n", {"content_type": "multipart/form-data; boundary=y"}, 400, "invalid_request"),
    (multipart(("a.jpg", picture(1)), field="photo")[0], None, 400, "invalid_request"),
    (multipart(("a.jpg", picture(1)))[0][:-12], None, 400, "invalid_request"),
    (multipart(("a.jpg", b"text"))[0], None, 415, "unsupported_media_type"),
    (
        gzip.compress(picture(1)),
        {"content_type": "image/jpeg", "content_encoding": "gzip"},
        415,
        "unsupported_media_type",
    ),
    (picture(1), {"content_type": "image/jpeg", "idempotency_key": "k" * 256}, 400, "invalid_request"),
]


@pytest.mark.parametrize(("body", "headers", "status", "code"), REFUSED)
def test_a_bad_upload_gets_a_clear_answer(shared_server, body, headers, status, code):
    headers = headers or {"content_type": multipart()[1]}
    before = shared_server.get("/photos?limit=1").json["total"]
    reply = shared_server.request("POST", "/upload", body, **headers)
    assert (reply.status, reply.code) == (status, code)
    if headers["content_type"] != multipart()[1]:
        assert shared_server.get("/photos?limit=1").json["total"] == before


def test_a_body_that_is_too_large_is_refused_before_it_is_read(shared_server):
    with shared_server.socket() as connection:
        connection.sendall(
            b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: 99999999999\r\n\r\nx"
        )
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_chunked_body_is_cut_off_at_the_limit(shared_server):
    pieces = (b"\xff\xd8\xff" * 100_000 for _ in range(20))
    reply = shared_server.request("POST", "/upload", pieces, content_type="image/jpeg")
    assert (reply.status, reply.code) == (413, "upload_too_large")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("half", [False, True], ids=["closed", "half closed"])
def test_an_upload_cut_off_half_way_keeps_nothing(shared_server, chunked, half):
    data = picture(500 + 2 * chunked + half)
    # The image itself is whole: only the framing tells that bytes are missing.
    size = len(data) + 50
    with shared_server.socket() as connection:
        head = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
        if chunked:
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(data), data))
        else:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n%s" % (size, data))
        if half:
            connection.shutdown(1)
            connection.recv(100)
    digest = hashlib.sha256(data).hexdigest()
    assert shared_server.get("/health").status == 200
    assert shared_server.post_json("/photos/known", {"sha256": [digest]}).json == {"known": {}}


# Reading ---------------------------------------------------------------------------------------------


def test_head_is_get_without_the_body(shared_server, kept):
    data, told = kept
    got, head = shared_server.get(told["url"]), shared_server.request("HEAD", told["url"])
    assert head.status == 200
    assert head.body == b""
    ignored = {"date", "x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {
        k: v for k, v in got.headers.items() if k not in ignored
    }
    assert head.headers["content-length"] == str(len(data))
    assert head.headers["content-disposition"] == 'inline; filename="seventy seven.jpg"'


RANGES = [
    ("bytes=0-0", 206, (0, 1)),
    ("bytes=0-99", 206, (0, 100)),
    ("bytes=100-", 206, (100, None)),
    ("bytes=-7", 206, (-7, None)),
    ("bytes=-99999999", 206, (0, None)),
    ("bytes=10-99999999", 206, (10, None)),
    ("Bytes = 1-2", 206, (1, 3)),
    ("bytes=0-1,5-6", 200, (0, None)),
    ("pages=1-2", 200, (0, None)),
    ("nonsense", 200, (0, None)),
    ("bytes=99999999-", 416, None),
    ("bytes=5-4", 416, None),
    ("bytes=-0", 416, None),
    ("bytes=-", 416, None),
    ("bytes=a-b", 416, None),
    ("bytes=99999999999999999999999999-", 416, None),
]


@pytest.mark.parametrize(("header", "status", "expected"), RANGES)
def test_ranges(shared_server, kept, header, status, expected):
    data, told = kept
    reply = shared_server.get(told["url"], Range=header)
    assert reply.status == status
    if expected is None:
        assert reply.code == "range_not_satisfiable"
        assert reply.headers["content-range"] == f"bytes */{len(data)}"
        return
    start, stop, _ = slice(*expected).indices(len(data))
    assert reply.body == data[start:stop]
    if status == 206:
        assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(data)}"
        assert reply.headers["etag"]
    else:
        assert "content-range" not in reply.headers


def test_a_range_on_head_is_ignored(shared_server, kept):
    assert shared_server.request("HEAD", kept[1]["url"], Range="bytes=0-1").status == 200


def test_conditions(shared_server, kept):
    data, told = kept
    url = told["url"]
    etag = shared_server.get(url).headers["etag"]
    for unless in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        reply = shared_server.get(url, If_None_Match=unless)
        assert (reply.status, reply.body) == (304, b"")
        assert reply.headers["etag"] == etag
        assert reply.headers["cache-control"]
    assert shared_server.get(url, If_None_Match='"other"').body == data
    assert shared_server.get(url, If_Match=etag).body == data
    assert shared_server.get(url, If_Match="*").body == data
    for only in ('"other"', f"W/{etag}"):
        reply = shared_server.get(url, If_Match=only)
        assert (reply.status, reply.code) == (412, "precondition_failed")
    assert shared_server.get(url, Range="bytes=0-1", If_Range=etag).status == 206
    for other in ('"other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert shared_server.get(url, Range="bytes=0-1", If_Range=other).body == data
    assert shared_server.get(url, Range="bytes=0-1", If_None_Match=etag).status == 304


def test_an_etag_does_not_open_a_photo_without_its_cookie(shared_server, kept):
    _, told = kept
    etag = shared_server.get(told["url"]).headers["etag"]
    wrong = f"/photo/{told['photo_id']}/{'0' * 16}"
    for unless in (etag, "*"):
        assert shared_server.get(wrong, If_None_Match=unless).code == "photo_not_found"


@pytest.mark.parametrize("cookie", ["0" * 16, "f" * 16, "f" * 15, "f" * 17, "zzzzzzzzzzzzzzzz", "%00"])
def test_a_wrong_cookie_is_a_404(shared_server, kept, cookie):
    reply = shared_server.get(f"/photo/{kept[1]['photo_id']}/{cookie}")
    assert reply.status == 404
    assert reply.code in ("photo_not_found", "not_found")


@pytest.mark.parametrize(
    "photo", ["0", "1", str(2**53), "9" * 40, "-1", "x", "%C2%B2", "1e3", "4294967295"]
)
@pytest.mark.parametrize("ending", ["", "/info", "/links"])
def test_an_unknown_id_is_a_404(shared_server, photo, ending):
    reply = shared_server.get(f"/photo/{photo}{ending}")
    assert (reply.status, reply.code) == (404, "photo_not_found")


# Deleting --------------------------------------------------------------------------------------------


def test_a_deleted_photo_is_gone_everywhere_and_stays_so(shared_server):
    data = picture(11)
    told = shared_server.upload(data).json
    photo = told["photo_id"]
    etag = shared_server.get(told["url"]).headers["etag"]
    for _ in range(3):
        reply = shared_server.delete(f"/photo/{photo}")
        assert reply.status == 200
        assert reply.json == {"status": "deleted", "photo_id": photo, "failed_replicas": []}
    for path in (told["url"], f"/photo/{photo}"):
        for headers in ({}, {"If_None_Match": etag}, {"Range": "bytes=0-1"}):
            reply = shared_server.get(path, **headers)
            assert (reply.status, reply.code) == (410, "photo_deleted")
    assert shared_server.get(f"/photo/{photo}/info").json["status"] == "deleted"
    digest = hashlib.sha256(data).hexdigest()
    assert shared_server.post_json("/photos/known", {"sha256": [digest]}).json == {"known": {}}
    assert shared_server.get(f"/photos?sha256={digest}").json["total"] == 0
    assert shared_server.get(f"/photos?sha256={digest}&status=deleted").json["total"] == 1
    assert shared_server.delete("/photo/12345").code == "photo_not_found"


def test_concurrent_deletes_all_succeed(shared_server):
    photo = shared_server.upload(picture(12)).json["photo_id"]
    replies = []
    threads = [
        threading.Thread(target=lambda: replies.append(shared_server.delete(f"/photo/{photo}")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status for reply in replies] == [200] * 8
    assert shared_server.get(f"/photo/{photo}").status == 410


# Listing ---------------------------------------------------------------------------------------------


def test_pages_hold_every_photo_once_in_both_directions(shared_server):
    for number in range(5):
        shared_server.upload(picture(200 + number, side=8))

    def walk(order):
        seen, cursor = [], ""
        while cursor is not None:
            page = shared_server.get(f"/photos?limit=3&order={order}{cursor and '&cursor=' + cursor}").json
            seen += [photo["photo_id"] for photo in page["photos"]]
            cursor = page["next_cursor"]
        return seen, page["total"]

    forward, total = walk("asc")
    assert len(forward) == len(set(forward)) == total
    assert walk("desc")[0] == forward[::-1]
    newest = shared_server.get("/photos?order=desc&limit=1").json["photos"][0]
    created = newest["created_at"]
    assert shared_server.get(f"/photos?from={created}").json["total"] >= 1
    assert shared_server.get("/photos?until=1999-01-01").json["total"] == 0
    assert shared_server.get("/photos?media_type=image/gif").json["total"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=nonsense",
        "from=yesterday",
        "status=gone",
        "order=up",
        "sha256=12",
        "sha256=" + "z" * 64,
    ],
)
def test_a_listing_with_bad_parameters_is_refused(shared_server, query):
    reply = shared_server.get(f"/photos?{query}")
    assert (reply.status, reply.code) == (400, "invalid_request")


# Everything else -------------------------------------------------------------------------------------


def test_every_answer_has_a_request_id_and_accepts_one(shared_server, kept):
    for path in ("/health", kept[1]["url"], "/nowhere", "/photo/1", "/photos?limit=0"):
        assert shared_server.get(path, X_Request_ID="mine-1").headers["x-request-id"] == "mine-1"
        own = shared_server.get(path, X_Request_ID="no good\xa7").headers["x-request-id"]
        assert own and own != "no good\xa7"
    assert shared_server.upload(picture(13), X_Request_ID="up.1").headers["x-request-id"] == "up.1"
    refused = shared_server.upload(b"text", X_Request_ID="up.2")
    assert refused.json["request_id"] == refused.headers["x-request-id"] == "up.2"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/photo/1", 405, "method_not_allowed"),
        ("PUT", "/upload", 405, "method_not_allowed"),
        ("GET", "/upload", 405, "method_not_allowed"),
        ("DELETE", "/photos", 405, "method_not_allowed"),
        ("POST", "/photos/known", 400, "invalid_request"),
        ("PUT", "/links/1/2/verdict", 400, "invalid_request"),
    ],
)
def test_wrong_addresses_and_methods(shared_server, method, path, status, code):
    reply = shared_server.request(method, path)
    assert (reply.status, reply.code) == (status, code)


def test_metrics_tell_of_all_workers(shared_server, kept):
    def reads():
        text = shared_server.get("/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith("hayloft_requests_total{")]
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if 'method="GET",route="/photo/{photo_id}"' in line
        )

    # Other workers write their counts down once a second.
    threading.Event().wait(1.5)
    before = reads()
    for _ in range(40):
        shared_server.get(kept[1]["url"])
    threading.Event().wait(1.5)
    assert reads() - before == 40


def test_health_readiness_and_totals(shared_server):
    health = shared_server.get("/health").json
    assert (health["status"], health["service"]) == ("ok", "gateway")
    assert shared_server.get("/ready").json == {"status": "ready"}
    stats = shared_server.get("/stats").json
    assert stats["directory"]["photos"] == shared_server.get("/photos?limit=1").json["total"]
    assert stats["stores"][0]["store_id"] == "local"


def test_openapi_describes_every_route(shared_server):
    described = json.loads(shared_server.get("/openapi.json").body)["paths"]
    for method, path in [
        ("post", "/upload"),
        ("get", "/photo/{photo_id}"),
        ("head", "/photo/{photo_id}/{cookie}"),
        ("delete", "/photo/{photo_id}"),
        ("get", "/photo/{photo_id}/info"),
        ("get", "/photo/{photo_id}/links"),
        ("get", "/photos"),
        ("post", "/photos/known"),
        ("get", "/links"),
        ("put", "/links/{a}/{b}/verdict"),
        ("get", "/similar/{photo_id}"),
        ("post", "/similar"),
        ("get", "/similarity/status"),
        ("get", "/stats"),
        ("get", "/health"),
        ("get", "/ready"),
        ("get", "/metrics"),
    ]:
        assert method in described[path], (method, path)
    assert shared_server.get("/docs").status == 200


def test_the_short_way_of_a_hot_photo_answers_as_the_long_one_does(shared_server):
    kept = shared_server.upload(picture(4711), name="h%C3%B6t.jpg").json
    short = shared_server.get(kept["url"])
    # A request id of the client's own is what the short way leaves to the long one.
    long = shared_server.get(kept["url"], X_Request_ID="mine")
    assert short.status == long.status == 200
    assert short.body == long.body == picture(4711)
    assert long.headers.pop("x-request-id") == "mine"
    assert len(short.headers.pop("x-request-id")) == 20
    for headers in (short.headers, long.headers):
        assert headers.pop("date")
    assert short.headers == long.headers


def test_requests_sent_all_at_once_are_answered_in_order(shared_server):
    first, second = (shared_server.upload(picture(n)).json for n in (4712, 4713))
    paths = [shared_server.path_of(first["url"]), f"/photo/{second['photo_id']}/info"] * 3
    requests = "".join(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n" for path in paths[:-1])
    last = f"GET {paths[-1]} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
    with shared_server.socket() as connection:
        connection.sendall((requests + last).encode())
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert received.count(b"HTTP/1.1 200 OK") == 6
    assert received.count(picture(4712)) == 3
    kinds = [line for line in received.split(b"\r\n") if line.startswith(b"content-type: ")]
    assert kinds == [b"content-type: image/jpeg", b"content-type: application/json"] * 3


def test_linking_says_how_far_it_is_and_what_belongs_together(start_server):
    server = start_server(RENDITIONS__ENABLED="false")
    data = picture(77, side=200)
    first, again = (server.upload(data).json["photo_id"] for _ in range(2))
    deadline = time.monotonic() + 60
    while server.get(f"/photo/{again}/group").status != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    group = {"group": first, "photos": [first, again], "best": first}
    assert server.get(f"/photo/{again}/group").json == group
    assert server.get("/groups").json == {"groups": [group], "next_cursor": None, "total": 1}
    assert server.get("/groups?relation=similar").code == "invalid_request"
    assert server.get("/photo/1/group").code == "photo_not_found"
    assert server.request("POST", "/similarity/rebuild").status == 202
    status = server.get("/similarity/status").json
    assert status["embedder"] == "builtin/1"
    assert status["total_indexed"] == 2


async def test_what_ingest_gave_up_can_be_tried_again(start_server):
    server = start_server(RENDITIONS__ENABLED="false", SIMILARITY__ENABLED="false")
    photo = server.upload(picture(5)).json["photo_id"]
    directory = LocalDirectory.open(f"sqlite:///{server.data / 'directory.sqlite'}")
    (event,) = await directory.events(after=0, limit=1)
    await directory.park("similarity", event, "The decoder died.")
    await directory.close()
    (parked,) = server.get("/events/parked?consumer=similarity").json["parked"]
    assert parked.pop("parked_at")
    told = {"position": 1, "kind": "photo.uploaded", "photo_id": photo, "reason": "The decoder died."}
    assert parked == {**told, "times": 1, "due": False}
    assert server.post_json("/events/parked/retry", {"consumer": "similarity"}).json == {"retried": 1}
    assert server.get("/events/parked").json["parked"][0]["due"]
    assert server.post_json("/events/parked/retry", {"consumer": "deletes"}).json == {"retried": 0}
