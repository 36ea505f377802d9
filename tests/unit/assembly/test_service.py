"""What every role has around its application, and how much of it is at work at a time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import aiohttp
import pytest

from hayloft.assembly.service import Bounded, serve, until_there
from hayloft.assembly.settings import CacheRoleSettings
from hayloft.errors import RoleUnavailable, Unauthorized
from hayloft.wire.asgi import send_json
from hayloft.wire.serving import free_port
from hayloft.wire.session import Session

SECRET = "0123456789abcdef0123456789abcdef"


PROBE = """
import os, sys, types
def main(settings):
    import numpy
    print(len(os.listdir("/proc/self/task")))
    return 0
probe = types.ModuleType("hayloft.assembly.services.similarity")
probe.main = main
sys.modules[probe.__name__] = probe
from hayloft.cli import main
main()
"""
"""In the place of the similarity service: loads what it loads, and counts the threads."""


async def hello(scope, receive, send):
    assert scope["type"] == "http"
    await send_json(send, 200, {"hello": scope["path"]}, "id")


async def fine():
    return None


async def away():
    raise RoleUnavailable("the disk is gone")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return CacheRoleSettings(port=free_port(), secret=SECRET)


async def test_the_secret_guards_all_but_what_operators_ask(settings):
    async with serve(hello, settings, role="cache", ready=fine) as server:
        async with Session(server.url, secret=SECRET.encode()) as friend:
            assert (await friend.request("GET", "/anything")).json() == {"hello": "/anything"}
        async with Session(server.url) as stranger:
            with pytest.raises(Unauthorized):
                await stranger.request("GET", "/anything")
            for path in ("/health", "/ready", "/metrics"):
                assert (await stranger.request("GET", path)).status == 200
            assert b"hayloft_cache_requests" in (await stranger.request("GET", "/metrics")).body


async def test_ready_tells_why_it_is_not(settings):
    async with (
        serve(hello, settings, role="cache", ready=away) as server,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(server.url + "/ready") as answer:
            assert answer.status == 503
            assert (await answer.json())["message"] == "the disk is gone"
        async with session.get(server.url + "/health") as answer:
            assert answer.status == 200


async def test_too_many_at_a_time_are_told_to_come_back():
    going, entered = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(scope, receive, send):
        entered.release()
        await going.wait()
        await send_json(send, 200, {}, "id")

    statuses: list[int] = []

    def ask(path: str):
        async def send(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope = {"type": "http", "path": path, "method": "GET", "headers": []}
        return app(scope, None, send)

    app = Bounded(slow, requests_max=2)
    first = [asyncio.create_task(ask("/x")) for _ in range(2)]
    for _ in first:
        await entered.acquire()
    await ask("/x")
    assert statuses == [503]
    watched = asyncio.create_task(ask("/health"))
    await entered.acquire()
    going.set()
    await asyncio.gather(*first, watched)
    assert statuses == [503, 200, 200, 200]
    await ask("/x")
    assert statuses[-1] == 200


async def test_what_is_away_is_waited_for():
    attempts = 0

    async def attempt():
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise RoleUnavailable
        return "there"

    assert await until_there("it", attempt, asyncio.Event()) == "there"


async def test_waiting_ends_when_told_to_stop():
    stopping = asyncio.Event()
    waiting = asyncio.create_task(until_there("it", away, stopping))
    await asyncio.sleep(0)
    stopping.set()
    assert await asyncio.wait_for(waiting, 10) is None


def test_numerical_libraries_start_no_threads_in_a_role(tmp_path):
    told = {
        "HAYLOFT_SECRET": SECRET,
        "HAYLOFT_BROKER_URL": "amqp://nowhere",
        "HAYLOFT_DIRECTORIES": '["http://d"]',
    }
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    ran = subprocess.run(
        [sys.executable, "-c", PROBE, "similarity"],
        env=environment | told,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout == "1\n", ran
