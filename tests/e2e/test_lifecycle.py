"""A server's life: start, stop, stop under way, one at a time, never on data it does not understand."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time

import pytest

from served import picture


def begin_upload(server, data):
    """A connection that has sent the first half of an upload, and the rest of it."""
    connection = server.socket()
    head = (
        f"POST /upload HTTP/1.1\r\nHost: {server.address[0]}\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    ).encode()
    connection.sendall(head + data[: len(data) // 2])
    time.sleep(0.3)  # so that the server has begun to read it
    return connection, data[len(data) // 2 :]


def read_answer(connection):
    received = b""
    while piece := connection.recv(65536):
        received += piece
        if b"\r\n\r\n" in received:
            head, _, body = received.partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(body) >= length:
                return int(head.split()[1]), body[:length]
    raise AssertionError(f"the connection ended early: {received!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_uploads_in_flight_finish(start_server, number):
    server = start_server(workers=2)
    children = server.children()
    assert set(children) == {"worker", "ingest"}
    idle = server.socket()  # an idle connection must not hold the server up
    idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle.recv(12) == b"HTTP/1.1 200"
    data = picture(1)
    connection, rest = begin_upload(server, data)
    server.signal(number)
    time.sleep(0.5)
    connection.sendall(rest)
    status, body = read_answer(connection)
    assert status == 201, body
    assert server.wait() == 0, server.log
    for process in children.values():
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    again = start_server()
    assert again.get(f"/photo/{json.loads(body)['photo_id']}").body == data


def test_all_of_ingest_gives_way_to_the_workers(start_server):
    """Niceness belongs to a thread, and libraries start threads before anything else is done."""
    server = start_server()
    children = server.children()
    worker, ingest = (niceness_of_threads(children[name]) for name in ("worker", "ingest"))
    assert min(ingest) > max(worker), (ingest, worker)


def niceness_of_threads(process):
    threads = os.listdir(f"/proc/{process}/task")
    return [os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in threads]


def test_a_second_server_on_the_same_data_is_refused_with_a_clear_message(start_server):
    first = start_server()
    second = start_server("data", wait=False)
    second.log_path = first.log_path  # the same path: written anew by the second
    assert second.wait() != 0
    assert "is using" in second.log
    assert str(first.process.pid) in second.log
    assert first.get("/health").status == 200


def test_a_port_that_is_taken_is_refused_with_a_clear_message(start_server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = start_server(port=taken.getsockname()[1], wait=False)
        assert server.wait() != 0
        assert "Cannot listen on" in server.log


def test_a_second_server_does_not_share_the_port_of_the_first(start_server):
    first = start_server()
    second = start_server("other", port=first.address[1], wait=False)
    assert second.wait() != 0
    assert "Cannot listen on" in second.log


def test_data_from_a_newer_hayloft_is_refused_and_left_alone(start_server):
    server = start_server()
    assert server.stop() == 0
    marker = server.data / "format.json"
    marker.write_text(json.dumps({"format": 99, "hayloft": "9.9.9"}))
    before = sorted((path, path.stat().st_mtime_ns) for path in server.data.rglob("*") if path.is_file())
    newer = start_server(wait=False)
    assert newer.wait() != 0
    assert "9.9.9" in newer.log
    assert "format 99" in newer.log
    after = sorted((path, path.stat().st_mtime_ns) for path in server.data.rglob("*") if path.is_file())
    assert [entry for entry in after if entry[0].name != "lock"] == [
        entry for entry in before if entry[0].name != "lock"
    ]


def test_a_folder_with_other_things_in_it_is_not_taken_over(start_server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "holiday.jpg").write_bytes(b"mine")
    server = start_server(wait=False)
    assert server.wait() != 0
    assert "holds other things" in server.log
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["holiday.jpg"]


def test_what_was_kept_is_there_after_a_restart(start_server):
    server = start_server()
    kept = server.upload(picture(2), name="two.jpg").json
    etag = server.get(kept["url"]).headers["etag"]
    assert server.stop() == 0
    again = start_server()
    reply = again.get(f"/photo/{kept['photo_id']}/{kept['cookie']}")
    assert (reply.status, reply.body, reply.headers["etag"]) == (200, picture(2), etag)
    assert 'filename="two.jpg"' in reply.headers["content-disposition"]


@pytest.mark.parametrize("child", ["worker", "ingest"])
def test_a_child_that_dies_is_started_again(start_server, child):
    server = start_server()
    kept = server.upload(picture(3)).json
    process = server.children()[child]
    os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while server.children().get(child, process) == process:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.05)
    while True:
        try:
            assert server.get(f"/photo/{kept['photo_id']}").body == picture(3)
            assert server.upload(picture(4)).status == 201
            break
        except OSError:
            assert time.monotonic() < deadline, server.log
            time.sleep(0.05)
    assert server.stop() == 0


def test_children_stop_when_the_supervisor_is_killed(start_server):
    server = start_server()
    children = server.children()
    os.kill(server.process.pid, signal.SIGKILL)
    server.wait()
    deadline = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{process}") for process in children.values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert start_server().get("/health").status == 200


def test_a_second_signal_ends_it_at_once(start_server):
    server = start_server()
    connection, _rest = begin_upload(server, picture(5))
    with connection:
        server.signal(signal.SIGINT)
        time.sleep(0.3)
        assert server.process.poll() is None, "it must wait for the upload in flight"
        server.signal(signal.SIGINT)
        server.wait(20)


def test_requests_that_come_while_stopping_lose_nothing_that_was_answered(start_server):
    server = start_server(workers=2)
    kept = []
    stopped = threading.Event()

    def upload(thread):
        number = 0
        while not stopped.is_set():
            data = picture(1000 * thread + number, side=16)
            try:
                reply = server.upload(data)
            except OSError:
                return
            if reply.status == 201:
                kept.append((reply.json["photo_id"], data))
            number += 1

    threads = [threading.Thread(target=upload, args=(thread,)) for thread in range(1, 5)]
    for thread in threads:
        thread.start()
    while len(kept) < 20:
        time.sleep(0.01)
    assert server.stop() == 0
    stopped.set()
    for thread in threads:
        thread.join()
    again = start_server()
    for photo, data in kept:
        assert again.get(f"/photo/{photo}").body == data
