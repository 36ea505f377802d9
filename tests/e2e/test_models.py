"""Another model while the server runs: the old one answers until the new one has seen every photo."""

from __future__ import annotations

import json
import time

import pytest

from hayloft.cli.application import run
from model_samples import COLOURS, picture_of, save_colours

SECONDS_MAX = 90.0


@pytest.fixture
def hayloft(capsys):
    """Runs the command line in this process; returns what it prints."""

    def call(*arguments, code=0):
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert code is None or ended.value.code == code, printed
        return printed.out + printed.err

    return call


def wait_until(condition):
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come about in time")


def test_a_model_is_added_taken_up_and_searched_by_words(start_server, hayloft, tmp_path):
    server = start_server(RENDITIONS__ENABLED="false")
    photos = {name: server.upload(picture_of(name)).json["photo_id"] for name in COLOURS}
    url = server.url

    def status():
        return json.loads(hayloft("similarity", "status", "--json", "--url", url))

    wait_until(lambda: status()["embedded"] == len(photos))
    assert status()["embedder"] == "builtin/1"
    health = server.get("/health").json
    assert (health["embedder"], "hayloft models add" in health["embedder_hint"]) == ("builtin/1", True)
    assert server.get("/search?q=red").code == "search_not_configured"
    assert "knows no words" in hayloft("search", "red", "--url", url, code=6)
    assert "hayloft models add" in hayloft("doctor", "--url", url, "--data", server.data, code=None)

    hayloft("models", "use", "colours", "--data", server.data, code=4)
    hayloft("models", "add", save_colours(tmp_path / "colours.onnx"), "--data", server.data)
    hayloft("models", "use", "colours", "--data", server.data)
    asked = next(iter(photos.values()))

    def taken_up():
        assert server.get(f"/similar/{asked}?k=9").status == 200  # meanwhile and afterwards
        told = status()
        return told["embedder"].startswith("onnx/colours/") and told["embedded"] == len(photos)

    wait_until(taken_up)
    wait_until(lambda: status()["rebuilding"] is None)

    for name, photo in photos.items():
        assert server.get(f"/search?q={name}&k=2").json["photos"][0]["photo_id"] == photo
    assert str(photos["green"]) in hayloft("search", "all", "green", "--url", url).splitlines()[3]
    near = server.get(f"/similar/{asked}?k=9&relation=similar").json["similar"]
    assert {one["method"].rpartition("/")[0] for one in near} <= {"onnx/colours"}

    assert "colours" in hayloft("models", "list", "--data", server.data)
    assert server.stop() == 0
    server.start()
    wait_until(lambda: server.get("/search?q=blue").status == 200)
    wait = json.loads(hayloft("similarity", "rebuild", "--json", "--url", server.url))
    assert (wait["rebuilding"], wait["embedded"]) == (None, len(photos))
    assert server.get("/search?q=blue").json["photos"][0]["photo_id"] == photos["blue"]
