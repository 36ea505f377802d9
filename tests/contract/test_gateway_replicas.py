"""The gateway's contract where a photo has several replicas, by plain HTTP, while some of them are away."""

from __future__ import annotations

import aiohttp

from doubles.proxy import Fault
from doubles.remote import remote_gateway
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
