"""The command line and the Python client against a real server, with real photos."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import skimage
import sklearn
from PIL import Image

from hayloft.cli.application import run

PHOTOS = [
    *(
        Path(skimage.__file__).parent / "data" / name
        for name in ("astronaut.png", "coffee.png", "rocket.jpg")
    ),
    *(Path(sklearn.__file__).parent / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")),
]
KEY = "open sesame"
BYTES_MAX = 3_000_000
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server's address and data; it has a key, and a limit that a test can reach."""
    data = tmp_path_factory.mktemp("server") / "data"
    command = [sys.executable, "-m", "hayloft", "serve", "--data", str(data), "-p", "0", "-w", "2"]
    command += ["--upload-bytes-max", str(BYTES_MAX), "--volume-free-space-reserve-bytes", "0"]
    environment = {**os.environ, "HAYLOFT_API_KEYS": json.dumps([KEY])}
    log = (data.parent / "log").open("w")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    try:
        address = re.search(r"http://[\d.]+:\d+", process.stdout.readline() + process.stdout.readline())
        assert address, (data.parent / "log").read_text()
        yield address[0], data
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def hayloft(server, tmp_path, capsys, monkeypatch):
    """Runs the program's command line in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAYLOFT_URL", server[0])

    def call(*arguments, code=0, key=KEY):
        monkeypatch.setenv("HAYLOFT_API_KEY", key)
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert ended.value.code == code, printed
        return printed

    yield call
    ids = [told["photo_id"] for told in lines(call("ls", "--json"))]
    if ids:
        call("rm", "--yes", *ids)


@pytest.fixture
def folder(tmp_path):
    """A folder of real photos, some in a folder below."""
    root = tmp_path / "holiday"
    (root / "below").mkdir(parents=True)
    for number, photo in enumerate(PHOTOS):
        shutil.copy(photo, root / "below" if number % 2 else root)
    return root


def lines(done):
    return [json.loads(line) for line in done.out.splitlines()]


def wait_for_linking(hayloft):
    """Until the ingest process has dealt with every event."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        similarity = lines(hayloft("stats", "--json"))[0]["similarity"]
        if similarity and similarity["pending"] == 0:
            return
        time.sleep(0.3)
    raise AssertionError("linking did not finish")


def noise(folder, count):
    """Many small images, each different from the others."""
    folder.mkdir()
    generator = random.Random(7)
    for number in range(count):
        image = Image.frombytes("RGB", (24, 24), generator.randbytes(24 * 24 * 3))
        image.save(folder / f"{number:03}.png")


def test_a_first_session(hayloft, server, folder, tmp_path):
    (folder / "notes.txt").write_text("Remember the milk.")
    with Image.open(PHOTOS[0]) as astronaut:
        astronaut.convert("RGB").resize((300, 300)).save(folder / "small.jpg", quality=60)
    put = hayloft("put", folder, code=1)
    assert "6 photos uploaded" in put.err
    assert "notes.txt" in put.err
    again = hayloft("put", folder, code=1)
    assert "0 photos uploaded (0 B), 6 already there, 1 failed." in again.err

    listed = {told["name"]: told for told in lines(hayloft("ls", "--json"))}
    assert listed.keys() == {photo.name for photo in PHOTOS} | {"small.jpg"}
    for photo in PHOTOS:
        with Image.open(photo) as image:
            assert (listed[photo.name]["width"], listed[photo.name]["height"]) == image.size
        hayloft("get", listed[photo.name]["photo_id"])
        assert (tmp_path / photo.name).read_bytes() == photo.read_bytes()
    link = listed["rocket.jpg"]["url"]
    hayloft("get", link, "-o", "by-link.jpg", key="")
    assert (tmp_path / "by-link.jpg").read_bytes() == PHOTOS[2].read_bytes()

    wait_for_linking(hayloft)
    astronaut, small = listed["astronaut.png"]["photo_id"], listed["small.jpg"]["photo_id"]
    near = lines(hayloft("similar", small, "--json"))
    assert (near[0]["photo_id"], near[0]["relation"]) == (astronaut, "copy")
    by_file = lines(hayloft("similar", folder / "small.jpg", "-k", 2, "--json"))
    assert {told["photo_id"] for told in by_file} == {astronaut, small}
    (linked,) = lines(hayloft("links", astronaut, "--relation", "copy", "--json"))
    assert {linked["a"], linked["b"]} == {astronaut, small}
    assert re.search(r"astronaut.png · small.jpg|small.jpg · astronaut.png", hayloft("links").out)
    settle(hayloft, astronaut, small, coffee=listed["coffee.png"]["photo_id"])
    assert "6 (" in hayloft("stats").out

    hayloft("get", astronaut, "--size", "thumb", "-o", "thumb")
    with Image.open(tmp_path / "thumb") as thumb:
        assert thumb.size == (256, 256)
    assert "thumb 256×256" in hayloft("info", astronaut).out

    hayloft("rm", "--yes", astronaut)
    assert "hayloft ls" in hayloft("get", small + 10**6, code=4).err
    hayloft("get", astronaut, code=4)
    assert "was deleted" in hayloft("verdict", small, astronaut, "same", code=4).err
    hayloft("rm", "--yes", astronaut)
    assert "1 photo uploaded" in hayloft("put", folder / "astronaut.png").err
    assert "everything is whole" in hayloft("verify", "--data", server[1]).err
    assert "Stop that server" in hayloft("verify", "--repair", "--data", server[1], code=8).err


