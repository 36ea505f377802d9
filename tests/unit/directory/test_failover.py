"""Which of several directories is asked: any for reads, the primary for writes, and nothing twice that must
not be.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from hayloft.directory import failover
from hayloft.directory.failover import Directories
from hayloft.errors import Conflict, RoleUnavailable
from hayloft.wire.breaker import Breaker
from hayloft.wire.session import Patience

Answer = Callable[[web.Request], web.StreamResponse]
BRIEF = Patience(connect_seconds=1.0, total_seconds=0.5)


class Peer:
    """A directory that answers as it is told to, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Answer = lambda _request: web.json_response({"by": self.url})
        self.url = ""
        self.silent = asyncio.Event()
        self.silent.set()
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.url = "http://{}:{}".format(*self._runner.addresses[0])

    async def stop(self) -> None:
        self.silent.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        await request.read()
        await self.silent.wait()
        return self.answer(request)


def sends_to(other: Peer) -> Answer:
    return lambda request: web.Response(status=307, headers={"Location": f"{other.url}{request.path}"})


def refuses(status: int, code: str) -> Answer:
    return lambda _request: web.json_response({"code": code, "message": code}, status=status)


@pytest.fixture
async def peers() -> AsyncIterator[tuple[Peer, Peer]]:
    async with AsyncExitStack() as stack:
        made = (Peer(), Peer())
        for peer in made:
            await peer.start()
            stack.push_async_callback(peer.stop)
        yield made


@pytest.fixture
async def directories(peers) -> AsyncIterator[Directories]:
    opened = Directories([peer.url for peer in peers], patience=BRIEF)
    yield opened
    await opened.close()


async def by(directories: Directories, method: str, path: str, **options: bool) -> str:
    return str((await directories.request(method, path, **options)).json()["by"])


async def test_reads_go_on_with_one_that_answers(directories, peers) -> None:
    one, two = peers
    assert await by(directories, "GET", "/stores") == one.url
    await one.stop()
    for path in ("/stores", "/photo/1"):
        assert await by(directories, "GET", path) == two.url
    assert await by(directories, "POST", "/known", repeatable=True) == two.url
    assert len(two.asked) == 3


async def test_one_that_stands_still_is_left_after_a_while(directories, peers) -> None:
    one, two = peers
    one.silent.clear()
    assert await by(directories, "GET", "/stores") == two.url
    assert await by(directories, "POST", "/commit", repeatable=True) == two.url
    assert one.asked == ["GET /stores", "POST /commit"]


async def test_the_way_to_the_primary_is_remembered(directories, peers) -> None:
    one, two = peers
    one.answer = sends_to(two)
    for _ in range(3):
        assert await by(directories, "POST", "/delete", repeatable=False) == two.url
    assert (one.asked, two.asked) == (["POST /delete"], ["POST /delete"] * 3)


async def test_a_takeover_is_waited_for(directories, peers) -> None:
    one, two = peers
    two.answer = sends_to(one)
    await one.stop()

    async def take_over() -> None:
        await asyncio.sleep(0.7)
        two.answer = lambda _request: web.json_response({"by": two.url})

    taking = asyncio.create_task(take_over())
    # Neither a redirect nor a connection that is refused did anything, so even this may be asked again.
    assert await by(directories, "POST", "/allocate_write", repeatable=False) == two.url
    await taking


async def test_what_may_have_arrived_is_not_asked_for_twice(directories, peers) -> None:
    one, two = peers
    one.silent.clear()
    with pytest.raises(RoleUnavailable):
        await directories.request("POST", "/events", repeatable=False)
    assert (one.asked, two.asked) == (["POST /events"], [])


async def test_an_answer_is_an_answer(directories, peers) -> None:
    one, two = peers
    one.answer = refuses(409, "conflict")
    with pytest.raises(Conflict):
        await directories.request("POST", "/writable", repeatable=True)
    assert two.asked == []


async def test_one_that_has_waited_itself_is_not_asked_for_ever(directories, peers) -> None:
    for peer in peers:
        peer.answer = refuses(503, "role_unavailable")
    with pytest.raises(RoleUnavailable):
        await directories.request("POST", "/lease", repeatable=True)
    assert [len(peer.asked) for peer in peers] == [1, 1]


async def test_directories_that_do_not_agree(directories, peers, monkeypatch) -> None:
    monkeypatch.setattr(failover, "TAKEOVER_SECONDS_MAX", 0.3)
    one, two = peers
    one.answer, two.answer = sends_to(two), sends_to(one)
    with pytest.raises(RoleUnavailable):
        await directories.request("POST", "/delete", repeatable=True)


async def test_none_of_them_is_there(directories, peers, monkeypatch) -> None:
    monkeypatch.setattr(failover, "TAKEOVER_SECONDS_MAX", 0.3)
    for peer in peers:
        await peer.stop()
    for method in ("GET", "POST"):
        with pytest.raises(RoleUnavailable):
            await directories.request(method, "/stores", repeatable=True)


async def test_a_breaker_knows_silence_from_refusal(peers) -> None:
    one, _ = peers
    breaker = Breaker(failures_max=1)
    single = Directories([one.url], patience=Patience(attempts=1, total_seconds=0.3), breaker=breaker)
    one.answer = refuses(503, "role_unavailable")
    with pytest.raises(RoleUnavailable):
        await single.request("GET", "/stores")
    assert not breaker.is_open
    one.silent.clear()
    with pytest.raises(RoleUnavailable):
        await single.request("GET", "/stores")
    assert breaker.is_open
    asked = len(one.asked)
    with pytest.raises(RoleUnavailable):
        await single.request("GET", "/stores")
    assert len(one.asked) == asked
    await single.close()
