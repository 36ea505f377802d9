"""Uploading folders: everything that can lie in one, and every way in which a run can end early."""

from __future__ import annotations

import asyncio
import os

import pytest

from doubles.gateway import answering, hang_up, lose_the_answer, overloaded
from hayloft import AsyncClient, errors
from hayloft.client import FolderUpload, Found, Outcome, Patience, ServerUnreachable, Walk


@pytest.fixture
def folder(tmp_path):
    """Forty different files in three folders."""
    root = tmp_path / "photos"
    for number in range(40):
        path = root / f"{number % 3}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"photo %d" % number)
    return root


async def put(client, folder, **options):
    return [result async for result in client.put_folder(folder, **options)]


def outcomes(results):
    return {result.path.name: result.outcome for result in results}


def uploads(gateway):
    return [path for method, path in gateway.requests if (method, path) == ("POST", "/upload")]


async def test_everything_below_a_folder_is_uploaded_once(client, gateway, folder):
    results = await put(client, folder)
    assert {result.outcome for result in results} == {Outcome.UPLOADED}
    assert sorted(kept.name for kept in gateway.photos.values()) == [f"{n:02}.png" for n in range(40)]
    again = await put(client, folder)
    assert {result.outcome for result in again} == {Outcome.PRESENT}
    assert {result.path: result.photo for result in again} == {r.path: r.photo for r in results}
    assert len(uploads(gateway)) == 40


async def test_exactly_what_is_missing_is_uploaded(client, gateway, folder):
    await put(client, folder / "1")
    before = len(uploads(gateway))
    await put(client, folder)
    assert len(uploads(gateway)) - before == 40 - before
    assert len({kept.data for kept in gateway.photos.values()}) == len(gateway.photos) == 40


async def test_uploads_are_parallel_and_bounded(client, gateway, folder):
    gateway.upload_delay_seconds = 0.01
    await put(client, folder, parallel=3)
    assert gateway.uploads_in_flight_max == 3


async def test_files_with_the_same_bytes_become_one_photo(client, gateway, folder):
    (folder / "twin.png").write_bytes(b"photo 0")
    results = await put(client, [folder, folder / "0" / "00.png"])
    twins = [result for result in results if result.outcome is Outcome.DUPLICATE]
    assert [twin.same_as for twin in twins] == [folder / "0" / "00.png"] * 2
    assert len(gateway.photos) == 40


async def test_one_bad_file_stops_nothing(client, gateway, folder):
    (folder / "notes.txt").write_bytes(gateway.refused)
    (folder / "empty.png").write_bytes(b"")
    os.mkfifo(folder / "pipe.png")
    (folder / "dangling.png").symlink_to(folder / "nowhere")
    results = await put(client, folder)
    failed = {result.path.name: result.reason for result in results if result.error is not None}
    assert failed == {
        "notes.txt": "This is not a photo.",
        "empty.png": "No.",
        "pipe.png": f"{folder}/pipe.png is not a regular file.",
        "dangling.png": "No such file or directory",
    }
    assert len(gateway.photos) == 40


async def test_what_may_not_be_read_is_told(client, folder, monkeypatch):
    locked = folder / "1" / "01.png"
    real = type(locked).open

    def refuse(path, *options):
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *options)

    # The tests may run as root, whom no mode of a file keeps out.
    monkeypatch.setattr(type(locked), "open", refuse)
    results = await put(client, folder)
    assert [(r.path, r.reason) for r in results if r.error] == [(locked, "Permission denied")]


async def test_loops_of_links_end_and_linked_folders_are_entered_once(client, gateway, folder, tmp_path):
    (folder / "loop").symlink_to(folder)
    (folder / "0" / "up").symlink_to(folder.parent)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "more.png").write_bytes(b"more")
    (folder / "linked").symlink_to(outside)
    (folder / "linked.png").symlink_to(outside / "more.png")
    assert len(await put(client, folder)) == 42
    assert len(gateway.photos) == 41


async def test_hidden_files_are_left_out_unless_asked_for(client, folder):
    (folder / ".hidden.png").write_bytes(b"hidden")
    (folder / ".thumbs").mkdir()
    (folder / ".thumbs" / "a.png").write_bytes(b"thumb")
    walk = Walk([folder])
    assert len(list(walk)) == 40
    assert walk.hidden_skipped == 2
    assert len(await put(client, folder, hidden=True)) == 42