def settle(hayloft, astronaut, small, *, coffee):
    """People's word on which photos are the same, and back."""
    (group,) = lines(hayloft("groups", "--json"))
    assert group == {
        "group": min(astronaut, small),
        "photos": sorted([astronaut, small]),
        "best": astronaut,
    }
    assert lines(hayloft("groups", small, "--json")) == [group]
    assert re.search(rf"^ *{astronaut}   astronaut.png        2   {small} *$", hayloft("groups").out, re.M)

    (link,) = lines(hayloft("verdict", small, coffee, "same", "--json"))
    assert {link["a"], link["b"]} == {small, coffee}
    assert lines(hayloft("groups", coffee, "--json"))[0]["photos"] == sorted([astronaut, small, coffee])
    assert lines(hayloft("verdict", small, coffee, "none", "--json")) == [None]
    assert "copy (different)" in hayloft("verdict", astronaut, small, "different").out
    assert "No two photos are the same." in hayloft("groups").err
    assert "Nothing links" in hayloft("verdict", astronaut, coffee, "different").err
    for other in (small, coffee):
        hayloft("verdict", astronaut, other, "none")
    assert lines(hayloft("groups", "--json")) == [group]

    assert "two different photos" in hayloft("verdict", small, small, "same", code=6).err
    hayloft("verdict", small, small + 10**6, "same", code=4)
    hayloft("groups", small + 10**6, code=4)
    hayloft("groups", "--relation", "similar", code=6)


