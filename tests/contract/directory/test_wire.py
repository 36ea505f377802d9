"""The directory's wire contract, spoken without our client: what peers written by others rely on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from hayloft.database import open_database
from hayloft.directory.leadership import Leadership
from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.directory.server import directory_application
from hayloft.directory.standing import Mode
from hayloft.types import StoreHealth, StoreId
from hayloft.wire.serving import AppServer, free_port


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[LocalDirectory]:
    url = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    directory = LocalDirectory.open(url, policy=WritePolicy(replication=2))
    for name in ("s1", "s2"):
        await directory.register(
            StoreHealth(store=StoreId(name), volumes=(), free_bytes=1 << 40, capacity_bytes=1 << 40)
        )
    yield directory
    await directory.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def url(directory: LocalDirectory) -> AsyncIterator[str]:
    async with AppServer(directory_application(directory)) as server:
        yield server.url


async def post(http: aiohttp.ClientSession, url: str, body: object) -> tuple[int, dict]:
    async with http.post(url, json=body) as response:
        return response.status, await response.json()


async def get(http: aiohttp.ClientSession, url: str) -> tuple[int, dict]:
    async with http.get(url) as response:
        return response.status, await response.json()


async def test_a_photos_life(http, url):
    status, allocated = await post(http, f"{url}/allocate_write", {"size": 100, "alt_key": "large"})
    assert status == 200
    photo_id = allocated["photo_id"]
    assert isinstance(photo_id, int) and 0 <= photo_id < 2**53
    assert re.fullmatch(r"lv-\d+", allocated["logical_volume"])
    assert re.fullmatch(r"[0-9a-f]{16}", allocated["cookie"])
    assert sorted(allocated["replicas"]) == ["s1", "s2"]

    expected = {
        "photo_id": photo_id,
        "logical_volume": allocated["logical_volume"],
        "alt_key": "large",
        "cookie": allocated["cookie"],
        "replicas": allocated["replicas"],
    }
    for change, answer, after in [
        (None, None, "alloc"),
        ("commit_write", "committed", "active"),
        ("delete", "deleted", "deleted"),
        ("delete", "deleted", "deleted"),
    ]:
        if change is not None:
            status, told = await post(http, f"{url}/{change}", {"photo_id": photo_id})
            assert (status, told["status"], told["photo_id"]) == (200, answer, photo_id)
        status, told = await get(http, f"{url}/photo/{photo_id}")
        assert status == 200
        assert told.items() >= {**expected, "status": after}.items()
    status, told = await post(http, f"{url}/commit_write", {"photo_id": photo_id})
    assert (status, told["code"]) == (410, "photo_deleted")


async def test_the_default_alternate_key_is_the_original(http, url):
    _, allocated = await post(http, f"{url}/allocate_write", {"size": 1})
    _, told = await get(http, f"{url}/photo/{allocated['photo_id']}")
    assert told["alt_key"] == "orig"


async def test_the_listing_holds_every_status(http, url):
    ids = [(await post(http, f"{url}/allocate_write", {"size": 1}))[1]["photo_id"] for _ in range(3)]
    await post(http, f"{url}/commit_write", {"photo_id": ids[1]})
    await post(http, f"{url}/delete", {"photo_id": ids[2]})
    status, told = await get(http, f"{url}/photos")
    assert (status, told["total"]) == (200, 3)
    assert {(p["photo_id"], p["alt_key"], p["status"]) for p in told["photos"]} == {
        (ids[0], "orig", "alloc"),
        (ids[1], "orig", "active"),
        (ids[2], "orig", "deleted"),
    }
    assert all(re.fullmatch(r"lv-\d+", p["logical_volume"]) for p in told["photos"])


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("commit_write", {"photo_id": 12345}, 404, "photo_not_found"),
        ("delete", {"photo_id": 12345}, 404, "photo_not_found"),
        ("delete", {"photo_id": -1}, 400, "invalid_request"),
        ("delete", {"photo_id": 1 << 60}, 400, "invalid_request"),
        ("delete", {}, 400, "invalid_request"),
        ("allocate_write", {"size": "many"}, 400, "invalid_request"),
        ("allocate_write", {"size": -1}, 400, "invalid_request"),
        ("allocate_write", {"size": 1, "alt_key": "huge"}, 400, "invalid_request"),
        ("lease", {"holder": "a", "count": 0}, 400, "invalid_request"),
        ("known", {"sha256": ["zz"]}, 400, "invalid_request"),
        ("nothing", {}, 404, "not_found"),
    ],
)
async def test_errors_have_a_code_a_message_and_a_request_id(http, url, path, body, status, code):
    told_status, told = await post(http, f"{url}/{path}", body)
    assert (told_status, told["code"]) == (status, code)
    assert told["message"]
    assert told["request_id"]


async def test_unknown_photos_are_404(http, url):
    for name in ("1", str(2**53 - 1)):
        assert (await get(http, f"{url}/photo/{name}"))[0] == 404
    for name in ("x", "-1", str(2**53)):
        assert (await get(http, f"{url}/photo/{name}"))[0] == 400


async def test_one_commit_of_several_may_fail(http, url):
    _, lease = await post(http, f"{url}/lease", {"holder": "peer", "count": 2})
    photo = {
        "photo_id": (lease["volume"] << 32) + lease["first"],
        "cookie": "00000000000000ff",
        "size": 3,
        "sha256": "ab" * 32,
        "media_type": "image/png",
    }
    _, told = await post(http, f"{url}/commit", {"photos": [photo, {**photo, "size": 4}]})
    good, bad = told["results"]
    assert good == {
        "photo_id": photo["photo_id"],
        "cookie": photo["cookie"],
        "duplicate_of": None,
        "repeated": False,
    }
    assert (bad["status"], bad["error"]["code"]) == (409, "conflict")


async def test_a_primary_says_so(http, directory):
    app = directory_application(directory, mode=Mode(primary_url="http://primary:8001"))
    async with AppServer(app) as server:
        _, told = await get(http, f"{server.url}/health")
    assert told["service"] == "directory"
    assert (told["mode"], told["primary_directory"]) == ("primary", "http://primary:8001")


async def test_one_that_can_take_no_uploads_says_so(http, tmp_path):
    database_url = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, database_url)
    directory = LocalDirectory.open(database_url, policy=WritePolicy(replicas_min=2))
    health = {"store": "s1", "volumes": [], "free_bytes": 1 << 40, "capacity_bytes": 1 << 40}
    async with AppServer(directory_application(directory)) as server:
        assert (await get(http, f"{server.url}/health"))[1]["uploads_refused"]
        await post(http, f"{server.url}/register", {"health": health})
        async with http.post(f"{server.url}/allocate_write", json={"size": 1}) as refused:
            told = await refused.json()
            assert (refused.status, told["code"], told["replicas_min"]) == (503, "role_unavailable", 2)
            assert int(refused.headers["Retry-After"]) > 0
        _, alive = await get(http, f"{server.url}/health")
        assert (alive["status"], alive["uploads_refused"]) == ("ok", told["message"])
        await post(http, f"{server.url}/register", {"health": {**health, "store": "s2"}})
        assert (await get(http, f"{server.url}/health"))[1]["uploads_refused"] == ""
        status, allocated = await post(http, f"{server.url}/allocate_write", {"size": 1})
        assert (status, len(allocated["replicas"])) == (200, 2)
    await directory.close()


async def test_a_replica_reads_and_sends_writers_to_the_primary(http, directory, url):
    mode = Mode(primary=False, primary_url=url)
    async with AppServer(directory_application(directory, mode=mode)) as replica:
        _, told = await get(http, f"{replica.url}/health")
        assert (told["mode"], told["primary_directory"]) == ("replica", url)
        for path in ("allocate_write", "commit_write", "delete"):
            body = {"photo_id": 1, "size": 1}
            async with http.post(f"{replica.url}/{path}?a=1", json=body, allow_redirects=False) as response:
                assert response.status == 307
                assert response.headers["Location"] == f"{url}/{path}?a=1"
        status, allocated = await post(http, f"{replica.url}/allocate_write", {"size": 1})
        assert status == 200
        status, told = await get(http, f"{replica.url}/photo/{allocated['photo_id']}")
        assert (status, told["status"]) == (200, "alloc")
        assert (await get(http, f"{replica.url}/photos"))[1]["total"] == 1
        assert (await post(http, f"{replica.url}/known", {"sha256": []}))[0] == 200


@asynccontextmanager
async def one_of_several(database_url: str, *, first: bool) -> AsyncIterator[tuple[str, Leadership]]:
    """A directory on a database that others use as well: its address, and what it is."""
    port = free_port()
    database = open_database(database_url, name="directory")
    leadership = Leadership(database, url=f"http://127.0.0.1:{port}", first=first, term_seconds=1.0)
    app = directory_application(LocalDirectory(leadership.fenced), mode=leadership)
    try:
        async with leadership, AppServer(app, port=port) as server:
            yield server.url, leadership
    finally:
        await database.close()


async def test_directories_on_one_database_take_turns(http, postgres_database):
    database_url = await asyncio.to_thread(postgres_database)
    async with (
        one_of_several(database_url, first=True) as (one, leading),
        one_of_several(database_url, first=False) as (two, _),
    ):
        for url, mode in ((one, "primary"), (two, "replica")):
            told = (await get(http, f"{url}/health"))[1]
            assert (told["service"], told["mode"], told["primary_directory"]) == ("directory", mode, one)
        health = {"store": "s1", "volumes": [], "free_bytes": 1 << 40, "capacity_bytes": 1 << 40}
        assert (await post(http, f"{two}/register", {"health": health}))[0] == 200
        status, allocated = await post(http, f"{two}/allocate_write", {"size": 7, "alt_key": "orig"})
        assert status == 200
        assert (await get(http, f"{two}/photo/{allocated['photo_id']}"))[1]["status"] == "alloc"

        leading._task.cancel()  # as if it stood still
        async with asyncio.timeout(60):
            while (await get(http, f"{two}/health"))[1]["mode"] != "primary":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await get(http, f"{one}/health"))[1]["mode"] == "replica"
        # It does not know yet who came after it; its database does, and nothing is written there by it.
        body = {"photo_id": allocated["photo_id"]}
        async with http.post(f"{one}/commit_write", json=body, allow_redirects=False) as response:
            assert response.status == 307
            assert response.headers["Location"] == f"{two}/commit_write"
        assert (await get(http, f"{one}/photo/{allocated['photo_id']}"))[1]["status"] == "alloc"
        assert (await post(http, f"{one}/commit_write", body))[0] == 200
        commit = {"photos": [{"photo_id": 1, "cookie": "0" * 16, "size": 1, "media_type": "image/png"}]}
        async with http.post(f"{one}/commit", json=commit, allow_redirects=False) as response:
            assert response.headers["Location"] == f"{two}/commit"


async def test_one_that_knows_of_no_primary_says_so(http, postgres_database):
    database_url = await asyncio.to_thread(postgres_database)
    async with one_of_several(database_url, first=False) as (url, _):
        assert (await get(http, f"{url}/health"))[1]["mode"] == "replica"
        status, told = await post(http, f"{url}/allocate_write", {"size": 7})
        assert (status, told["code"]) == (503, "not_primary")


async def test_our_client_follows_a_replica_to_the_primary(directory, url):
    from hayloft.directory.client import DirectoryClient
    from hayloft.types import NewPhoto, new_cookie, photo_id

    mode = Mode(primary=False, primary_url=url)
    async with AppServer(directory_application(directory, mode=mode)) as replica:
        client = DirectoryClient(replica.url)
        lease = await client.lease(holder="c", count=1)
        photo = NewPhoto(
            photo=photo_id(lease.volume, lease.first),
            cookie=new_cookie(),
            size=1,
            sha256=bytes(32),
            media_type="image/png",
            width=1,
            height=1,
        )
        assert (await client.commit(photo)).photo == photo.photo
        await client.advance("c", 1)
        assert (await client.delete(photo.photo)).status == "active"
        await client.close()
