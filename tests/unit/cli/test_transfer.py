"""``export`` and ``import``: out and back in, byte for byte, whatever happens in between."""

from __future__ import annotations

import json
import os

import pytest

from doubles.gateway import answering, threaded_gateway

NAMES = ["a.png", "A.PNG", "a.png", "../up.png", "", "日本.png", "a.png"]


@pytest.fixture
def photos(gateway):
    return [gateway.keep(b"photo %d" % (number % 5), name) for number, name in enumerate(NAMES)]


def entries(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".jsonl"}


def test_every_photo_becomes_a_file_of_its_own(hayloft, gateway, photos, tmp_path):
    ran = hayloft("export", tmp_path / "out")
    assert (ran.code, ran.out) == (0, "")
    told = {entry["photo_id"]: entry for entry in entries(tmp_path / "out")}
    assert told.keys() == {photo.id for photo in photos}
    for photo in photos:
        entry = told[photo.id]
        assert (tmp_path / "out" / entry["file"]).read_bytes() == photo.data
        assert (entry["name"], entry["sha256"]) == (photo.name, photo.sha256)
    assert len({entry["file"].casefold() for entry in told.values()}) == len(photos)


def test_running_it_again_writes_what_is_missing(hayloft, gateway, photos, tmp_path):
    hayloft("export", tmp_path)
    before = contents(tmp_path)
    (tmp_path / entries(tmp_path)[0]["file"]).unlink()
    gateway.keep(b"new", "new.png")
    ran = hayloft("export", tmp_path)
    assert "2 photos written (10 B), 6 already there" in ran.err
    assert contents(tmp_path) == {**before, "new.png": b"new"}
    damaged = tmp_path / entries(tmp_path)[1]["file"]
    damaged.write_bytes(b"damaged")
    hayloft("export", tmp_path)
    assert damaged.read_bytes() == b"damaged"
    hayloft("export", tmp_path, "--check")
    assert contents(tmp_path) == {**before, "new.png": b"new"}
    assert len(entries(tmp_path)) == 8


def test_a_line_that_was_torn_off_is_written_again(hayloft, photos, tmp_path):
    hayloft("export", tmp_path)
    manifest = tmp_path / "manifest.jsonl"
    os.truncate(manifest, manifest.stat().st_size - 20)
    assert "1 photo written" in hayloft("export", tmp_path).err
    assert len(entries(tmp_path)) == len(photos)


def test_what_arrives_damaged_is_not_kept(hayloft, gateway, photos, tmp_path):
    async def damage(double, request):
        answer = await double._get(request)
        answer.body = b"x" * len(answer.body)
        return answer

    gateway.faults[f"/photo/{photos[0].id}"].append(damage)
    gateway.faults[f"/photo/{photos[1].id}"].append(answering(500, "needle_corrupt", "Damaged."))
    ran = hayloft("export", tmp_path)
    assert ran.code == 1
    assert "2 failed" in ran.err
    assert {entry["photo_id"] for entry in entries(tmp_path)} == {photo.id for photo in photos[2:]}
    assert len(contents(tmp_path)) == 5
    assert hayloft("export", tmp_path).code == 0
    assert len(contents(tmp_path)) == 7


def test_a_folder_with_something_else_in_it_is_left_alone(hayloft, photos, tmp_path):
    (tmp_path / "a.png").write_bytes(b"mine")
    assert hayloft("export", tmp_path).code == 9
    assert contents(tmp_path) == {"a.png": b"mine"}


def test_a_file_that_came_later_is_not_overwritten(hayloft, gateway, photos, tmp_path):
    hayloft("export", tmp_path)
    (tmp_path / "new.png").write_bytes(b"mine")
    new = gateway.keep(b"new", "new.png")
    hayloft("export", tmp_path)
    assert (tmp_path / "new.png").read_bytes() == b"mine"
    assert (tmp_path / f"new-{new.id}.png").read_bytes() == b"new"


def test_a_file_of_a_run_that_was_killed_is_taken_over(hayloft, gateway, photos, tmp_path):
    hayloft("export", tmp_path)
    (tmp_path / "new.png").write_bytes(b"new")
    gateway.keep(b"new", "new.png")
    hayloft("export", tmp_path)
    assert len(contents(tmp_path)) == 8
    assert entries(tmp_path)[-1]["file"] == "new.png"


def test_a_library_goes_round(hayloft, gateway, photos, tmp_path, monkeypatch):
    gateway.verdicts = {(photos[0].id, photos[1].id): "same", (photos[1].id, photos[2].id): "different"}
    hayloft("export", tmp_path)
    with threaded_gateway() as other:
        other.keep(b"something that was there", "there.png")
        monkeypatch.setenv("HAYLOFT_URL", other.url)
        assert hayloft("import", tmp_path).code == 0
        there = sorted((kept.name, kept.data) for kept in list(other.photos.values())[1:])
        assert there == sorted((photo.name, photo.data) for photo in photos)
        said = {
            (other.photos[a].data, other.photos[b].data, verdict)
            for (a, b), verdict in other.verdicts.items()
        }
        assert said == {(b"photo 0", b"photo 1", "same"), (b"photo 1", b"photo 2", "different")}
        again = hayloft("import", tmp_path, "--json")
        assert {told["outcome"] for told in again.json} == {"present"}
        assert len(other.photos) == 8


def test_a_file_that_changed_since_the_export_is_not_imported(hayloft, gateway, photos, tmp_path):
    hayloft("export", tmp_path)
    gateway.photos.clear()
    (tmp_path / "a.png").write_bytes(b"changed")
    ran = hayloft("import", tmp_path)
    assert ran.code == 1
    assert "its SHA-256 is another one" in ran.err
    assert len(gateway.photos) == 6


def test_what_is_no_export(hayloft, gateway, tmp_path):
    assert hayloft("import", tmp_path).code == 9
    (tmp_path / "manifest.jsonl").write_text('{"photo_id": 1}\n')
    assert "Line 1 of" in hayloft("import", tmp_path).err
    hostile = {"photo_id": 1, "file": "../../etc/passwd", "name": "", "size": 1, "sha256": ""}
    hostile |= {"media_type": "", "width": 1, "height": 1, "created_at": ""}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(hostile) + "\n")
    assert hayloft("import", tmp_path).code == 9
    assert gateway.photos == {}