def settled(hayloft):
    """How many photos there are, once the server has finished what a client left behind."""
    before, now = -1, 0
    while now != before:
        before, now = now, len(lines(hayloft("ls", "--json")))
    return now


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_an_upload_that_was_cut_off_is_finished_by_running_it_again(hayloft, server, tmp_path, ending):
    noise(tmp_path / "many", 150)
    command = [sys.executable, "-m", "hayloft", "put", "--json", str(tmp_path / "many"), "--url", server[0]]
    running = subprocess.Popen(
        [*command, "--api-key", KEY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    first = [running.stdout.readline() for _ in range(20)]
    running.send_signal(ending)
    # Not communicate(), which passes over what readline() has read ahead.
    rest, err = running.stdout.read(), running.stderr.read()
    assert running.wait(60) == (130 if ending is signal.SIGINT else -signal.SIGKILL)
    sent = len(first) + len(rest.splitlines())
    assert sent < 150
    there = settled(hayloft)
    if ending is signal.SIGINT:
        assert "run the same command again" in err
        assert there == sent
    done = hayloft("put", tmp_path / "many")
    assert f"{there:,} already there" in done.err
    assert f"{150 - there} photos uploaded" in done.err
    listed = lines(hayloft("ls", "--json"))
    assert len(listed) == len({told["sha256"] for told in listed}) == 150


def test_what_is_refused_is_told_and_stops_nothing(hayloft, folder):
    whole = PHOTOS[3].read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "large.jpg").write_bytes(whole + bytes(20_000_000))
    (folder / "text.jpg").write_text("not a photo")
    (folder / "locked").symlink_to("nowhere")
    told = {Path(one["path"]).name: one for one in lines(hayloft("put", "--json", folder, code=1))}
    codes = {name: one["error"]["code"] for name, one in told.items() if one["outcome"] == "failed"}
    assert codes == {
        "truncated.jpg": "photo_truncated",
        "empty.jpg": "empty_upload",
        "large.jpg": "upload_too_large",
        "text.jpg": "unsupported_media_type",
        "locked": "unreadable",
    }
    assert len(lines(hayloft("ls", "--json"))) == 5


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a b & c#?%41.jpg", "a b & c#?%41.jpg"),
        ("日本 “é”.jpg", "日本 “é”.jpg"),
        ('quo"te.jpg', 'quo"te.jpg'),
        (os.fsdecode(b"caf\xe9.jpg"), "caf\N{REPLACEMENT CHARACTER}.jpg"),
        ("new\nline.jpg", "newline.jpg"),
    ],
)
def test_odd_names_go_there_and_back(hayloft, tmp_path, given, kept):
    (tmp_path / given).write_bytes(PHOTOS[4].read_bytes())
    hayloft("put", tmp_path / given)
    (told,) = lines(hayloft("ls", "--json"))
    assert told["name"] == kept
    (tmp_path / "out").mkdir()
    hayloft("get", told["photo_id"], "-o", "out")
    assert os.listdir(tmp_path / "out") == [kept]


def test_verify_finds_a_byte_that_was_changed(start_server, capsys, monkeypatch):
    server = start_server()
    monkeypatch.setenv("HAYLOFT_URL", server.url)
    with pytest.raises(SystemExit):
        run(["put", "--json", str(PHOTOS[3]), str(PHOTOS[4])])
    photos = [told["photo_id"] for told in lines(capsys.readouterr())]
    server.stop()
    (log,) = server.data.glob("volumes/lv-*.log")
    original = PHOTOS[3].read_bytes()
    at = log.read_bytes().index(original)
    with log.open("r+b") as file:
        file.seek(at + 1000)
        file.write(bytes([original[1000] ^ 1]))
    for options in ([], ["--repair"]):
        with pytest.raises(SystemExit) as ended:
            run(["verify", "--data", str(server.data), "--json", *options])
        assert ended.value.code == 1
        (told,) = lines(capsys.readouterr())
        assert not told["sound"]
        ((found,), checked) = (told["findings"], told["photos"])
        assert (found["fault"], checked, found["photo_id"] in photos) == ("damaged", 2, True)


def test_verify_of_nothing(hayloft, tmp_path):
    assert "holds no Hayloft data" in hayloft("verify", "--data", tmp_path, code=9).err


def test_keys(hayloft, folder):
    assert "HAYLOFT_API_KEY" in hayloft("ls", code=5, key="wrong").err
    assert "HAYLOFT_API_KEY" in hayloft("put", folder, code=5, key="wrong").err
    assert "server" in hayloft("version", key="wrong").out


def test_doctor_finds_nothing_wrong(hayloft, server):
    shown = hayloft("doctor", "--data", server[1]).out
    assert "in use by a server" in shown
    assert "✗" not in shown


def test_the_examples_of_the_python_page(hayloft, server, folder, tmp_path, monkeypatch):
    shutil.copy(PHOTOS[0], folder / "astronaut.jpg")
    for photo in PHOTOS:
        shutil.copy(photo, folder)
    page = (DOCS / "PYTHON.md").read_text()
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    assert program.count('"http://127.0.0.1:8080"') == 2
    program = program.replace('"http://127.0.0.1:8080"', f'"{server[0]}", api_key="{KEY}"')
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "docs/PYTHON.md", "exec"), {"__name__": "page"})
    assert "it was deleted" in printed.getvalue()
    assert "photos in all" in printed.getvalue()