async def test_odd_names(client, gateway, tmp_path):
    names = [
        b"a b.png",
        b'quo"te.png',
        b"new\nline.png",
        "日本.png".encode(),
        b"caf\xe9.png",
        b"%41&a=b#.png",
    ]
    for number, name in enumerate(names):
        (tmp_path / os.fsdecode(name)).write_bytes(b"%d" % number)
    assert set(outcomes(await put(client, tmp_path)).values()) == {Outcome.UPLOADED}
    assert {kept.name for kept in gateway.photos.values()} == {
        name.decode("utf-8", "replace") for name in names
    }


async def test_an_empty_folder(client, tmp_path):
    assert await put(client, tmp_path) == []


async def test_lost_answers_make_no_second_photo(gateway, folder):
    gateway.faults["/upload"].extend([lose_the_answer, hang_up, overloaded()] * 5)
    patience = Patience(attempts=20, pause_seconds=0.001, pause_seconds_max=0.01)
    async with AsyncClient(gateway.url, patience=patience) as client:
        results = await put(client, folder)
    assert {result.outcome for result in results} <= {Outcome.UPLOADED, Outcome.PRESENT}
    assert len(gateway.photos) == 40


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(507, "storage_full", errors.StorageFull), (401, "unauthorized", errors.Unauthorized)],
)
async def test_what_would_meet_every_file_ends_the_run(client, gateway, folder, status, code, kind):
    gateway.faults["/upload"].extend([answering(status, code)] * 40)
    with pytest.raises(kind):
        await put(client, folder)
    assert len(uploads(gateway)) < 10


async def test_a_server_that_goes_away_ends_the_run(client, gateway, folder):
    with pytest.raises(ServerUnreachable):
        async for _ in client.put_folder(folder):
            await gateway.__aexit__()


async def test_stopping_finishes_what_is_in_flight(client, gateway, folder):
    gateway.upload_delay_seconds = 0.005
    async with FolderUpload(client, Walk([folder]), parallel=2) as upload:
        results = []
        async for result in upload:
            results.append(result)
            upload.stop()
    assert 1 <= len(results) <= 4
    assert len(results) == len(gateway.photos)
    assert {result.outcome for result in results} == {Outcome.UPLOADED}


async def test_progress_counts_every_byte_once_whatever_becomes_of_its_file(client, gateway, folder):
    gateway.faults["/upload"].append(lose_the_answer)  # that file is sent twice
    seen: list[int] = []
    async with FolderUpload(client, Walk([folder]), parallel=2) as upload:
        upload.on_progress = lambda: seen.append(upload.bytes_done)
        results = [result async for result in upload]
    assert upload.bytes_done == upload.bytes_found == sum(result.size for result in results)
    assert seen[-1] == max(seen) == upload.bytes_found


async def test_leaving_early_leaves_nothing_running(client, gateway, folder):
    gateway.upload_delay_seconds = 0.01
    results = client.put_folder(folder)
    await anext(results)
    await results.aclose()
    assert len(asyncio.all_tasks()) <= 10
    gateway.upload_delay_seconds = 0
    await asyncio.sleep(0.1)
    sent = len(gateway.photos)
    await put(client, folder)
    assert sent < 40
    assert len({kept.data for kept in gateway.photos.values()}) == len(gateway.photos) == 40


async def test_a_file_that_is_not_what_it_was_is_not_sent(client, gateway, folder):
    found = Found(path=folder / "0" / "00.png", sha256="00" * 32)
    async with FolderUpload(client, [found]) as upload:
        (result,) = [result async for result in upload]
    assert "SHA-256" in result.reason
    assert gateway.photos == {}


async def test_a_photo_with_a_key_is_made_once_and_made_again_when_it_was_deleted(client, gateway, folder):
    found = [Found(path=folder / "0" / "00.png", name=name, idempotency_key=name) for name in ("a", "b")]

    async def run():
        async with FolderUpload(client, found, parallel=1) as upload:
            return [(result.outcome, result.photo) async for result in upload]

    first = await run()
    assert [outcome for outcome, _ in first] == [Outcome.UPLOADED] * 2
    assert await run() == [(Outcome.PRESENT, photo) for _, photo in first]
    await client.delete(first[0][1])
    (outcome, photo), second = await run()
    assert (outcome, second) == (Outcome.UPLOADED, (Outcome.PRESENT, first[1][1]))
    assert photo not in dict(map(reversed, first))
