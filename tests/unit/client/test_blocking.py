"""``Client`` is ``AsyncClient`` without an event loop: the same methods, with the same options."""

from __future__ import annotations

import inspect
import io
import subprocess
import sys
import threading

import numpy
import pytest
from PIL import Image

from doubles.gateway import threaded_gateway
from hayloft import AsyncClient, Client, errors


@pytest.fixture
def gateway():
    with threaded_gateway() as double:
        yield double


@pytest.fixture
def client(gateway):
    with Client(gateway.url) as client:
        yield client


def test_both_clients_have_the_same_methods_with_the_same_options():
    for name, method in inspect.getmembers(AsyncClient, inspect.isfunction):
        if not name.startswith("_"):
            facade = inspect.signature(getattr(Client, name))
            assert facade.parameters == inspect.signature(method).parameters, name
    assert inspect.signature(Client).parameters == inspect.signature(AsyncClient).parameters


def test_a_days_work(client, gateway, tmp_path):
    (tmp_path / "a.png").write_bytes(b"a")
    photo = client.put(tmp_path / "a.png")
    assert [result.photo for result in client.put_folder(tmp_path)] == [photo.id]
    assert client.get(photo) == b"a"
    assert client.info(photo.id).name == "a.png"
    assert [found.id for found in client.photos()] == [photo.id]
    assert client.photos_page(limit=1).total == 1
    assert client.known([photo.sha256]) == {photo.sha256: photo.id}
    other = client.put(b"b")
    link = client.set_verdict(photo, other, "same")
    assert client.links(photo) == (link,) == tuple(client.all_links()) == client.links_page().items
    assert link.verdict == "same"
    group = client.group(other)
    assert (group.group, group.photos, group.best) == (photo.id, (photo.id, other.id), other.id)
    assert (group,) == tuple(client.groups()) == client.groups_page().items
    assert client.stats().directory.photos == 2
    assert client.health().status == "ok"
    assert client.delete(photo).photo == photo.id
    with pytest.raises(errors.PhotoDeleted):
        client.get(photo)


def test_listings_go_on_over_pages_and_can_be_left(client, gateway):
    for number in range(25):
        gateway.keep(b"%d" % number)
    assert [photo.id for photo in client.photos(page_size=10)] == list(gateway.photos)
    assert [photo.id for photo in client.photos(page_size=10, newest_first=True)] == [*gateway.photos][::-1]
    requests = len(gateway.requests)
    for _ in client.photos(page_size=10):
        break
    assert len(gateway.requests) == requests + 1


def test_groups_go_on_over_pages(client, gateway):
    photos = [gateway.keep(b"%d" % (number // 2)).id for number in range(10)]
    pairs = [tuple(photos[start : start + 2]) for start in range(0, 10, 2)]
    gateway.verdicts = dict.fromkeys(pairs[:3])
    assert [group.photos for group in client.groups(page_size=2)] == pairs[:3]
    first = client.groups_page(limit=2)
    assert ([group.photos for group in first.items], first.total) == (pairs[:2], 3)
    last = client.groups_page(limit=2, cursor=first.next_cursor)
    assert ([group.photos for group in last.items], last.next_cursor) == (pairs[2:3], None)
    assert [group.photos for group in client.groups(relation="duplicate", page_size=2)] == pairs
    assert client.group(photos[9]).photos == (photos[9],)


def test_groups_that_there_are_not(client, gateway):
    assert (list(client.groups()), client.groups_page().total) == ([], 0)
    with pytest.raises(errors.InvalidRequest, match="none of: duplicate, copy, similar"):
        client.groups_page(relation="twin")
    with pytest.raises(errors.InvalidRequest):
        list(client.groups(relation="similar"))
    with pytest.raises(errors.PhotoNotFound):
        client.group(5)


def test_an_imaging_library_opens_a_stored_photo(client, gateway):
    pixels = numpy.random.default_rng(1).integers(0, 255, (300, 400, 3), dtype=numpy.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    kept = gateway.keep(buffer.getvalue())
    with client.open(kept.id) as file, Image.open(file) as image:
        assert (numpy.asarray(image) == pixels).all()


def test_files_seek_like_files(client, gateway):
    kept = gateway.keep(bytes(range(256)))
    with client.open(kept.id) as file:
        assert file.seek(-6, io.SEEK_END) == 250
        assert file.read() == bytes(range(250, 256))
        assert file.seek(10) == file.tell() == 10
        assert file.read(2) == bytes([10, 11])
        file.seek(-2, io.SEEK_CUR)
        buffer = bytearray(4)
        assert file.readinto(buffer) == 4
        assert buffer == bytes([10, 11, 12, 13])
        with pytest.raises(ValueError, match="before the photo's start"):
            file.seek(-1)
    assert file.closed


def test_many_threads_may_use_one_client(client, gateway):
    threads = [threading.Thread(target=client.put, args=(b"%d" % number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(gateway.photos) == 16


def test_a_client_that_is_never_closed_lets_the_program_end(gateway):
    program = f"from hayloft import Client; print(Client({gateway.url!r}).health().status)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_importing_hayloft_imports_no_client():
    look = "print('aiohttp' in sys.modules)"
    program = f"import sys, hayloft; {look}; hayloft.Client; {look}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "False\nTrue\n"
