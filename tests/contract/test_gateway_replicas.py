"""The gateway's contract where a photo has several replicas, by plain HTTP, while some of them are away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import aiohttp

from doubles.proxy import Fault
from doubles.remote import remote_gateway
from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.types import StoreId
from served import picture


async def test_reads_and_deletions_while_stores_are_away():
    async with remote_gateway() as remote, aiohttp.ClientSession(remote.url) as client:
        form = aiohttp.FormData()
        form.add_field("file", picture(1), filename="x.jpg")
        async with client.post("/upload", data=form) as answer:
            assert answer.status in (200, 201)
            told = await answer.json()
        address = f"/photo/{told['photo_id']}"
        assert told["logical_volume"] == f"lv-{told['photo_id'] >> 32}"

        away = list(remote.proxies.values())
        for proxy in away[:2]:
            proxy.fault = Fault.REFUSE
            proxy.reset()
        async with client.get(address) as answer:
            assert (answer.status, await answer.read()) == (200, picture(1))
        away[2].fault = Fault.REFUSE
        away[2].reset()
        async with client.get(address) as answer:
            assert answer.status == 503
            assert set((await answer.json())["failures"]) == {"s0", "s1", "s2"}

        away[0].fault = Fault.NONE
        async with client.delete(address) as answer:
            assert answer.status == 200
            told = await answer.json()
        assert (told["status"], told["failed_replicas"]) == ("deleted", ["s1", "s2"])
        async with client.get(address) as answer:
            assert answer.status == 410
        away[1].fault = away[2].fault = Fault.NONE
        async with client.delete(address) as answer:
            assert (await answer.json())["failed_replicas"] == []


async def test_uploads_are_refused_below_the_replicas_that_are_wanted(tmp_path: Path):
    database = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, database)
    directory = LocalDirectory.open(database, policy=WritePolicy(replicas_min=2))
    jpeg = {"content-type": "image/jpeg"}
    async with remote_gateway(directory=directory) as remote, aiohttp.ClientSession(remote.url) as client:
        one, two, _three = remote.proxies.values()
        one.fault = Fault.REFUSE
        one.reset()
        async with client.post("/upload", data=picture(1), headers=jpeg) as answer:
            assert answer.status == 201
            told = await answer.json()
        placement = await directory.placement(told["photo_id"] >> 32)
        assert set(placement.replicas) == {"s1", "s2"}
        two.fault = Fault.REFUSE
        two.reset()
        async with client.post("/upload", data=picture(2), headers=jpeg) as answer:
            refusal = await answer.json()
            assert (answer.status, refusal["code"]) == (503, "role_unavailable")
            assert refusal["replicas_min"] == 2
            assert int(answer.headers["Retry-After"]) > 0
        async with client.get(f"/photo/{told['photo_id']}") as answer:
            assert (answer.status, await answer.read()) == (200, picture(1))
        assert (await directory.statistics()).photos == 1
        one.fault = two.fault = Fault.NONE
        async with asyncio.timeout(20):
            while True:
                async with client.post("/upload", data=picture(2), headers=jpeg) as answer:
                    if answer.status == 201:
                        break
                    assert answer.status == 503
                await asyncio.sleep(0.1)
    await directory.close()


async def test_a_server_whose_directory_gives_no_volumes_says_so(tmp_path: Path):
    database = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, database)
    directory = LocalDirectory.open(database, policy=WritePolicy(replicas_min=2))
    async with (
        remote_gateway(stores=1, directory=directory) as remote,
        aiohttp.ClientSession(remote.url) as client,
    ):
        async with client.get("/health") as answer:
            health = await answer.json()
        assert health["status"] == "ok"
        assert "1 of 1 stores can be reached" in health["uploads_refused"]
        async with client.get("/stats") as answer:
            assert (await answer.json())["directory"]["uploads_refused"] == health["uploads_refused"]
        async with client.get("/metrics") as answer:
            assert "hayloft_uploads_refused 1.0" in await answer.text()
        async with client.get("/ready") as answer:
            assert answer.status == 200  # it can be read from
        await remote.directory.register(
            replace(await remote.stores[StoreId("s0")].health(), store=StoreId("s9"))
        )
        async with client.get("/health") as answer:
            assert (await answer.json())["uploads_refused"] == ""
    await directory.close()
