"""A library that is exported and imported elsewhere is the same library, but for its photos' ids."""

from __future__ import annotations

import io
import json
import time
from datetime import datetime
from pathlib import Path

import pytest
import sklearn
from PIL import Image

from hayloft.cli.application import run
from served import Server, picture

pytestmark = pytest.mark.timeout(300)

KEY = "open sesame"
SAMPLES = Path(sklearn.__file__).parent / "datasets" / "images"
UPLOADED_LONG_AGO = "2019-08-07T06:05:04.003Z"
NAMES = [
    *("flower.jpg", "flower.jpg", "FLOWER.JPG", "small flower.jpg"),
    *("Größe & <Grau>.png", "", "../up.jpg"),
]


@pytest.fixture
def hayloft(tmp_path, capsys, monkeypatch):
    """Runs the program's command line in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAYLOFT_API_KEY", KEY)

    def call(server: Server, *arguments: object, code: int = 0) -> list[dict]:
        monkeypatch.setenv("HAYLOFT_URL", server.url)
        with pytest.raises(SystemExit) as ended:
            run([*(str(argument) for argument in arguments), "--json"])
        printed = capsys.readouterr()
        assert ended.value.code == code, printed
        return [json.loads(line) for line in printed.out.splitlines()]

    return call


def guises() -> list[bytes]:
    """One photo twice, with another name too, and smaller; others beside it."""
    flower = (SAMPLES / "flower.jpg").read_bytes()
    buffer = io.BytesIO()
    small = Image.open(io.BytesIO(flower)).resize((320, 214))
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Hayloft", "Model 1"
    small.save(buffer, "JPEG", exif=exif)
    return [flower, flower, picture(1), buffer.getvalue(), picture(2, kind="PNG"), picture(3), picture(4)]


def fill(server: Server) -> list[int]:
    """Photos uploaded now, and some long ago; one that was deleted."""
    ids = []
    for number, (name, data) in enumerate(zip(NAMES, guises(), strict=True)):
        times = f"&created_at={UPLOADED_LONG_AGO}" if number % 2 else ""
        address = f"/upload?name={quoted(name)}{times}"
        reply = server.request("POST", address, data, content_type="image/jpeg", x_api_key=KEY)
        assert reply.status == 201, reply.body
        ids.append(reply.json["photo_id"])
    gone = server.request("POST", "/upload", picture(5), content_type="image/jpeg", x_api_key=KEY).json
    assert server.request("DELETE", f"/photo/{gone['photo_id']}", x_api_key=KEY).status == 200
    return ids


def quoted(name: str) -> str:
    return "".join(f"%{byte:02x}" for byte in name.encode())


def ingested(server: Server, photos: int) -> None:
    """Wait until everything has been looked at."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status = server.get("/similarity/status", x_api_key=KEY)
        if status.status == 200 and status.json["pending"] == 0:
            told = server.get("/photos", x_api_key=KEY).json["photos"]
            infos = [server.get(f"/photo/{one['photo_id']}/info", x_api_key=KEY).json for one in told]
            if len(told) == photos and all((one.get("details") or {}).get("width") for one in infos):
                return
        time.sleep(0.2)
    raise AssertionError(server.log)


def library(server: Server) -> list[dict]:
    """Everything that is known of the photos but their ids and addresses."""
    known = []
    for one in server.get("/photos?limit=100", x_api_key=KEY).json["photos"]:
        told = server.get(f"/photo/{one['photo_id']}/info", x_api_key=KEY).json
        details = {name: value for name, value in told["details"].items() if name != "renditions"}
        same = ("name", "sha256", "size", "media_type", "width", "height", "created_at", "alt_key")
        known.append({name: told[name] for name in same} | {"details": details})
    return sorted(known, key=lambda told: json.dumps(told, sort_keys=True))


def verdicts(server: Server) -> set[tuple[frozenset, str]]:
    """What people said, about photos named by what they were called and when they were uploaded."""
    said = set()
    for one in server.get("/verdicts", x_api_key=KEY).json["verdicts"]:
        pair = [server.get(f"/photo/{one[side]}/info", x_api_key=KEY).json for side in "ab"]
        said.add((frozenset((told["name"], told["created_at"]) for told in pair), one["verdict"]))
    return said


def test_a_library_goes_round(start_server, hayloft, tmp_path):
    here = start_server("here", API_KEYS=json.dumps([KEY]))
    ids = fill(here)
    ingested(here, len(ids))
    for other, verdict in ((2, "same"), (3, "different")):
        body = json.dumps({"verdict": verdict}).encode()
        address = f"/links/{ids[0]}/{ids[other]}/verdict"
        answer = here.request("PUT", address, body, content_type="application/json", x_api_key=KEY)
        assert answer.status == 200, answer.body
    before, said = library(here), verdicts(here)
    assert len(said) == 2
    hayloft(here, "export", "out")
    hayloft(here, "export", "--check", "out")
    assert here.stop() == 0

    there = start_server("there", API_KEYS=json.dumps([KEY]))
    imported = hayloft(there, "import", tmp_path / "out")
    assert {told["outcome"] for told in imported} == {"uploaded"}
    ingested(there, len(ids))
    assert library(there) == before
    assert verdicts(there) == said
    again = hayloft(there, "import", tmp_path / "out")
    assert {told["outcome"] for told in again} == {"present"}
    assert len(again) == len(ids)
    assert there.stop() == 0

    # The times stand in the volumes too.
    hayloft(there, "rebuild", "--replace", "--data", there.data)
    rebuilt = start_server("there", API_KEYS=json.dumps([KEY]))
    times = [told["created_at"] for told in rebuilt.get("/photos?limit=100", x_api_key=KEY).json["photos"]]
    assert sorted(times) == sorted(told["created_at"] for told in before)


@pytest.mark.parametrize("moment", ["yesterday", "2999-01-01T00:00:00Z", "1969-12-31T23:59:59Z"])
def test_a_time_that_cannot_be_is_refused(shared_server, moment):
    reply = shared_server.request("POST", f"/upload?created_at={moment}", picture(6))
    assert (reply.status, reply.code) == (400, "invalid_request")


def test_a_photo_may_come_from_another_library(shared_server):
    moment = datetime.fromisoformat(UPLOADED_LONG_AGO)
    address = f"/upload?created_at={int(moment.timestamp() * 1000)}"
    reply = shared_server.request("POST", address, picture(7), content_type="image/jpeg")
    assert (reply.status, reply.json["created_at"]) == (201, UPLOADED_LONG_AGO)
