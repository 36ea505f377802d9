"""A lost directory comes back from the volumes, and deleted photos' space comes back to the disk."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time

import pytest

from hayloft.assembly.compact import compact
from hayloft.assembly.data_directory import DataDirectory
from hayloft.assembly.rebuild import rebuild
from hayloft.assembly.verify import Fault, verify
from hayloft.cli.application import run
from hayloft.config import Settings
from hayloft.errors import AlreadyServed, Conflict, NotFound
from served import picture


@pytest.fixture
def hayloft(capsys):
    """Runs the command line in this process; returns the JSON that it prints."""

    def call(*arguments, code=0):
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in (*arguments, "--json")])
        printed = capsys.readouterr()
        assert ended.value.code == code, printed
        return json.loads(printed.out) if printed.out else printed.err

    return call


def settings(server):
    return Settings(data=server.data, volume={"free_space_reserve_bytes": 0})


def lose_directory(data):
    for file in data.glob("directory.sqlite*"):
        file.unlink()


QUIET = {"SIMILARITY__ENABLED": "false", "RENDITIONS__ENABLED": "false"}


def test_a_lost_directory_comes_back_as_it_was(start_server, hayloft):
    server = start_server(**QUIET)
    kept = [server.upload(picture(number), name=f"{number}.jpg").json for number in range(6)]
    again = server.upload(picture(2), name="again.jpg").json
    assert server.delete(f"/photo/{kept[4]['photo_id']}").status == 200
    assert server.stop() == 0
    lose_directory(server.data)

    # A server must not begin with an empty library over full volumes.
    server.spawn()
    assert server.wait() != 0
    assert "hayloft rebuild" in server.log
    assert not (server.data / "directory.sqlite").exists()

    told = hayloft("rebuild", "--data", server.data)
    assert (told["photos"], told["deleted"], told["damaged_stretches"], told["kept"]) == (6, 1, 0, None)
    assert asyncio.run(verify(settings(server))).findings == []
    assert not list(server.data.glob("directory.rebuilding*"))

    server.start()
    listed = {photo["photo_id"]: photo for photo in server.get("/photos").json["photos"]}
    alive = [photo for photo in (*kept, again) if photo is not kept[4]]
    assert set(listed) == {photo["photo_id"] for photo in alive}
    for photo in alive:
        found = listed[photo["photo_id"]]
        same = {"cookie", "size", "sha256", "name", "width", "height", "media_type", "created_at"}
        assert {key: found[key] for key in same} == {key: photo[key] for key in same}
        assert server.get(found["url"]).status == 200
    assert server.get(f"/photo/{kept[4]['photo_id']}").status == 410
    fresh = server.upload(picture(2), name="third.jpg").json
    assert fresh["duplicate_of"] == kept[2]["photo_id"]
    assert fresh["photo_id"] not in {photo["photo_id"] for photo in (*kept, again)}
    assert server.stop() == 0


def test_a_directory_that_is_there_is_replaced_only_when_told_to_and_kept(start_server, hayloft):
    server = start_server(**QUIET)
    photo = server.upload(picture(1)).json
    with pytest.raises(AlreadyServed):
        asyncio.run(rebuild(server.data, replace=True))
    assert server.stop() == 0
    assert "--replace" in hayloft("rebuild", "--data", server.data, code=6)
    with pytest.raises(Conflict):
        asyncio.run(rebuild(server.data))
    seen = []
    outcome = asyncio.run(
        rebuild(server.data, replace=True, progress=lambda *progress: seen.append(progress))
    )
    assert outcome.kept is not None
    with sqlite3.connect(outcome.kept) as old:
        assert old.execute("SELECT count(*) FROM photos").fetchone() == (1,)
    assert seen[-1][0] == seen[-1][1] > 0
    server.start()
    assert server.get(f"/photo/{photo['photo_id']}").body == picture(1)


def test_deletions_survive_compaction_and_a_lost_directory(start_server, hayloft):
    server = start_server(**QUIET)
    photos = [server.upload(picture(number, side=200)).json for number in range(5)]
    for photo in photos[:3]:
        server.delete(f"/photo/{photo['photo_id']}")
    told = hayloft("compact", "--data", server.data, "--waste", 50)  # beside the running server
    assert (told["volumes"], len(told["compacted"]), told["failed"]) == (1, 1, [])
    assert told["reclaimed_bytes"] > sum(photo["size"] for photo in photos[:3])
    for number, photo in enumerate(photos):
        reply = server.get(f"/photo/{photo['photo_id']}")
        assert (reply.status, reply.body == picture(number, side=200)) == ((410, False), (200, True))[
            number > 2
        ]
    later = server.upload(picture(9)).json
    assert server.stop() == 0

    lose_directory(server.data)
    outcome = asyncio.run(rebuild(server.data))
    assert (outcome.photos, outcome.deleted) == (3, 3)
    assert asyncio.run(verify(settings(server))).findings == []
    server.start()
    assert server.get(f"/photo/{photos[0]['photo_id']}").status == 410
    assert server.get(f"/photo/{later['photo_id']}").status == 200


def test_little_waste_is_left_alone(start_server):
    server = start_server(**QUIET)
    photos = [server.upload(picture(number)).json for number in range(10)]
    server.delete(f"/photo/{photos[0]['photo_id']}")
    assert asyncio.run(compact(settings(server))).reports == ()
    (report,) = asyncio.run(compact(settings(server), waste_percent_min=5)).reports
    assert report.needles == 9


def test_there_must_be_data(tmp_path, hayloft):
    with pytest.raises(NotFound):
        asyncio.run(rebuild(tmp_path))
    with pytest.raises(NotFound):
        asyncio.run(compact(Settings(data=tmp_path)))
    for command in ("rebuild", "compact"):
        assert "no Hayloft data" in hayloft(command, "--data", tmp_path, code=9)


def test_what_is_damaged_is_told(start_server):
    server = start_server(**QUIET)
    for number in range(3):
        server.upload(picture(number))
    assert server.stop() == 0
    (log,) = DataDirectory(server.data).volumes.glob("lv-*.log")
    content = bytearray(log.read_bytes())
    content[content.index(picture(1)[100:150])] ^= 1
    log.write_bytes(content)
    lose_directory(server.data)
    outcome = asyncio.run(rebuild(server.data))
    assert (outcome.photos, outcome.damaged_stretches) == (2, 1)


def test_a_copy_taken_while_photos_come_in_is_a_backup(start_server, tmp_path):
    """As docs/OPERATIONS.md says: first the databases, then the logs, no index."""
    server = start_server(**QUIET)
    photos = [server.upload(picture(number)).json for number in range(5)]
    copy = tmp_path / "copy"
    (copy / "volumes").mkdir(parents=True)
    for name in ("format.json", "secret"):
        shutil.copy(server.data / name, copy)
    with sqlite3.connect(server.data / "directory.sqlite") as source:
        source.execute("VACUUM INTO ?", [str(copy / "directory.sqlite")])
    later = server.upload(picture(8)).json
    for log in (server.data / "volumes").glob("*.log"):
        shutil.copy(log, copy / "volumes")
    found = asyncio.run(verify(Settings(data=copy, volume={"free_space_reserve_bytes": 0})))
    assert found.photos == 5
    assert found.sound
    assert {finding.fault for finding in found.findings} <= {Fault.ORPHAN}  # the later upload
    restored = start_server("copy", **QUIET)
    for photo in photos:
        assert restored.get(f"/photo/{photo['photo_id']}").status == 200
    assert restored.get(f"/photo/{later['photo_id']}").status in (200, 404)
    fresh = [restored.upload(picture(20 + number)).json["photo_id"] for number in range(20)]
    assert len(set(fresh)) == 20


def test_lost_links_are_found_again(start_server):
    server = start_server(RENDITIONS__ENABLED="false")
    photos = [server.upload(picture(7)).json["photo_id"] for _ in range(2)]
    wait_for_links(server, photos[0])
    assert server.stop() == 0
    for file in server.data.glob("similarity.sqlite*"):
        file.unlink()
    server.start()
    (link,) = wait_for_links(server, photos[0])
    assert (link["photo_id"], link["relation"]) == (photos[1], "duplicate")


def wait_for_links(server, photo):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if links := server.get(f"/photo/{photo}/links").json.get("links"):
            return links
        time.sleep(0.1)
    raise AssertionError("no links were found")
