"""``put``: what it tells, what its exit code says, and being interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from doubles.gateway import answering


@pytest.fixture
def folder(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02}.png").write_bytes(b"photo %d" % number)
    return tmp_path


def test_the_summary(hayloft, gateway, folder):
    (folder / "notes.txt").write_bytes(gateway.refused)
    (folder / "twin.png").write_bytes(b"photo 0")
    (folder / ".DS_Store").write_bytes(b"hidden")
    gateway.keep(b"photo 5")
    ran = hayloft("put", folder)
    assert ran.code == 1
    assert f"{folder}/notes.txt: This is not a photo." in ran.err
    assert (
        "29 photos uploaded (223 B), 1 already there, 1 with the same bytes as another file, 1 failed, "
        "1 hidden left out." in ran.err
    )


def test_a_few_photos_are_told_with_their_links(hayloft, gateway, folder):
    ran = hayloft("put", folder / "00.png", folder / "01.png")
    links = [
        f"{kept.id}  {kept.name}  {gateway.url}/photo/{kept.id}/{kept.cookie}"
        for kept in gateway.photos.values()
    ]
    assert sorted(ran.out.splitlines()) == sorted(links)
    assert "already there" in hayloft("put", folder / "00.png").out


def test_json_tells_every_file(hayloft, gateway, folder):
    (folder / "notes.txt").write_bytes(gateway.refused)
    told = {document["path"]: document for document in hayloft("put", "--json", folder).json}
    assert len(told) == 31
    assert told[f"{folder}/00.png"]["outcome"] == "uploaded"
    assert told[f"{folder}/notes.txt"]["error"]["code"] == "unsupported_media_type"


def test_again_uploads_what_is_there(hayloft, gateway, folder):
    hayloft("put", folder / "00.png")
    hayloft("put", folder / "00.png", "--again")
    assert len(gateway.photos) == 2


@pytest.mark.parametrize(
    ("status", "code", "exit_code"), [(401, "unauthorized", 5), (507, "storage_full", 7)]
)
def test_what_ends_a_run_is_told_with_what_to_do(hayloft, gateway, folder, status, code, exit_code):
    gateway.faults["/upload"].extend([answering(status, code, "So it is.")] * 30)
    ran = hayloft("put", folder)
    assert ran.code == exit_code
    assert "hayloft: So it is." in ran.err
    assert "run the same command again" in ran.err


def test_no_server(hayloft, folder):
    ran = hayloft("put", folder, "--url", "http://127.0.0.1:9")
    assert ran.code == 3
    assert "hayloft serve" in ran.err
    assert "Traceback" not in ran.err


def test_a_folder_that_is_not_there(hayloft, tmp_path):
    assert hayloft("put", tmp_path / "missing").code == 2


@pytest.mark.parametrize("presses", [1, 2])
def test_interrupted_and_finished_by_running_it_again(gateway, folder, presses):
    gateway.upload_delay_seconds = 0.1 if presses == 1 else 5
    command = [sys.executable, "-m", "hayloft", "put", str(folder), "--url", gateway.url]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not gateway.uploads_in_flight:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    if presses == 2:
        while "press Ctrl-C again" not in running.stderr.readline():
            pass
        running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err
    gateway.upload_delay_seconds = 0
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    kept = [photo.data for photo in gateway.photos.values()]
    assert sorted(set(kept)) == sorted(path.read_bytes() for path in folder.iterdir())
    if presses == 1:
        assert len(kept) == 30


def test_names_that_are_not_text_can_be_told(hayloft, gateway, tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9\x1b[2J.txt")).write_bytes(gateway.refused)
    ran = hayloft("put", tmp_path)
    assert "caf\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[2J.txt: This is not a photo." in ran.err
    (told,) = hayloft("put", "--json", tmp_path).json
    assert told["outcome"] == "failed"
